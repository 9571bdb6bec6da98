"""Restarts: how often a container may be started again, and what it waits for meanwhile."""

import sqlalchemy as sa
from alembic import op

from lifecycle.store.clock import UtcDateTime

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("containers", sa.Column("max_restarts", sa.Integer, nullable=False, server_default="3"))
    op.add_column("containers", sa.Column("attempt", sa.String(40)))
    op.add_column("containers", sa.Column("resumed_at", UtcDateTime))
    waiting = sa.text("status = 'INTERRUPTED'")
    op.create_index(
        "idx_containers_interrupted", "containers", ["wake_at"], postgresql_where=waiting, sqlite_where=waiting
    )
    # Each node looks for these each second: it must not read all that sleep.
    over = sa.text(
        "status IN ('INTERRUPTED', 'PENDING', 'RUNNING', 'STOPPING') AND node IS NULL "
        "AND (outcome IS NOT NULL OR status = 'STOPPING')"
    )
    op.create_index("idx_containers_over", "containers", ["node"], postgresql_where=over, sqlite_where=over)


def downgrade() -> None:
    op.drop_index("idx_containers_over", "containers")
    op.drop_index("idx_containers_interrupted", "containers")
    for column in ("resumed_at", "attempt", "max_restarts"):
        op.drop_column("containers", column)
