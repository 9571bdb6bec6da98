"""The documents say what the code says."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from lifecycle.domain.status import TERMINAL, TRANSITIONS, Status
from lifecycle.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
METRICS = (ROOT / "docs" / "metrics.md").read_text()
ROOMS = ("domain", "store", "trees", "services", "runtime", "cli", "web")
DOCS = ("architecture", "docker", "api", "page", "metrics")
LINKED = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", *(f"docs/{name}.md" for name in DOCS)]
WIDEST = 160  # characters of a line: what a diff can show


def drawn():
    diagram = re.search(r"^```mermaid\nstateDiagram-v2\n(.*?)^```", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    return [tuple(line.split(" --> ")) for line in map(str.strip, diagram[1].splitlines())]


def test_the_drawing_has_exactly_the_transitions_of_the_code():
    legal = {(start, goal) for start, goals in TRANSITIONS.items() for goal in goals}
    assert set(drawn()) == legal | {("[*]", Status.PENDING)} | {(status, "[*]") for status in TERMINAL}


def test_no_arrow_is_drawn_twice():
    assert len(drawn()) == len(set(drawn()))


def shown(value):
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return value if isinstance(value, str) else f"{value:.10g}"


def row(setting):
    steps = setting.default if isinstance(setting.default, tuple) else (setting.default,)
    default = ", ".join(shown(step) for step in steps) or "none"
    return f"| `{PREFIX}{setting.name}` | {default} | {setting.metadata['text']} |"


def test_the_table_of_settings_is_that_of_the_code():
    expected = "\n".join(row(setting) for setting in fields(Settings))
    written = "\n".join(line for line in README.splitlines() if line.startswith(f"| `{PREFIX}"))
    assert written == expected, f"write into README.md:\n{expected}"


@pytest.mark.parametrize("room", ROOMS)
def test_the_paragraph_of_a_room_names_its_files(room):
    paragraph = re.search(rf"^\*\*{room}/\*\*.*?\n\n", ARCHITECTURE, re.MULTILINE | re.DOTALL)[0]
    files = {path.stem for path in (ROOT / "lifecycle" / room).glob("*.py")} - {"__init__"}
    assert {file for file in files if f"`{file}`" not in paragraph} == set()


@pytest.mark.parametrize("name", LINKED)
def test_links_between_documents_lead_somewhere(name):
    document = ROOT / name
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())
    links += re.findall(r'<img src="([^"]+)"', document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("text", [README, ARCHITECTURE, METRICS], ids=["README", "architecture", "metrics"])
def test_no_line_is_wider_than_a_diff(text):
    assert [line for line in text.splitlines() if len(line) > WIDEST] == []
