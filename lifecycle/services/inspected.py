"""What an engine says of a container, read: its JSON becomes a Service."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from lifecycle.domain.service import Dependency, Health, Policy, Service, Share, State, is_oneoff

COMPOSE = "com.docker.compose."
SHARED = {Share.NETNS: "NetworkMode", Share.IPC: "IpcMode", Share.PID: "PidMode"}
"""Where HostConfig has the container that each namespace is of."""
OF_CONTAINER = "container:"
FRACTION = re.compile(r"\.\d+")
Word = TypeVar("Word", State, Health, Policy)


def service(seen: Mapping[str, Any]) -> Service:
    """The answer to an inspection."""
    state, config, host = seen.get("State") or {}, seen.get("Config") or {}, seen.get("HostConfig") or {}
    policy = host.get("RestartPolicy") or {}
    return Service(
        id=seen["Id"],
        name=seen["Name"].removeprefix("/"),
        **_of_compose(config.get("Labels") or {}),
        state=_state(state),
        health=_health(state),
        created_at=moment(seen.get("Created")) or datetime.fromtimestamp(0, UTC),
        started_at=moment(state.get("StartedAt")),
        finished_at=moment(state.get("FinishedAt")),
        exit_code=state.get("ExitCode") or 0,
        error=state.get("Error") or "",
        oom_killed=bool(state.get("OOMKilled")),
        policy=_word(Policy, policy.get("Name"), Policy.NO),
        max_retries=policy.get("MaximumRetryCount") or 0,
        restart_count=seen.get("RestartCount") or 0,
        stop_timeout=config.get("StopTimeout"),
        auto_remove=bool(host.get("AutoRemove")),
        shares=shares(host),
        volumes_from=tuple(source.split(":")[0] for source in host.get("VolumesFrom") or ()),
        links=tuple(link.split(":")[0].removeprefix("/") for link in host.get("Links") or ()),
    )


def listed(row: Mapping[str, Any]) -> Service:
    """A line of the listing, for a container that cannot be inspected: when it started is not known."""
    return Service(
        id=row["Id"],
        name=canonical(row.get("Names") or ()) or row["Id"],
        **_of_compose(row.get("Labels") or {}),
        state=_word(State, row.get("State"), State.DEAD),
        created_at=datetime.fromtimestamp(row.get("Created") or 0, UTC),
        shares=shares(row.get("HostConfig") or {}),
    )


def canonical(names: Sequence[str]) -> str:
    """Its own name; the others are what links call it: `/child/alias`."""
    return next((name.removeprefix("/") for name in names if name.count("/") == 1), "")


def shares(host: Mapping[str, Any]) -> dict[Share, str]:
    """The containers whose namespaces it has; one that did not exist at the create is kept as it was given."""
    modes = {share: str(host.get(key) or "") for share, key in SHARED.items()}
    return {share: mode.removeprefix(OF_CONTAINER) for share, mode in modes.items() if mode.startswith(OF_CONTAINER)}


def moment(text: str | None) -> datetime | None:
    """A time of the engine's, which has nanoseconds; its year 1 is never."""
    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(FRACTION.sub(lambda found: found[0][:7], text)).astimezone(UTC)


def _of_compose(labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "labels": dict(labels),
        "project": labels.get(COMPOSE + "project"),
        "service": labels.get(COMPOSE + "service"),
        "oneoff": is_oneoff(labels),
        "depends_on": tuple(map(_dependency, _words(labels.get(COMPOSE + "depends_on", "")))),
    }


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _dependency(word: str) -> Dependency:
    """`service:condition:restart`; an older Compose wrote the service alone."""
    name, condition, restart, *_ = [*word.split(":"), "", ""]
    flags = {"true": True, "false": False}
    return Dependency(name, condition or "service_started", flags.get(restart.lower()))


def _state(state: Mapping[str, Any]) -> State:
    """One that we have no word for runs, or it does not."""
    return _word(State, state.get("Status"), State.RUNNING if state.get("Running") else State.EXITED)


def _health(state: Mapping[str, Any]) -> Health:
    return _word(Health, (state.get("Health") or {}).get("Status"), Health.NONE)


def _word(kind: type[Word], word: str | None, otherwise: Word) -> Word:
    return kind(word) if word in set(kind) else otherwise
