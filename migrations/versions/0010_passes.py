"""Passes: when each periodic pass last ran, and what it has found."""

import sqlalchemy as sa
from alembic import op

from lifecycle.store.clock import UtcDateTime

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "passes",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("begun_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime),
        sa.Column("ran_by", sa.String(255)),
        sa.Column("found", sa.Integer, nullable=False, server_default="0"),
        sa.Column("runs", sa.Integer, nullable=False, server_default="0"),
        sa.Column("total_found", sa.Integer, nullable=False, server_default="0"),
    )
    # What is pruned is found by this, oldest first; and each holding of a container goes with it.
    ended = sa.text("status IN ('COMPLETED', 'FAILED', 'STOPPED')")
    op.create_index(
        "idx_containers_ended", "containers", ["stopped_at", "id"], postgresql_where=ended, sqlite_where=ended
    )
    op.create_index("idx_assignments_container", "assignments", ["container_id"])


def downgrade() -> None:
    op.drop_index("idx_assignments_container", "assignments")
    op.drop_index("idx_containers_ended", "containers")
    op.drop_table("passes")
