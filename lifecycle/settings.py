"""Every setting: its name, default, unit and meaning; read from the Celery app, then from the environment."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from lifecycle.errors import ImpossibleSettings

PREFIX = "lifecycle_"
POSITIVE = ("heartbeat", "lease", "signal_every", "supervise_every", "redispatch", "log_flush")
NATURAL = ("grace", "kill_after", "log_fold", "lease_margin")


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"text": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`app.conf.lifecycle_NAME`, else the environment's `LIFECYCLE_NAME`, else the default. Times are seconds.

    Raises ImpossibleSettings for values that cannot work together.
    """

    database_url: str | None = _setting(None, "where the rows are; there is no default database")
    database_schema: str | None = _setting(None, "PostgreSQL schema of the tables")
    heartbeat: float = _setting(5.0, "a node renews its lease this often")
    lease: float = _setting(30.0, "a node that has not renewed for so long runs nothing any more")
    margin: float | None = _setting(None, "after lease and margin others take a node's containers; default lease / 10")
    grace: float = _setting(30.0, "from the mark of a stop to the kill")
    kill_after: float = _setting(3.0, "after its deadline a parent is killed, or given up, whatever its children do")
    signal_every: float = _setting(0.2, "a stop is signalled again until the run ends")
    supervise_every: float = _setting(1.0, "a node compares rows and processes this often")
    redispatch: float = _setting(60.0, "a message not claimed for so long may be lost: see the dispatcher")
    log_fold: float = _setting(60.0, "the same log message within this time is one line with a count")
    log_flush: float = _setting(1.0, "log lines are written this often")

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise ImpossibleSettings(problem)

    @property
    def lease_margin(self) -> float:
        """`margin`, or its default."""
        return self.lease / 10 if self.margin is None else self.margin

    @property
    def expires_in(self) -> float:
        """Seconds after its last renewal until others may take a node's containers."""
        return self.lease + self.lease_margin

    def _problems(self) -> list[str]:
        given = {name: getattr(self, name) for name in (*POSITIVE, *NATURAL)}
        if endless := [name for name, value in given.items() if not math.isfinite(value)]:
            return [f"{PREFIX}{name} must be a finite number of seconds, not {given[name]}" for name in endless]
        wrong = [f"{PREFIX}{name} must be more than 0 s, not {given[name]}" for name in POSITIVE if given[name] <= 0]
        wrong += [f"{PREFIX}{name} cannot be negative: {given[name]}" for name in NATURAL if given[name] < 0]
        if 2 * self.heartbeat > self.lease - self.lease_margin:
            wrong.append(
                f"two heartbeats of {self.heartbeat} s do not fit in a lease of {self.lease} s less its margin of "
                f"{self.lease_margin} s: raise {PREFIX}lease or lower {PREFIX}heartbeat"
            )
        return wrong


def read_settings(conf: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read every setting; raises ImpossibleSettings that names the one at fault."""
    values: dict[str, Any] = {}
    for each in fields(Settings):
        name = PREFIX + each.name
        value = conf.get(name)
        if value is None:
            value = environment.get(name.upper()) or None
        if value is not None:
            values[each.name] = _as_type(name, value, each.type)
    return Settings(**values)


def _as_type(name: str, value: Any, wanted: Any) -> Any:
    convert: Callable[[Any], Any] = float if "float" in str(wanted) else str
    try:
        return convert(value)
    except (TypeError, ValueError) as error:
        raise ImpossibleSettings(f"{name} must be a number, not {value!r}") from error
