"""One step of one actor: the only thing that leads from a state to another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class Broken(Exception):
    """A step did what no step may do."""


@dataclass(frozen=True)
class Step:
    """One transaction, or none, and what is true after it."""

    label: str
    call: tuple[Any, ...] | None
    then: Callable[..., Any]
    """Takes the transaction's result, and whether it changed anything."""
    is_time: bool = False
    """Nobody does it: a moment comes."""
    reads: Any = None
    """All that the transaction looks at before it does nothing, where that is less than everything."""
