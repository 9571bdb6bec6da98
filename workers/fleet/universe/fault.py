"""What goes wrong between a client and the API, when a test asks for it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from workers.fleet.universe.error import Code, Refusal


@dataclass
class Fault:
    """The next `times` calls of a method and a path, which may have `*` in it.

    With a status they are answered by that and not executed; `lost` ones are executed, and their answer never comes;
    `late` seconds pass before the deed, `delay` between it and the answer.
    """

    method: str
    path: str
    times: int = 1
    status: int | None = None
    lost: bool = False
    late: float = 0.0
    delay: float = 0.0

    @classmethod
    def told(cls, body: Mapping[str, Any]) -> "Fault":
        try:
            return cls(**body)
        except TypeError as error:
            raise Refusal(Code.INVALID, f"That is no fault: {error}") from None

    def answer(self) -> tuple[int, dict[str, Any]]:
        status = self.status or 0
        return status, {"error": {"message": "Out of order.", "code": status, "data": {}}}

    def meets(self, method: str, path: str) -> bool:
        return self.times > 0 and method == self.method and fnmatchcase(path, self.path)


class Faults:
    """The oldest that fits strikes first."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def left(self) -> list[dict[str, Any]]:
        """Those that have not struck yet."""
        return [asdict(fault) for fault in self._faults if fault.times > 0]

    def take(self, method: str, path: str) -> Fault | None:
        for fault in self._faults:
            if fault.meets(method, path):
                fault.times -= 1
                return fault
        return None
