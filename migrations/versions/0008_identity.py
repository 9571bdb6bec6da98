"""Identity: the random id of this database, which every message repeats."""

import secrets

import sqlalchemy as sa
from alembic import op

from lifecycle.store.clock import UtcDateTime, now

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    identity = op.create_table(
        "lifecycle_identity",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
    )
    # Written here, once: two processes that met an empty table would each give it an id.
    op.execute(identity.insert().values(id=secrets.token_hex(16), created_at=now()))


def downgrade() -> None:
    op.drop_table("lifecycle_identity")
