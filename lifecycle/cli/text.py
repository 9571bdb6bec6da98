"""How values are written: safe, in UTC, in words."""

from datetime import UTC, datetime
from typing import Any

UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"


def clean(value: object) -> str:
    """One line that moves no cursor: what rows hold was written by anybody."""
    return "".join(_shown(character) for character in str(value))


def clean_lines(value: object) -> str:
    """As `clean`, but lines stay lines, indented: none of them can pass for another entry."""
    return "\n    ".join(clean(line) for line in str(value).split("\n"))


def seconds(time: datetime) -> str:
    """`2025-11-24 16:45:09`, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def milliseconds(time: datetime) -> str:
    """`2025-11-24 16:45:09.123`, in UTC."""
    return f"{seconds(time)}.{time.microsecond // 1000:03d}"


def count(number: int, thing: str = "container") -> str:
    """`1 container`, `1,204 containers`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def pairs(tags: dict[str, Any]) -> str:
    """Tags as they are given on the command line."""
    return " ".join(f"{key}={value}" for key, value in tags.items())


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else UNPRINTABLE
