"""Quarantines: resources whose holders fail again and again with one error."""

import sqlalchemy as sa
from alembic import op

from lifecycle.store.clock import UtcDateTime

revision = "0011"
down_revision = "0010"

Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts only INTEGER keys


def upgrade() -> None:
    op.create_table(
        "quarantines",
        sa.Column("id", Serial, primary_key=True),
        sa.Column("resource", sa.String(255), nullable=False),
        sa.Column("player_id", sa.Integer),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("failed_at", UtcDateTime, nullable=False),
    )
    # As of assignments: a NULL player is no player to a unique index.
    for name, columns, where in (
        ("uq_quarantines", ["player_id", "resource"], "player_id IS NOT NULL"),
        ("uq_quarantines_of_nobody", ["resource"], "player_id IS NULL"),
    ):
        op.create_index(
            name, "quarantines", columns, unique=True, postgresql_where=sa.text(where), sqlite_where=sa.text(where)
        )


def downgrade() -> None:
    op.drop_table("quarantines")
