"""Tags: names a container can be found by."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "container_tags",
        sa.Column("container_id", sa.String(255), sa.ForeignKey("containers.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("value", sa.String(255), nullable=False),
    )
    op.create_index("idx_container_tags_key_value", "container_tags", ["key", "value"])


def downgrade() -> None:
    op.drop_table("container_tags")
