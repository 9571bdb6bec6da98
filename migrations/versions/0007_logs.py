"""Logs: what a container's body said."""

import sqlalchemy as sa
from alembic import op

from lifecycle.store.clock import UtcDateTime

revision = "0007"
down_revision = "0006"

Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts only INTEGER keys


def upgrade() -> None:
    op.create_table(
        "container_logs",
        sa.Column("id", Serial, primary_key=True),
        sa.Column("container_id", sa.String(255), sa.ForeignKey("containers.id", ondelete="CASCADE"), nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("level", sa.String(10), nullable=False),
        sa.Column("logger", sa.String(255), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("count", sa.Integer, nullable=False, server_default="1"),
    )
    op.create_index("idx_container_logs_container", "container_logs", ["container_id", "id"])


def downgrade() -> None:
    op.drop_table("container_logs")
