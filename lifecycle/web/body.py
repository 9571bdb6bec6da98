"""The JSON that a request carries, and what of it cannot be meant."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tornado.httputil import HTTPServerRequest

from lifecycle.domain.policy import MAX_SECONDS, check_seconds
from lifecycle.domain.text import clean
from lifecycle.errors import InvalidArgument
from lifecycle.web.refusal import Refused

LARGEST = 1_000_000  # bytes
LONGEST = 1_000  # characters of a reason
ORDER = ("dry_run", "reason", "grace", "force", "expect")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A stop as it was asked for."""

    dry_run: bool = False
    reason: str | None = None
    grace: float | None = None
    force: bool = False
    expect: frozenset[str] | int | None = None
    """What was shown to who asks: the ids, or how many."""


def read_object(request: HTTPServerRequest, known: tuple[str, ...]) -> Mapping[str, Any]:
    """The object in the body, of these keys at most; an empty body is an empty object. Raises Refused."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "Give a JSON object, with Content-Type: application/json.")
    if len(request.body) > LARGEST:
        raise Refused(413, f"A body has at most {LARGEST:,} bytes.")
    try:
        found = json.loads(request.body.decode() or "{}", parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "The body is not JSON.") from error
    if not isinstance(found, dict):
        raise Refused(400, "The body is a JSON object.")
    if unknown := sorted(set(found) - set(known)):
        raise Refused(400, f"unknown key {unknown[0][:40]!r}; there is: {', '.join(known) or 'none'}")
    return found


def read_order(request: HTTPServerRequest) -> Order:
    """A stop; raises Refused."""
    found = read_object(request, ORDER)
    grace, force = found.get("grace"), _flag(found, "force")
    try:
        seconds = None if grace is None else check_seconds("grace", grace)
    except (InvalidArgument, OverflowError) as error:
        raise Refused(400, f"grace is a number of seconds from 0 to {MAX_SECONDS:,.0f}, or null") from error
    if force and seconds is not None:
        raise Refused(400, "force kills at once: leave out grace")
    return Order(
        dry_run=_flag(found, "dry_run"),
        reason=_reason(found.get("reason")),
        grace=0.0 if force else seconds,
        force=force,
        expect=_expected(found.get("expect")),
    )


def _flag(found: Mapping[str, Any], name: str) -> bool:
    value = found.get(name, False)
    if not isinstance(value, bool):
        raise Refused(400, f"{name} is true or false")
    return value


def _reason(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or len(value) > LONGEST):
        raise Refused(400, f"reason is text of at most {LONGEST:,} characters, or null")
    return clean(value).strip() or None if value else None


def _expected(value: Any) -> frozenset[str] | int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return frozenset(value)
    raise Refused(400, "expect is the ids that were shown, or how many they were, or null")


def _refuse(text: str) -> Any:
    raise ValueError(text)
