"""Text and results as every database can keep them."""

import json
from typing import Any


def clean(text: str) -> str:
    """`text` without NUL, and with what is no Unicode (a file's odd name) spelled out."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "")


def as_result(value: Any) -> Any:
    """A body's result as JSON types; what JSON cannot hold (NaN, a set) becomes the text Python shows for it."""
    try:
        return _cleaned(json.loads(json.dumps(value, allow_nan=False)))
    except (TypeError, ValueError, RecursionError):
        return clean(_shown(value))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if isinstance(value, dict):
        return {clean(key): _cleaned(each) for key, each in value.items()}
    return value


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - what cannot be shown must not make a failure of a body that returned
        return object.__repr__(value)
