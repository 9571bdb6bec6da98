"""How long a thing may take, and what may have ended a process: by the faults that were noted, by nothing else."""

from bisect import bisect_left

BEYOND = 5.0  # seconds that a stop may take beyond its largest grace (design, I5)
SLACK = 0.02  # seconds between a statement and what it stands for
LONG_OUTAGE = 0.5  # leases: renewals may be missed
REFUSES_WITHIN = 20.0  # seconds that a node may take to find that it cannot start
LEAVES_WITHIN = 20.0
LEAVES = ("term", "quit")
DEADLY = (*LEAVES, "kill main", "kill group")
OF_ITS_LEASE = (*DEADLY, "pause main", "pause group")
OF_A_CHILD = ("kill child", "pause child")


def overlaps(fault, first, last):
    """Whether any of it lies within a time."""
    return fault.began <= last and fault.ended >= first


def stalled(history, first, last):
    """Seconds by which everything may be late, for this machine kept us waiting so long within a time."""
    began, ended = (bisect_left(history.stalls, at, key=lambda each: each.began) for at in (first, last))
    return history.waited[ended] - history.waited[max(began - 1, 0)]


def latest_end(history, began, grace, nodes):
    """When a stop has to be over that was marked at `began`, and whose executions ran on these nodes.

    At the largest grace; for a node that died, when its lease ran out; and 5 s. A fault within that time counts, one of
    the database with all its length: whoever has missed a renewal declares nobody dead for another lease.
    """
    mains = {history.main_of.get(node) for node in nodes}
    end, before = began + grace, 0.0
    while end > before:
        before = end
        holds = [_holds_until(history, fault, began, mains) for fault in history.faults if fault.began <= end + BEYOND]
        end = max([end, *holds])
    return end + BEYOND + stalled(history, began, end + BEYOND)


def _holds_until(history, fault, began, mains):
    """Until when this fault may hold such a stop up; 0 if it does not."""
    expired = fault.began + history.expires
    if fault.kind.startswith("database"):
        return fault.ended + history.settings.lease
    if fault.kind.startswith("pause"):  # of any node: it may hold the lock of a row
        return max(expired, fault.ended if fault.main in mains else 0.0)
    return expired if fault.kind in DEADLY and fault.main in mains else 0.0


def explain_loss(history, change):
    """Whether its own body or a fault, soon enough before, ended the execution that this change took the row from."""
    run = history.runs_of.get((change.container_id, change.epoch), ())
    if any(mark.what == "dies" for mark in run):
        return True
    node, pid = history.seat_of(change.container_id, change.epoch)
    last = max((mark.at for mark in run), default=0.0)
    soon = [fault for fault in history.faults if _is_soon(history, fault, change.at)]
    if any(_may_end(history, fault, node, pid) and last <= fault.ended + history.settings.lease for fault in soon):
        return True
    return any(each.pid == history.main_of.get(node) and each.at <= change.at + 1.0 for each in history.exits)


def _may_end(history, fault, node, pid):
    if fault.kind.startswith("database") or fault.kind == "stall":
        return _is_long(history, fault)
    if fault.kind in OF_A_CHILD:
        return fault.main == history.main_of.get(node) if pid is None else pid in fault.pids
    return fault.kind in OF_ITS_LEASE and fault.main == history.main_of.get(node)


def _is_soon(history, fault, at):
    """A lost node is seen when its lease has run out, by who may have missed a renewal itself; then there is a pass."""
    if at < fault.began - SLACK:
        return False
    patience = history.expires + history.settings.lease + BEYOND + stalled(history, fault.began, at)
    patience += sum(each.ended - each.began for each in history.outages if overlaps(each, fault.began, at))
    return at <= fault.ended + patience


def _is_long(history, fault):
    """Long enough for a lease to run out."""
    return fault.kind == "stall" or fault.ended - fault.began >= LONG_OUTAGE * history.settings.lease


def explain_shutdown(history, change):
    """Whether the node that gave the row away had been told to leave, or was about to end by itself."""
    told = [fault.main for fault in history.faults if fault.kind in LEAVES and fault.began <= change.at]
    told += [each.pid for each in history.exits if change.at <= each.at + SLACK <= change.at + LEAVES_WITHIN]
    return history.main_of.get(change.by) in told


def explain_death(history, node):
    """Whether a fault let this node's lease run out."""
    for fault in history.faults:
        if not _is_soon(history, fault, node.dead_at):
            continue
        if fault.kind in OF_ITS_LEASE and fault.main == node.pid:
            return True
        if (fault.kind.startswith("database") or fault.kind == "stall") and _is_long(history, fault):
            return True
    return any(each.pid == node.pid and each.at <= node.dead_at + 1.0 for each in history.exits)


def explain_exit(history, exit_):
    """Whether a server was away when a node ended by itself.

    Or at any time since it started, if it has run nothing yet: Celery ends a node that has lost a pool child before it
    first reached the broker.
    """
    since = exit_.at - REFUSES_WITHIN
    if exit_.pid not in history.mains_at_work:
        since = min([since, *(event.at for event in history.starts if event.pid == exit_.pid)])
    servers = [fault for fault in history.faults if fault.kind.startswith(("database", "broker"))]
    return any(overlaps(fault, since, exit_.at) for fault in servers)
