"""A page of memory that a node's main process shares with its pool children.

It tells the children until when they may run, and which execution is to be stopped; they tell it what they run.
A signal carries no such word, and a child in a signal handler cannot ask a database.
"""

import hashlib
import mmap
import os
import struct
from dataclasses import dataclass

SLOTS = 1024  # pool children at most; billiard numbers them from 0 and gives a dead one's number to the next
_DEADLINE = struct.Struct("<d")
_TEXT = struct.Struct("<H256s")
_MISSED_AT = 16
_LEAVING_AT = 32
_NODE_AT = 64
_SLOTS_AT = 512
_SLOT_SIZE = 512
_RUN = struct.Struct("<II?H256s")  # pid, epoch, shielded, id
_SHIELDED_AT = 8
_STOP_AT = 320
_CUT_AT = 384
_DIGEST = 8


@dataclass(frozen=True, slots=True)
class Run:
    """What a child says it runs; epoch 0 while it is still claiming."""

    container_id: str
    epoch: int
    shielded: bool = False


class Page:
    """Anonymous shared memory, inherited by fork."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SLOTS_AT + SLOTS * _SLOT_SIZE)

    @property
    def deadline(self) -> float:
        """Monotonic time until which this node's lease is certain; 0 if it has none."""
        return float(_DEADLINE.unpack_from(self._memory, 0)[0])

    @deadline.setter
    def deadline(self, at: float) -> None:
        _DEADLINE.pack_into(self._memory, 0, at)

    @property
    def missed_at(self) -> float:
        """Monotonic time at which this node found that it had missed a renewal of its lease; 0 if it never did."""
        return float(_DEADLINE.unpack_from(self._memory, _MISSED_AT)[0])

    @missed_at.setter
    def missed_at(self, at: float) -> None:
        _DEADLINE.pack_into(self._memory, _MISSED_AT, at)

    @property
    def leaving(self) -> bool:
        """True once the node shuts down: nothing may be claimed any more."""
        return bool(self._memory[_LEAVING_AT])

    def leave(self) -> None:
        """Say so."""
        self._memory[_LEAVING_AT] = 1

    @property
    def node(self) -> str:
        """The node's id: another one after it was declared dead and came back."""
        length, text = _TEXT.unpack_from(self._memory, _NODE_AT)
        return str(text[:length].decode())

    @node.setter
    def node(self, node: str) -> None:
        text = node.encode()
        _TEXT.pack_into(self._memory, _NODE_AT, len(text), text)

    def begin(self, slot: int, container_id: str, epoch: int = 0) -> None:
        """A child says what it runs: before the claim without an epoch, after it with."""
        text = container_id.encode()
        _RUN.pack_into(self._memory, _at(slot), os.getpid(), epoch, False, len(text), text)

    def shield(self, slot: int, shielded: bool) -> None:
        """A child says that it is inside `shield()`."""
        self._memory[_at(slot) + _SHIELDED_AT] = int(shielded)

    def clear(self, slot: int) -> None:
        """A child says that it runs nothing."""
        _RUN.pack_into(self._memory, _at(slot), os.getpid(), 0, False, 0, b"")

    def run(self, slot: int, pid: int) -> Run | None:
        """What this process says it runs; a newborn that has not spoken yet does not answer for a dead one's slot."""
        by, epoch, shielded, length, text = _RUN.unpack_from(self._memory, _at(slot))
        return Run(text[:length].decode(errors="replace"), epoch, shielded) if length and by == pid else None

    def ask_stop(self, slot: int, container_id: str, epoch: int) -> None:
        """Say which execution the next signal to this slot means to stop."""
        self._ask(_STOP_AT, slot, container_id, epoch)

    def ask_cut(self, slot: int, container_id: str, epoch: int) -> None:
        """Say which execution the next signal to this slot means to interrupt."""
        self._ask(_CUT_AT, slot, container_id, epoch)

    def is_asked(self, slot: int, container_id: str, epoch: int) -> bool:
        """True if this very execution is to be stopped, not one before it in the same process."""
        return self._is_asked(_STOP_AT, slot, container_id, epoch)

    def is_cut(self, slot: int, container_id: str, epoch: int) -> bool:
        """True if this very execution is to be interrupted."""
        return self._is_asked(_CUT_AT, slot, container_id, epoch)

    def _ask(self, place: int, slot: int, container_id: str, epoch: int) -> None:
        at = _at(slot) + place
        self._memory[at : at + _DIGEST] = _digest(container_id, epoch)

    def _is_asked(self, place: int, slot: int, container_id: str, epoch: int) -> bool:
        at = _at(slot) + place
        return self._memory[at : at + _DIGEST] == _digest(container_id, epoch)


def _at(slot: int) -> int:
    if not 0 <= slot < SLOTS:
        raise ValueError(f"a node has at most {SLOTS} pool children; this is number {slot}")
    return _SLOTS_AT + slot * _SLOT_SIZE


def _digest(container_id: str, epoch: int) -> bytes:
    return hashlib.blake2b(f"{container_id}:{epoch}".encode(), digest_size=_DIGEST).digest()
