"""What the matrix runs on, and that nothing it leaves out goes unsaid."""

import re
import sys
from pathlib import Path

import pytest

from tests import matrix
from tests.matrix import LIBRARIES, PROJECT, Missing, Outcome, count, main, python_of, requirements

README = (Path(__file__).parents[2] / "README.md").read_text()
OURS = [*PROJECT["dependencies"], *(each for extra in LIBRARIES for each in PROJECT["optional-dependencies"][extra])]
REPORT = '<testsuites><testsuite tests="{}" failures="{}" errors="0" skipped="1"/></testsuites>'


def test_the_oldest_are_exactly_what_the_metadata_allow():
    pinned = [each for each in requirements("oldest") if "==" in each]
    assert [each.replace("==", ">=") for each in pinned] == OURS


def test_the_newest_are_not_bound():
    assert not [each for each in requirements("newest") if re.search(r"[=<~]=|<", each.replace(">=", ""))]


def test_every_python_of_the_metadata_has_its_combination():
    said = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert {each.python for each in matrix.COMBINATIONS} == set(said)
    assert {each.libraries for each in matrix.COMBINATIONS} == {"oldest", "locked", "newest"}


@pytest.mark.parametrize("bound", OURS)
def test_readme_says_from_which_version(bound):
    name, version = re.sub(r"\[.*\]", "", bound).split(">=")
    assert f"{name} {version}" in re.search(r"^## Versions\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)[1]


def test_a_python_is_the_one_that_it_says_it_is(tmp_path, monkeypatch):
    shim = tmp_path / "python3.99"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    with pytest.raises(Missing, match=r"no Python 3\.99"):
        python_of("3.99")
    own = "{}.{}".format(*sys.version_info)
    (tmp_path / f"python{own}").symlink_to(sys.executable)
    assert Path(python_of(own)).samefile(sys.executable)


@pytest.mark.parametrize(("where", "code"), [("", 0), ("true", 1)])
def test_what_is_missing_is_said_and_is_an_error_in_ci(where, code, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CI", where)
    monkeypatch.setitem(matrix.POSTGRES, "15", tmp_path)
    assert main(["--list"]) == code
    assert f"NOT RUN 3.11-oldest-pg15: no PostgreSQL 15 in {tmp_path}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("tests", "failures", "code", "good"),
    [(3, 0, 0, True), (3, 1, 1, False), (3, 0, 3, False), (1, 0, 0, False)],
    ids=["all passed", "one failed", "pytest broke", "all skipped"],
)
def test_what_is_good(tests, failures, code, good, tmp_path):
    (tmp_path / "tests.xml").write_text(REPORT.format(tests, failures))
    outcome = Outcome("any")
    count(outcome, code, tmp_path / "tests.xml")
    assert outcome.good is good
    assert sum(outcome.tests.values()) == tests


def test_no_report_is_trouble(tmp_path):
    outcome = Outcome("any")
    count(outcome, 4, tmp_path / "none.xml")
    assert outcome.trouble == "pytest ended with 4"
