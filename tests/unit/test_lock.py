"""The lock names packages and hashes, never where they come from."""

import re
from pathlib import Path

LOCK = Path(__file__).parents[2] / "requirements.txt"


def test_lock_holds_no_address():
    assert "://" not in LOCK.read_text()


def test_lock_holds_no_option_or_comment():
    assert not [line for line in LOCK.read_text().splitlines() if re.match(r"#|-", line)]


def test_every_package_is_pinned_and_hashed():
    packages = re.split(r"\n(?=\S)", LOCK.read_text().strip())
    assert packages
    assert not [package for package in packages if "==" not in package or "--hash=sha256:" not in package]
