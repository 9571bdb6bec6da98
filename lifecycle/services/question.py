"""One container to be decided about: what a rule is asked, and how it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from lifecycle.domain.recovery import Decision, Need, Verdict
from lifecycle.domain.service import Service
from lifecycle.services.diagnosis import Case, is_well


@dataclass(frozen=True, slots=True)
class Question:
    """One container to be decided about, and what was decided about those before it."""

    case: Case
    decided: Mapping[str, Decision]
    meant: frozenset[str] | None = None
    need: Need | None = None
    """What is wrong, once that was asked."""

    @property
    def service(self) -> Service:
        return self.case.service

    def seconds_until(self, when: datetime | None) -> float:
        """Until a time of the database's clock; 0 if it is past or None."""
        return 0.0 if when is None else max(0.0, (when - self.case.now).total_seconds())

    def is_ready(self, parent: Service) -> bool:
        """True if a parent is well, and nothing is to be done about it, and nobody is at it."""
        said = self.decided.get(parent.id)
        settled = is_well(parent, self.case.snapshot, self.case.settings.docker_settle)
        return settled and (said is None or (said.need is None and said.verdict is not Verdict.HELD))

    def says(self, verdict: Verdict, reason: str, again_in: float | None = None) -> Decision:
        return Decision(service=self.service, verdict=verdict, reason=reason, need=self.need, again_in=again_in)
