"""Assignments: who holds a resource, and who held it."""

import sqlalchemy as sa
from alembic import op

from lifecycle.store.clock import UtcDateTime

revision = "0005"
down_revision = "0004"

Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts only INTEGER keys
HELD = "released_at IS NULL"


def upgrade() -> None:
    op.create_table(
        "assignments",
        sa.Column("id", Serial, primary_key=True),
        sa.Column("resource", sa.String(255), nullable=False),
        sa.Column("player_id", sa.Integer),
        sa.Column("container_id", sa.String(255), sa.ForeignKey("containers.id", ondelete="CASCADE"), nullable=False),
        sa.Column("assigned_at", UtcDateTime, nullable=False),
        sa.Column("released_at", UtcDateTime),
        sa.Column("released_why", sa.Text),
    )
    # A NULL player is no player to a unique index: it would let two containers hold the same thing.
    _create_partial_index(
        "uq_assignments_held", ["player_id", "resource"], where=f"{HELD} AND player_id IS NOT NULL", unique=True
    )
    _create_partial_index(
        "uq_assignments_held_by_nobody", ["resource"], where=f"{HELD} AND player_id IS NULL", unique=True
    )
    _create_partial_index("idx_assignments_held_by", ["container_id"], where=HELD)


def downgrade() -> None:
    op.drop_table("assignments")


def _create_partial_index(name: str, columns: list[str], *, where: str, unique: bool = False) -> None:
    predicate = sa.text(where)
    op.create_index(name, "assignments", columns, unique=unique, postgresql_where=predicate, sqlite_where=predicate)
