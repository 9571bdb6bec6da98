"""Celery's pools: which of them can kill what it runs, and how that is told."""

KILLABLE = "prefork"
HEARS_AT_WORK = frozenset({"prefork", "thread", "gevent", "eventlet"})  # solo answers between tasks
OPTIONS = {"thread": "threads"}  # a node's row has the name of Celery's module
LOOKS = "checkpoint() or sleep()"


def as_option(pool: str) -> str:
    """What `-P` calls the pool that a node's row names."""
    return OPTIONS.get(pool, pool)


def cannot_kill(pool: str, pid: int) -> str:
    """Why an execution outlives its deadline on this pool, and what ends it; `pid` is its node's main process."""
    ends = f"it stops at its next {LOOKS}, or when its node is killed (kill -9 {pid})"
    return f"on a {as_option(pool)} pool nothing can be killed; {ends}"
