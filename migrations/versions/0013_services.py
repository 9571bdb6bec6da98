"""Docker services: what their recovery remembers, has done, and will not try again; and why a pass last failed.

After the parent's revision, whose rollback takes this along: what is lost is a memory of some minutes.
"""

import sqlalchemy as sa
from alembic import op

from lifecycle.store.clock import UtcDateTime

revision = "0013"
down_revision = "0012"

Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts only INTEGER keys


def upgrade() -> None:
    op.create_table(
        "docker_services",
        sa.Column("engine", sa.String(255), primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("name", sa.Text),
        sa.Column("ids", sa.JSON(none_as_null=True)),
        sa.Column("made_id", sa.String(64)),
        sa.Column("baseline", UtcDateTime),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("acted_at", UtcDateTime),
        sa.Column("next_at", UtcDateTime),
        sa.Column("opened_at", UtcDateTime),
        sa.Column("well_since", UtcDateTime),
        sa.Column("since", UtcDateTime),
        sa.Column("forgiven_at", UtcDateTime),
        sa.Column("fate", sa.String(16)),
        sa.Column("fate_id", sa.String(64)),
        sa.Column("heard_at", UtcDateTime),
        sa.Column("quiet_until", UtcDateTime),
        sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("told", sa.Text),
        sa.Column("verdict", sa.String(32)),
        sa.Column("reason", sa.Text),
        sa.Column("seen_at", UtcDateTime),
        sa.Column("locked_by", sa.String(255)),
        sa.Column("locked_until", UtcDateTime),
        sa.Column("recoveries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("version", sa.Integer, nullable=False, server_default="0"),
    )
    op.create_table(
        "docker_actions",
        sa.Column("id", Serial, primary_key=True),
        sa.Column("engine", sa.String(255), nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("container_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("begun_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime),
        sa.Column("by", sa.String(255), nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("charged", sa.Boolean, nullable=False, server_default=sa.true()),
    )
    op.create_index("idx_docker_actions", "docker_actions", ["engine", "key", "begun_at"])
    op.create_table(
        "docker_unrestartables",
        sa.Column("id", Serial, primary_key=True),
        sa.Column("engine", sa.String(255), nullable=False),
        sa.Column("container_id", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("reference", sa.Text),
        sa.Column("at", UtcDateTime, nullable=False),
    )
    op.create_index("uq_docker_unrestartables", "docker_unrestartables", ["engine", "container_id"], unique=True)
    op.execute("ALTER TABLE passes ADD COLUMN error TEXT")


def downgrade() -> None:
    op.execute("ALTER TABLE passes DROP COLUMN error")
    for table in ("docker_unrestartables", "docker_actions", "docker_services"):
        op.drop_table(table)
