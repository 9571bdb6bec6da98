"""Threads of the kernel, with gevent's patches and without; here its names stand in for it."""

import _thread
import sys
import time
from importlib import import_module
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from lifecycle.runtime.native import native, start_thread


@pytest.fixture
def patched(monkeypatch):
    """As gevent leaves a process: other functions in their places, the real ones kept in its `monkey`."""
    original = {("_thread", "start_new_thread"): _thread.start_new_thread}
    monkey = SimpleNamespace(
        get_original=lambda module, name: original.get((module, name)) or getattr(import_module(module), name)
    )
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)
    monkeypatch.setitem(sys.modules, "gevent", SimpleNamespace(get_hub=MagicMock()))
    monkeypatch.setattr(_thread, "start_new_thread", no_greenlet)


def no_greenlet(*_):
    raise AssertionError("this would start a greenlet")


def waits_for_its_end():
    go, done = _thread.allocate_lock(), []
    go.acquire()
    wait = start_thread(lambda: (go.acquire(), done.append(True)), "worker")
    wait(0.01)
    early = list(done)
    go.release()
    released = time.monotonic()
    wait(10)
    return (early, done) == ([], [True]) and time.monotonic() - released < 5


def test_the_end_of_a_thread_can_be_waited_for():
    assert waits_for_its_end()


def test_under_gevent_a_thread_is_the_kernels_and_its_end_can_be_waited_for(patched):
    assert waits_for_its_end()


def test_a_name_is_the_one_before_the_patch(patched):
    assert native("_thread", "start_new_thread") is not _thread.start_new_thread
    assert native("time", "sleep").__name__ == "sleep"
