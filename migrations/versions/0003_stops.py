"""Stops: one row a stop of a tree."""

import sqlalchemy as sa
from alembic import op

from lifecycle.store.clock import UtcDateTime

revision = "0003"
down_revision = "0002"

Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts only INTEGER keys


def upgrade() -> None:
    op.create_table(
        "stops",
        sa.Column("id", Serial, primary_key=True),
        sa.Column("container_id", sa.String(255), sa.ForeignKey("containers.id", ondelete="CASCADE"), nullable=False),
        sa.Column("requested_at", UtcDateTime, nullable=False),
        sa.Column("requested_by", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("grace", sa.Float),
        sa.Column("marked", sa.Integer),
        sa.Column("levels", sa.Integer),
        sa.Column("finished_at", UtcDateTime),
    )
    op.create_index("idx_stops_container", "stops", ["container_id"])


def downgrade() -> None:
    op.drop_table("stops")
