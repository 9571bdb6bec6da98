"""Our own end: the first SIGINT, SIGTERM or SIGHUP ends the job in order, later ones change nothing."""

import os
import signal
from types import FrameType

OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """The job was told to end; a BaseException so that no `except Exception` on the way keeps it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


_received: list[int] = []


def take_over() -> None:
    """Also when they were inherited as ignored, as under nohup or a shell's `&`."""
    for number in OURS:
        signal.signal(number, _end)


def check() -> None:
    """Raise what was received: an exception raised inside a finalizer was lost there."""
    if _received:
        raise Ended(_received[0])


def hang_up() -> None:
    """Nobody reads us any more: write into the void rather than fail while we leave in order."""
    void = os.open(os.devnull, os.O_WRONLY)
    os.dup2(void, 1)
    os.dup2(void, 2)


def _end(number: int, _frame: FrameType | None) -> None:
    for each in OURS:
        signal.signal(each, signal.SIG_IGN)
    _received.append(number)
    if number == signal.SIGHUP:
        hang_up()
    raise Ended(number)
