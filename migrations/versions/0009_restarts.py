"""Restarts: how often a container may be started again, and what it waits for meanwhile."""

import sqlalchemy as sa
from alembic import op

from lifecycle.store.clock import UtcDateTime

revision = "0009"
down_revision = "0008"

COLUMNS = (
    sa.Column("max_restarts", sa.Integer, nullable=False, server_default="3"),
    sa.Column("attempt", sa.String(40)),
    sa.Column("resumed_at", UtcDateTime),
)


def upgrade() -> None:
    for column in COLUMNS:
        op.add_column("containers", column.copy())
    waiting = sa.text("status = 'INTERRUPTED'")
    op.create_index(
        "idx_containers_interrupted", "containers", ["wake_at"], postgresql_where=waiting, sqlite_where=waiting
    )


def downgrade() -> None:
    op.drop_index("idx_containers_interrupted", "containers")
    for column in COLUMNS:
        op.drop_column("containers", column.name)
