"""The API's refusals: the real one's codes, of which those stand here that this universe can give."""

from enum import IntEnum
from typing import Any


class Code(IntEnum):
    NOT_FOUND = 404
    INVALID = 422
    BUSY = 429
    TOKEN_MISSING = 4103
    TOKEN_INVALID = 4104
    SYMBOL_TAKEN = 4111
    TOKEN_OUTDATED = 4113
    OUTSIDE_SYSTEM = 4202
    FUEL = 4203
    ALREADY_THERE = 4204
    IN_TRANSIT = 4214
    CARGO_EXCEEDS = 4217
    CARGO_MISSING = 4218
    CARGO_UNITS = 4219
    NO_FUEL_SOLD = 4226
    NOT_IN_ORBIT = 4236
    NOT_DOCKED = 4244
    ALREADY_ACCEPTED = 4501
    NOT_DELIVERED = 4502
    DEADLINE = 4503
    ALREADY_FULFILLED = 4504
    NOT_ACCEPTED = 4505
    NOT_IN_TERMS = 4508
    DELIVERED = 4509
    WRONG_DESTINATION = 4510
    HAS_CONTRACT = 4511
    CREDITS = 4600
    NOT_SOLD = 4601
    NOT_BOUGHT = 4602
    NO_MARKET = 4603
    TRADE_VOLUME = 4604
    NO_FACTION = 4700


STATUS = {Code.NOT_FOUND: 404, Code.NO_MARKET: 404, Code.INVALID: 422, Code.BUSY: 429, Code.SYMBOL_TAKEN: 409}
STATUS |= dict.fromkeys((Code.TOKEN_MISSING, Code.TOKEN_INVALID, Code.TOKEN_OUTDATED), 401)


class Refusal(Exception):
    """No, and why. What is refused changes nothing."""

    def __init__(self, code: Code, message: str, **data: Any) -> None:
        super().__init__(message)
        self.code, self.data = code, data

    @property
    def status(self) -> int:
        return STATUS.get(self.code, 400)

    def as_json(self) -> dict[str, Any]:
        return {"error": {"message": str(self), "code": int(self.code), "data": self.data}}
