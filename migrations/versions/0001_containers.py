"""Containers: one row a durable run of a task."""

import sqlalchemy as sa
from alembic import op

from lifecycle.store.clock import UtcDateTime

revision = "0001"
down_revision = None

LIVE = "status IN ('INTERRUPTED', 'PENDING', 'RUNNING', 'STOPPING')"
STARTABLE = "status IN ('PENDING', 'RUNNING') AND node IS NULL AND outcome IS NULL"


def upgrade() -> None:
    op.create_table("containers", *_columns())
    op.create_index("idx_containers_player", "containers", ["player_id"])
    op.create_index("idx_containers_created", "containers", ["created_at"])
    _create_partial_index("idx_containers_live_root", ["root_id", "depth"], where=LIVE)
    _create_partial_index("idx_containers_live_node", ["node"], where=f"{LIVE} AND node IS NOT NULL")
    _create_partial_index("idx_containers_live", ["status", "created_at"], where=LIVE)
    _create_partial_index("idx_containers_stop", ["stop_id", "depth"], where="stop_id IS NOT NULL")
    _create_partial_index("idx_containers_due", ["wake_at"], where=f"{STARTABLE} AND dispatched_at IS NULL")
    _create_partial_index("idx_containers_sent", ["dispatched_at"], where=f"{STARTABLE} AND dispatched_at IS NOT NULL")
    _create_partial_index("idx_containers_expiring", ["expires_at"], where=f"{STARTABLE} AND expires_at IS NOT NULL")
    _create_partial_index("idx_containers_claimed", ["queue", "dispatched_at"], where="epoch > 0")


def downgrade() -> None:
    op.drop_table("containers")


def _create_partial_index(name: str, columns: list[str], *, where: str) -> None:
    op.create_index(name, "containers", columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))


def _columns() -> list[sa.Column]:
    return [
        sa.Column("id", sa.String(255), primary_key=True),
        sa.Column("player_id", sa.Integer),
        sa.Column("container_type", sa.String(255), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("previous_status", sa.String(16)),
        sa.Column("max_iterations", sa.Integer, nullable=False, server_default="1"),
        sa.Column("current_iteration", sa.Integer, nullable=False, server_default="0"),
        sa.Column("restart_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("root_id", sa.String(255), nullable=False),
        sa.Column("depth", sa.Integer, nullable=False, server_default="0"),
        sa.Column("parent_epoch", sa.Integer),
        sa.Column("detached", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("message", sa.JSON),
        sa.Column("queue", sa.String(255)),
        sa.Column("grace", sa.Float, nullable=False, server_default="30"),
        sa.Column("iteration_interval", sa.Float, nullable=False, server_default="0"),
        sa.Column("epoch", sa.Integer, nullable=False, server_default="0"),
        sa.Column("node", sa.String(255)),
        sa.Column("pid", sa.Integer),
        sa.Column("pid_started", sa.BigInteger),
        sa.Column("wake_at", UtcDateTime),
        sa.Column("expires_at", UtcDateTime),
        sa.Column("dispatched_at", UtcDateTime),
        sa.Column("dispatch_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("state", sa.JSON),
        sa.Column("outcome", sa.String(16)),
        sa.Column("result", sa.JSON),
        sa.Column("exit_code", sa.Integer),
        sa.Column("exit_message", sa.Text),
        sa.Column("stop_id", sa.BigInteger().with_variant(sa.Integer, "sqlite")),
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
    ]
