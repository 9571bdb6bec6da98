"""Every error this library raises, in one tree: catch `LifecycleError` for all of them."""

from datetime import UTC, datetime

SHOWN = 5  # candidates named of an ambiguous id


class LifecycleError(Exception):
    """Base of every error a caller can make or meet."""


class ContainerNotFound(LifecycleError):
    """No container has this id (or none that this player may see)."""

    def __init__(self, container_id: str) -> None:
        super().__init__(f"container not found: {container_id}")
        self.container_id = container_id


class AmbiguousId(LifecycleError):
    """The given part of an id fits more than one container."""

    def __init__(self, part: str, candidates: list[str]) -> None:
        shown = ", ".join(candidates[:SHOWN]) + (", …" if len(candidates) > SHOWN else "")
        super().__init__(f"{part!r} fits more than one container: {shown}; give more of the id")
        self.candidates = candidates


class ContainerExists(LifecycleError):
    """A container of this id is already recorded; `taken` are all of a call's ids that are."""

    def __init__(self, container_id: str, *others: str) -> None:
        super().__init__(f"container already exists: {container_id}")
        self.container_id = container_id
        self.taken = {container_id, *others}


class InvalidParent(LifecycleError):
    """The named parent does not exist, is the container itself, or takes no more children."""

    def __init__(self, why: str = "") -> None:
        super().__init__("invalid parent reference" + (f": {why}" if why else ""))


class PlayerMismatch(LifecycleError):
    """A child was given another player than its parent's."""


class ResourceHeld(LifecycleError):
    """A resource is already held by a live container; `holder` is its id."""

    def __init__(self, resource: str, holder: str) -> None:
        super().__init__(f"{resource} is held by container {holder}")
        self.resource = resource
        self.holder = holder


class ResourceQuarantined(LifecycleError):
    """Holders of a resource failed again and again with one error: it is given to nobody until `until`."""

    def __init__(self, resource: str, until: datetime, error: str) -> None:
        when = f"{until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        super().__init__(f"{resource} is quarantined until {when}: its holders failed with {error}")
        self.resource = resource
        self.until = until
        self.error = error


class InvalidArgument(LifecycleError):
    """A call or command was given a value that cannot be meant; the text says what to give."""


class UnknownType(LifecycleError):
    """No task of this container type is registered in the app."""


class DuplicateType(LifecycleError):
    """Two tasks of one app claim the same container type."""


class NotInstalled(LifecycleError):
    """The Celery app at hand has no `Lifecycle(app)`."""


class ImpossibleSettings(LifecycleError):
    """Settings that cannot work together, or are missing; refused at start."""


class StoreError(LifecycleError):
    """The database cannot be used as it is."""


class StoreUnreachable(StoreError):
    """The database did not answer."""


class StoreBusy(StoreUnreachable):
    """Another transaction was in the way: the same again may well succeed."""


class SchemaMissing(StoreError):
    """The tables are not there or older than this code: run `container migrate`."""


class CorruptRow(StoreError):
    """A row holds a value this code cannot read."""


class WaitRefused(LifecycleError):
    """`Container.wait()` was called inside a container's body (design, section 5)."""


class WaitTimeout(LifecycleError):
    """The containers waited for did not end in time."""


class ServiceTrouble(LifecycleError):
    """A Docker container could not be recovered; the class says whose fault that is."""


class EngineMissing(ServiceTrouble):
    """There is no Docker engine to ask: the extra is not installed, or there is no socket."""


class DaemonTrouble(ServiceTrouble):
    """The engine did not answer, or answered with an error of its own: no container is charged with it."""


class EngineRefused(ServiceTrouble):
    """The engine, or a proxy before it, allows us to look but not to act (403)."""


class ServiceGone(ServiceTrouble):
    """The container does not exist any more."""


class ServiceRemoving(ServiceTrouble):
    """The container is being removed."""


class DependencyMissing(ServiceTrouble):
    """The container shares a namespace of one that does not exist any more; `reference` names that one."""

    def __init__(self, message: str, reference: str) -> None:
        super().__init__(message)
        self.reference = reference


class DependencyDown(ServiceTrouble):
    """The container shares a namespace of one that does not run; `reference` names that one."""

    def __init__(self, message: str, reference: str) -> None:
        super().__init__(message)
        self.reference = reference


class ServiceStopped(ServiceTrouble):
    """An operator has stopped the service while it was acted on; `container_id` is the one that is stopped now."""

    def __init__(self, message: str, container_id: str) -> None:
        super().__init__(message)
        self.container_id = container_id


class ServiceTaken(ServiceTrouble):
    """An action took so long that another took the service over: nothing more is done to it here."""


class ServiceMisconfigured(ServiceTrouble):
    """The engine cannot start the container as it is: a port is taken, a path or its command is missing."""


class NotVerified(ServiceTrouble):
    """The engine did as told, and the container does not run, or not as it should."""


class CutShort(BaseException):
    """Base of what is raised inside a body to end it from outside: catch it to clean up whatever the cause.

    A BaseException, so that `except Exception` in a body does not swallow it.
    """


class ContainerStopped(CutShort):
    """Raised inside a body whose container is being stopped: it ends STOPPED."""


class ContainerInterrupted(CutShort):
    """Raised inside a body whose node shuts down: the container is INTERRUPTED, and its body runs again elsewhere."""


class ExecutionSuperseded(ContainerStopped):
    """Raised inside an execution whose container has been taken over by a later one: it writes nothing more."""
