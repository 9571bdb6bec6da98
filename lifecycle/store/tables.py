"""The tables as they are now; `migrations/` says how a database gets here."""

import sqlalchemy as sa

from lifecycle.domain.status import LIVE, TERMINAL
from lifecycle.store.clock import UtcDateTime

metadata = sa.MetaData()
VERSION_TABLE = "lifecycle_version"

Id = sa.String(255)
Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts only INTEGER keys
Json = sa.JSON(none_as_null=True)

containers = sa.Table(
    "containers",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("player_id", sa.Integer),
    sa.Column("container_type", sa.String(255), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("previous_status", sa.String(16)),  # what RETURNING cannot tell: the status before the UPDATE
    sa.Column("max_iterations", sa.Integer, nullable=False, server_default="1"),
    sa.Column("current_iteration", sa.Integer, nullable=False, server_default="0"),
    sa.Column("restart_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("root_id", Id, nullable=False),
    sa.Column("depth", sa.Integer, nullable=False, server_default="0"),
    sa.Column("parent_epoch", sa.Integer),
    sa.Column("detached", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("message", Json),
    sa.Column("queue", sa.String(255)),
    sa.Column("grace", sa.Float, nullable=False, server_default="30"),
    sa.Column("iteration_interval", sa.Float, nullable=False, server_default="0"),
    sa.Column("epoch", sa.Integer, nullable=False, server_default="0"),
    sa.Column("node", Id),
    sa.Column("pid", sa.Integer),
    sa.Column("pid_started", sa.BigInteger),
    sa.Column("wake_at", UtcDateTime),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("dispatched_at", UtcDateTime),
    sa.Column("dispatch_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("state", Json),
    sa.Column("outcome", sa.String(16)),
    sa.Column("result", Json),
    sa.Column("exit_code", sa.Integer),
    sa.Column("exit_message", sa.Text),
    sa.Column("stop_id", Serial),
    sa.Column("stop_by", sa.String(255)),
    sa.Column("stop_reason", sa.Text),
    sa.Column("stop_message", sa.Text),
    sa.Column("stop_deadline", UtcDateTime),
    sa.Column("signal_at", UtcDateTime),
    sa.Column("stop_error", sa.Text),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("started_at", UtcDateTime),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("stopped_at", UtcDateTime),
    sa.Column("max_restarts", sa.Integer, nullable=False, server_default="3"),
    sa.Column("attempt", sa.String(40)),  # what an INTERRUPTED one waits for: "restart 2/3", "retry 1/5"
    sa.Column("resumed_at", UtcDateTime),  # claimed last after it was PENDING: healthy since then
    # The parent revision is the newest of the core chain: this column and what hangs on it roll back alone.
    sa.Column(
        "parent_container_id", sa.String(255), comment="ID of the container that spawned this one. NULL for roots."
    ),
    sa.ForeignKeyConstraint(
        ["parent_container_id"], ["containers.id"], name="fk_containers_parent", ondelete="RESTRICT"
    ),
    sa.CheckConstraint("id != parent_container_id OR parent_container_id IS NULL", name="chk_no_self_parent"),
)

stops = sa.Table(
    "stops",
    metadata,
    sa.Column("id", Serial, primary_key=True),
    sa.Column("container_id", Id, sa.ForeignKey("containers.id", ondelete="CASCADE"), nullable=False),
    sa.Column("requested_at", UtcDateTime, nullable=False),
    sa.Column("requested_by", sa.String(255), nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("grace", sa.Float),
    sa.Column("marked", sa.Integer),
    sa.Column("levels", sa.Integer),
    sa.Column("finished_at", UtcDateTime),
    sa.Column("counted", sa.Boolean, nullable=False, server_default=sa.false()),  # in `container_totals`
)

transitions = sa.Table(
    "transitions",
    metadata,
    sa.Column("id", Serial, primary_key=True),
    sa.Column("container_id", Id, sa.ForeignKey("containers.id", ondelete="CASCADE"), nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("from_status", sa.String(16)),
    sa.Column("to_status", sa.String(16), nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("node", Id),
    sa.Column("by", sa.String(255)),
    sa.Column("why", sa.Text),
    sa.Column("stop_id", Serial),  # each stop that asked: who belongs to a stop is said here, a later stop adds its own
    sa.Column("attempt", sa.String(40)),  # of an interruption, what is to come of it: "restart 2/3", "retry 1/5"
    sa.Column("counted", sa.Boolean, nullable=False, server_default=sa.false()),  # in `container_totals`
)

container_tags = sa.Table(
    "container_tags",
    metadata,
    sa.Column("container_id", Id, sa.ForeignKey("containers.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("value", sa.String(255), nullable=False),
)

assignments = sa.Table(
    "assignments",
    metadata,
    sa.Column("id", Serial, primary_key=True),
    sa.Column("resource", sa.String(255), nullable=False),
    sa.Column("player_id", sa.Integer),
    sa.Column("container_id", Id, sa.ForeignKey("containers.id", ondelete="CASCADE"), nullable=False),
    sa.Column("assigned_at", UtcDateTime, nullable=False),
    sa.Column("released_at", UtcDateTime),
    sa.Column("released_why", sa.Text),
)

nodes = sa.Table(
    "nodes",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("hostname", sa.String(255), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("pool", sa.String(64), nullable=False),
    sa.Column("concurrency", sa.Integer, nullable=False),
    sa.Column("queues", Json),
    sa.Column("types", Json),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("renewed_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),  # lease + margin after the last renewal
    sa.Column("dead", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("dead_at", UtcDateTime),
    sa.Column("dead_why", sa.Text),
)

container_logs = sa.Table(
    "container_logs",
    metadata,
    sa.Column("id", Serial, primary_key=True),
    sa.Column("container_id", Id, sa.ForeignKey("containers.id", ondelete="CASCADE"), nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("level", sa.String(10), nullable=False),
    sa.Column("logger", sa.String(255), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("count", sa.Integer, nullable=False, server_default="1"),
)

identity = sa.Table(
    "lifecycle_identity",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
)

passes = sa.Table(
    "passes",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("begun_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("ran_by", sa.String(255)),
    sa.Column("found", sa.Integer, nullable=False, server_default="0"),
    sa.Column("runs", sa.Integer, nullable=False, server_default="0"),
    sa.Column("total_found", sa.Integer, nullable=False, server_default="0"),
    sa.Column("error", sa.Text),
)

# Counters of what has been: the rows they came from are pruned. `totals` may well be a table of the app's own.
container_totals = sa.Table(
    "container_totals",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("type", sa.String(255), primary_key=True),  # of container, or empty
    sa.Column("label", sa.String(32), primary_key=True),  # a status, a depth, a reason, or empty
    sa.Column("le", sa.String(8), primary_key=True),  # the upper bound of a histogram's bucket, or empty
    sa.Column("value", sa.Float, nullable=False),
)

quarantines = sa.Table(
    "quarantines",
    metadata,
    sa.Column("id", Serial, primary_key=True),
    sa.Column("resource", sa.String(255), nullable=False),
    sa.Column("player_id", sa.Integer),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("failed_at", UtcDateTime, nullable=False),
)

# Named after Docker: `services` may well be a table of the app's own.
docker_services = sa.Table(
    "docker_services",
    metadata,
    sa.Column("engine", sa.String(255), primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("ids", Json),
    sa.Column("made_id", sa.String(64)),
    sa.Column("baseline", UtcDateTime),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("acted_at", UtcDateTime),
    sa.Column("next_at", UtcDateTime),
    sa.Column("opened_at", UtcDateTime),
    sa.Column("well_since", UtcDateTime),
    sa.Column("since", UtcDateTime),
    sa.Column("forgiven_at", UtcDateTime),
    sa.Column("fate", sa.String(16)),
    sa.Column("fate_id", sa.String(64)),
    sa.Column("heard_at", UtcDateTime),
    sa.Column("quiet_until", UtcDateTime),
    sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("told", sa.Text),
    sa.Column("verdict", sa.String(32)),
    sa.Column("reason", sa.Text),
    sa.Column("seen_at", UtcDateTime),
    sa.Column("locked_by", sa.String(255)),
    sa.Column("locked_until", UtcDateTime),
    sa.Column("recoveries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("version", sa.Integer, nullable=False, server_default="0"),
)

docker_actions = sa.Table(
    "docker_actions",
    metadata,
    sa.Column("id", Serial, primary_key=True),
    sa.Column("engine", sa.String(255), nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("container_id", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("begun_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("by", sa.String(255), nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("charged", sa.Boolean, nullable=False, server_default=sa.true()),
)

docker_unrestartables = sa.Table(
    "docker_unrestartables",
    metadata,
    sa.Column("id", Serial, primary_key=True),
    sa.Column("engine", sa.String(255), nullable=False),
    sa.Column("container_id", sa.String(64), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("reference", sa.Text),
    sa.Column("at", UtcDateTime, nullable=False),
)


def _words(statuses: object) -> list[sa.ColumnElement[str]]:
    """Statuses as literals: a partial index is used only where the query spells its condition out."""
    return [sa.literal_column(f"'{status}'") for status in sorted(statuses)]  # type: ignore[call-overload]


def live(table: sa.FromClause = containers) -> sa.ColumnElement[bool]:
    """The rows that have not ended, spelled as the partial indexes spell it."""
    return table.c.status.in_(_words(LIVE))


def ended(table: sa.FromClause = containers) -> sa.ColumnElement[bool]:
    """The rows that have ended, spelled as their index spells it."""
    return table.c.status.in_(_words(TERMINAL))


def interrupted(table: sa.FromClause = containers) -> sa.ColumnElement[bool]:
    """The rows that were cut off and are to go on, spelled as their index spells it."""
    return table.c.status == sa.literal_column("'INTERRUPTED'")


def startable(table: sa.FromClause = containers) -> sa.ColumnElement[bool]:
    """The rows an execution may take, once their `wake_at` is past: PENDING, or RUNNING without node and outcome."""
    return sa.and_(
        table.c.status.in_(_words({"PENDING", "RUNNING"})), table.c.node.is_(None), table.c.outcome.is_(None)
    )


def over(table: sa.FromClause = containers) -> sa.ColumnElement[bool]:
    """Rows without execution that wait only for their children, spelled as their index spells it."""
    stopping = table.c.status == sa.literal_column("'STOPPING'")
    return sa.and_(live(table), table.c.node.is_(None), sa.or_(table.c.outcome.is_not(None), stopping))


def uncounted() -> sa.ColumnElement[bool]:
    """Transitions that metrics count and that are not in `container_totals` yet, spelled as their index spells it."""
    t = transitions.c
    ended_or_cut = t.to_status.in_(_words({*TERMINAL, "INTERRUPTED"}))
    going_on = t.from_status == sa.literal_column("'INTERRUPTED'")
    return sa.and_(t.counted == sa.false(), sa.or_(ended_or_cut, going_on))


def uncounted_stop() -> sa.ColumnElement[bool]:
    """Stops that are not in `container_totals` yet, spelled as their index spells it."""
    return stops.c.counted == sa.false()


def _partial(name: str, *columns: object, where: sa.ColumnElement[bool], unique: bool = False) -> sa.Index:
    return sa.Index(name, *columns, unique=unique, postgresql_where=where, sqlite_where=where)  # type: ignore[arg-type]


sa.Index("idx_containers_player", containers.c.player_id)
sa.Index("idx_containers_created", containers.c.created_at)
_partial("idx_containers_live_root", containers.c.root_id, containers.c.depth, where=live())
_partial("idx_containers_live_node", containers.c.node, where=sa.and_(live(), containers.c.node.is_not(None)))
_partial("idx_containers_live", containers.c.status, containers.c.created_at, where=live())
_partial("idx_containers_stop", containers.c.stop_id, containers.c.depth, where=containers.c.stop_id.is_not(None))
_partial("idx_containers_due", containers.c.wake_at, where=sa.and_(startable(), containers.c.dispatched_at.is_(None)))
_partial(
    "idx_containers_sent",
    containers.c.dispatched_at,
    where=sa.and_(startable(), containers.c.dispatched_at.is_not(None)),
)
_partial(
    "idx_containers_expiring", containers.c.expires_at, where=sa.and_(startable(), containers.c.expires_at.is_not(None))
)
_partial("idx_containers_claimed", containers.c.queue, containers.c.dispatched_at, where=containers.c.epoch > 0)
_partial(
    "idx_containers_parent_player",
    containers.c.parent_container_id,
    containers.c.player_id,
    where=containers.c.parent_container_id.is_not(None),
)
_partial("idx_containers_live_children", containers.c.parent_container_id, where=live())
_partial("idx_containers_over", containers.c.node, where=over())
_partial("idx_containers_interrupted", containers.c.wake_at, where=interrupted())
_partial("idx_containers_ended", containers.c.stopped_at, containers.c.id, where=ended())
sa.Index("idx_stops_container", stops.c.container_id)
sa.Index("idx_transitions_container", transitions.c.container_id, transitions.c.id)
_partial("idx_transitions_stop", transitions.c.stop_id, where=transitions.c.stop_id.is_not(None))
_partial("idx_transitions_uncounted", transitions.c.id, where=uncounted())
_partial("idx_stops_uncounted", stops.c.id, where=uncounted_stop())
sa.Index("idx_container_tags_key_value", container_tags.c.key, container_tags.c.value)
_partial(
    "uq_assignments_held",
    assignments.c.player_id,
    assignments.c.resource,
    where=sa.and_(assignments.c.released_at.is_(None), assignments.c.player_id.is_not(None)),
    unique=True,
)
_partial(
    "uq_assignments_held_by_nobody",
    assignments.c.resource,
    where=sa.and_(assignments.c.released_at.is_(None), assignments.c.player_id.is_(None)),
    unique=True,
)
_partial("idx_assignments_held_by", assignments.c.container_id, where=assignments.c.released_at.is_(None))
sa.Index("idx_assignments_container", assignments.c.container_id)
_partial(
    "uq_quarantines",
    quarantines.c.player_id,
    quarantines.c.resource,
    where=quarantines.c.player_id.is_not(None),
    unique=True,
)
_partial("uq_quarantines_of_nobody", quarantines.c.resource, where=quarantines.c.player_id.is_(None), unique=True)
sa.Index("idx_docker_actions", docker_actions.c.engine, docker_actions.c.key, docker_actions.c.begun_at)
sa.Index("uq_docker_unrestartables", docker_unrestartables.c.engine, docker_unrestartables.c.container_id, unique=True)
_partial("idx_nodes_alive", nodes.c.expires_at, where=nodes.c.dead == sa.false())
sa.Index("idx_container_logs_container", container_logs.c.container_id, container_logs.c.id)
