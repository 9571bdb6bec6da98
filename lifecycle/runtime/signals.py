"""The signals that reach an execution in its pool child: a stop or an interrupt, and Celery's soft time limit."""

import signal
import threading
from typing import Any

from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler

from lifecycle.runtime.execution import STOP_SIGNAL, Execution, current_execution

_is_early = False
"""True if a soft time limit was over before its container was claimed."""


def install() -> None:
    """Before each claim: a pool without an event loop installs handlers of its own over ours.

    The pool's own handler of a soft time limit would raise wherever we are, also as an ending is written.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(STOP_SIGNAL, _on_stop)
        _change_limit(soft_timeout_sighandler, _on_limit)


def meet(execution: Execution) -> None:
    """After the claim: what came before it."""
    if _is_early and threading.current_thread() is threading.main_thread():
        execution.run_over()


def give_back() -> None:
    """After a run, or a claim that was lost: plain tasks run here too."""
    global _is_early  # noqa: PLW0603 - of the one thread that has signals
    if threading.current_thread() is threading.main_thread():
        _change_limit(_on_limit, soft_timeout_sighandler)
        _is_early = False  # not before: a limit that came between would be the next container's


def _change_limit(old: Any, new: Any) -> None:
    """Only in a pool child: elsewhere that signal is not the pool's."""
    if signal.getsignal(SIG_SOFT_TIMEOUT) is old:
        signal.signal(SIG_SOFT_TIMEOUT, new)


def _on_stop(_signal: int, _frame: Any) -> None:
    execution = current_execution()
    if execution is not None:
        execution.meet_stop()


def _on_limit(_signal: int, _frame: Any) -> None:
    global _is_early  # noqa: PLW0603 - as above
    execution = current_execution()
    if execution is None:
        _is_early = True
    else:
        execution.run_over()
