"""Transitions: one row a change of a container's status."""

import sqlalchemy as sa
from alembic import op

from lifecycle.store.clock import UtcDateTime

revision = "0002"
down_revision = "0001"

Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts only INTEGER keys


def upgrade() -> None:
    op.create_table(
        "transitions",
        sa.Column("id", Serial, primary_key=True),
        sa.Column("container_id", sa.String(255), sa.ForeignKey("containers.id", ondelete="CASCADE"), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("from_status", sa.String(16)),
        sa.Column("to_status", sa.String(16), nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("node", sa.String(255)),
        sa.Column("by", sa.String(255)),
        sa.Column("why", sa.Text),
        sa.Column("stop_id", Serial),
    )
    op.create_index("idx_transitions_container", "transitions", ["container_id", "id"])
    where = sa.text("stop_id IS NOT NULL")
    op.create_index("idx_transitions_stop", "transitions", ["stop_id"], postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    op.drop_table("transitions")
