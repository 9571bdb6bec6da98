"""What a stop did, container by container."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StopReport:
    """The outcome of one `stop`: every id it met, and how each fared."""

    root: str
    stop_id: int
    order: tuple[str, ...] = ()
    """All containers of the stop, children before parents, siblings oldest first."""
    stopped: tuple[str, ...] = ()
    """Those that are STOPPED because of it."""
    already_ended: tuple[str, ...] = ()
    """Those that had ended, or ended by themselves before the stop reached them."""
    failed: dict[str, str] = field(default_factory=dict)
    """Those that are still not stopped, and why."""
    pending: tuple[str, ...] = ()
    """Those still stopping when the report was made (`wait=False`)."""
    notes: tuple[str, ...] = ()
    """What an operator should know, as that the broker could not be reached."""

    @property
    def ok(self) -> bool:
        """True if nothing failed to stop."""
        return not self.failed
