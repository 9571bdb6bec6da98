"""What a pass did, and how it is told to the log."""

import logging
from dataclasses import dataclass

from lifecycle.domain.recovery import Plan, Verdict
from lifecycle.domain.service import SHORT, Action
from lifecycle.errors import ServiceTrouble

log = logging.getLogger("lifecycle.docker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One action that was done, or not: then `error` says why."""

    action: Action
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a pass did, and how all stood at its end."""

    acts: tuple[Act, ...]
    plan: Plan
    engine: str
    """The engine's id."""

    @property
    def found(self) -> int:
        """How many actions there were."""
        return len(self.acts)

    @property
    def again_in(self) -> float | None:
        """Seconds after which something is due, if nothing happens before."""
        return self.plan.again_in

    @property
    def keys(self) -> frozenset[str]:
        """Of the services that count here."""
        return frozenset(each.service.key for each in self.plan.known)

    @property
    def projects(self) -> frozenset[str | None]:
        """Of the same."""
        return frozenset(each.service.project for each in self.plan.known if each.service.project)


def tell_plan(plan: Plan, known: set[tuple[str, ...]], *, dry_run: bool) -> None:
    """R95: what is never tried again at INFO, what is put off at DEBUG; a circle that is not `known` once."""
    for circle in plan.cycles:
        if circle not in known:
            known.add(circle)
            log.warning("services depend on each other in a circle: %s", ", ".join(circle))
    for each in plan.decisions:
        name, short = each.service.name, each.service.short_id
        if each.need is not None and each.action is None:
            level = logging.INFO if each.verdict is Verdict.GIVEN_UP else logging.DEBUG
            text = "skipped name=%s id=%s need=%s: %s, %s"
            log.log(level, text, name, short, each.need.kind, each.verdict, each.reason)
        elif each.action is not None and dry_run:
            log.info("would %s name=%s reason=%s", each.action.kind, name, each.reason)


def tell_outcome(action: Action, error: ServiceTrouble | None, *, noted: bool) -> None:
    """R95, R96: how an action ended; the first time that an id is given up at ERROR."""
    short = action.id[:SHORT]
    if error is None:
        log.info("%s done name=%s id=%s", action.kind, action.name, short)
    elif noted:
        text = "%s failed name=%s id=%s reason=%s; will not retry this container ID"
        log.error(text, action.kind, action.name, short, error)
    else:
        log.warning("%s failed name=%s id=%s reason=%s", action.kind, action.name, short, error)
