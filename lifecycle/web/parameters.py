"""Query parameters: what there is, what each may be, and what is said of anything else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lifecycle.domain.search import Filters, parse_words
from lifecycle.domain.status import ACTIVE, Status, parse_statuses
from lifecycle.domain.text import clean
from lifecycle.errors import InvalidArgument
from lifecycle.store.logs import LEVELS
from lifecycle.web.refusal import Refused

MAX_INTEGER = 2**31 - 1
MAX_LINE = 2**63 - 1
MAX_Q = 1_000  # characters
MAX_TEXT = 255
MAX_TAGS = 20
ALL = "all"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter: how it is read, what it is if it is not given, and what the document says of it."""

    name: str
    read: Callable[[str], Any]
    default: Any
    text: str
    schema: Mapping[str, Any] = field(default_factory=dict)
    repeats: bool = False


def read_query(given: Mapping[str, Sequence[bytes]], known: Sequence[Parameter]) -> dict[str, Any]:
    """All known parameters; raises Refused for what is unknown, given twice, or cannot be meant."""
    names = {each.name: each for each in known}
    if unknown := sorted(set(given) - set(names)):
        allowed = ", ".join(names) or "none"
        raise Refused(400, f"unknown parameter {unknown[0][:40]!r}; there is: {allowed}")
    return {each.name: _read(each, given.get(each.name, ())) for each in known}


def _read(parameter: Parameter, given: Sequence[bytes]) -> Any:
    if len(given) > 1 and not parameter.repeats:
        raise Refused(400, f"parameter {parameter.name} is given {len(given)} times; once is allowed")
    try:
        texts = [clean(value.decode()) for value in given]
        if parameter.repeats:
            return tuple(parameter.read(text) for text in texts if text)
        return parameter.read(texts[0]) if texts and texts[0] else parameter.default
    except UnicodeDecodeError as error:
        raise Refused(400, f"parameter {parameter.name} is not UTF-8") from error
    except (ValueError, InvalidArgument) as error:
        raise Refused(400, f"parameter {parameter.name}: {error}") from error


def number(name: str, default: int | None, low: int, high: int, text: str) -> Parameter:
    """A whole number between two others."""

    def read(given: str) -> int:
        digits = given.removeprefix("-")
        if not (
            digits.isascii() and digits.isdigit() and low <= int(digits[:20]) * (-1 if digits != given else 1) <= high
        ):
            raise ValueError(f"a whole number from {low} to {high} is allowed, not {given[:40]!r}")
        return int(given)

    schema: dict[str, Any] = {"type": "integer", "minimum": low, "maximum": high}
    return Parameter(name, read, default, text, schema if default is None else {**schema, "default": default})


def words(name: str, text: str, most: int = MAX_TEXT, read: Callable[[str], Any] = str) -> Parameter:
    """Text of so many characters at most."""

    def checked(given: str) -> Any:
        if len(given) > most:
            raise ValueError(f"at most {most:,} characters are allowed, not {len(given):,}")
        return read(given)

    return Parameter(name, checked, () if read is parse_words else None, text, {"type": "string", "maxLength": most})


def statuses(default: Sequence[Status] | None) -> Parameter:
    """Statuses with commas between them, or `all`."""

    def read(given: str) -> tuple[Status, ...] | None:
        return None if given.strip().lower() == ALL else parse_statuses(given)

    said = ",".join(default) if default else ALL
    text = f"Statuses with commas between them, in any case, or `{ALL}`."
    schema = {"type": "string", "default": said, "examples": ["RUNNING,INTERRUPTED"]}
    return Parameter("status", read, None if default is None else tuple(default), text, schema)


def _tag(given: str) -> tuple[str, str]:
    key, equals, value = given.partition("=")
    if not key or not equals or max(len(key), len(value)) > MAX_TEXT:
        raise ValueError(f"key=value is allowed, not {given[:40]!r}")
    return key, value


def _flag(given: str) -> bool:
    if given.lower() not in {"true", "false", "1", "0"}:
        raise ValueError(f"true or false is allowed, not {given[:40]!r}")
    return given.lower() in {"true", "1"}


def _level(given: str) -> str:
    if given.upper() not in LEVELS:
        raise ValueError(f"{', '.join(LEVELS)} are allowed, not {given[:40]!r}")
    return given.upper()


def flag(name: str, text: str) -> Parameter:
    """True or false."""
    return Parameter(name, _flag, False, text, {"type": "boolean", "default": False})


def filters(default: Sequence[Status] | None) -> tuple[Parameter, ...]:
    """What lists and trees are filtered by."""
    return (
        statuses(default),
        words(
            "q",
            "Words that must all fit: part of an id or a type, `key:value` of a tag; `-word` excludes.",
            MAX_Q,
            parse_words,
        ),
        number("player_id", None, -MAX_INTEGER, MAX_INTEGER, "Only this player's."),
        words("type", "Only this container type."),
        Parameter(
            "tag",
            _tag,
            (),
            "Only with this tag, as `key=value`; several must all fit.",
            {"type": "array", "items": {"type": "string"}, "maxItems": MAX_TAGS},
            repeats=True,
        ),
    )


def as_filters(query: Mapping[str, Any]) -> Filters:
    """What a query asks for."""
    return Filters(
        statuses=query["status"],
        words=query["q"],
        player_id=query["player_id"],
        container_type=query["type"],
        tags=query["tag"],
    )


ACTIVE_FILTERS = filters(ACTIVE)
ALL_FILTERS = filters(None)
LEVEL = Parameter("level", _level, None, "This level and above.", {"type": "string", "enum": list(LEVELS)})
