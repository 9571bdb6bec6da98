"""Totals: what has been counted for metrics, so that no counter goes down when the rows it came from are pruned.

Rows that are not counted yet are found by an index over them alone. What is there now goes as counted, and counters
begin at 0: a first scrape over a long history would take long.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

UNCOUNTED = {
    "stops": "counted = false",
    "transitions": (
        "counted = false AND "
        "(to_status IN ('COMPLETED', 'FAILED', 'INTERRUPTED', 'STOPPED') OR from_status = 'INTERRUPTED')"
    ),
}


COUNTED = {  # PostgreSQL writes no row for it; SQLite cannot change a default
    "postgresql": [
        "ALTER TABLE {table} ADD COLUMN counted BOOLEAN NOT NULL DEFAULT true",
        "ALTER TABLE {table} ALTER COLUMN counted SET DEFAULT false",
    ],
    "sqlite": [
        "ALTER TABLE {table} ADD COLUMN counted BOOLEAN NOT NULL DEFAULT 0",
        "UPDATE {table} SET counted = 1",
    ],
}


def upgrade() -> None:
    op.create_table(
        "container_totals",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("type", sa.String(255), primary_key=True),
        sa.Column("label", sa.String(32), primary_key=True),
        sa.Column("le", sa.String(8), primary_key=True),
        sa.Column("value", sa.Float, nullable=False),
    )
    op.execute("ALTER TABLE transitions ADD COLUMN attempt VARCHAR(40)")
    dialect = op.get_context().dialect.name
    for table, which in UNCOUNTED.items():
        for statement in COUNTED[dialect]:
            op.execute(statement.format(table=table))
        where = sa.text(which if dialect == "postgresql" else which.replace("false", "0"))
        op.create_index(f"idx_{table}_uncounted", table, ["id"], postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    for table in UNCOUNTED:
        op.drop_index(f"idx_{table}_uncounted", table)
        op.execute(f"ALTER TABLE {table} DROP COLUMN counted")
    op.execute("ALTER TABLE transitions DROP COLUMN attempt")
    op.drop_table("container_totals")
