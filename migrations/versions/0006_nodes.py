"""Nodes: one row a start of a Celery worker, with its lease."""

import sqlalchemy as sa
from alembic import op

from lifecycle.store.clock import UtcDateTime

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(255), primary_key=True),
        sa.Column("hostname", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("pool", sa.String(64), nullable=False),
        sa.Column("concurrency", sa.Integer, nullable=False),
        sa.Column("queues", sa.JSON),
        sa.Column("types", sa.JSON),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("renewed_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.Column("dead", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("dead_at", UtcDateTime),
        sa.Column("dead_why", sa.Text),
    )
    op.create_index(
        "idx_nodes_alive",
        "nodes",
        ["expires_at"],
        postgresql_where=sa.text("dead = false"),
        sqlite_where=sa.text("dead = 0"),
    )


def downgrade() -> None:
    op.drop_table("nodes")
