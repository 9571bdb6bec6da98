"""Parents: who spawned a container. The newest of the core chain, so that it alone can be rolled back.

SQL of each database in its own words: SQLite adds and drops such a column in place, where Alembic would rebuild the
table and lose its triggers.
"""

from alembic import op

revision = "0012"
down_revision = "0011"

COLUMN = {
    "postgresql": [
        "ALTER TABLE containers ADD COLUMN parent_container_id VARCHAR(255)",
        """
        COMMENT ON COLUMN containers.parent_container_id
        IS 'ID of the container that spawned this one. NULL for roots.'
        """,
        """
        ALTER TABLE containers ADD CONSTRAINT fk_containers_parent
        FOREIGN KEY (parent_container_id) REFERENCES containers (id) ON DELETE RESTRICT
        """,
        """
        ALTER TABLE containers ADD CONSTRAINT chk_no_self_parent
        CHECK (id != parent_container_id OR parent_container_id IS NULL)
        """,
    ],
    "sqlite": [
        """
        ALTER TABLE containers ADD COLUMN parent_container_id VARCHAR(255)
        CONSTRAINT fk_containers_parent REFERENCES containers (id) ON DELETE RESTRICT
        CONSTRAINT chk_no_self_parent CHECK (id != parent_container_id OR parent_container_id IS NULL)
        """,
    ],
}

INDEXES = [
    """
    CREATE INDEX idx_containers_parent_player ON containers (parent_container_id, player_id)
    WHERE parent_container_id IS NOT NULL
    """,
    """
    CREATE INDEX idx_containers_live_children ON containers (parent_container_id)
    WHERE status IN ('INTERRUPTED', 'PENDING', 'RUNNING', 'STOPPING')
    """,
]

TRIGGER = {
    "postgresql": [
        """
        CREATE FUNCTION refuse_parent_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'invalid parent reference: a parent never changes' USING ERRCODE = 'check_violation';
        END $$
        """,
        """
        CREATE TRIGGER trg_containers_parent BEFORE UPDATE OF parent_container_id ON containers FOR EACH ROW
        WHEN (OLD.parent_container_id IS DISTINCT FROM NEW.parent_container_id)
        EXECUTE FUNCTION refuse_parent_change()
        """,
    ],
    "sqlite": [
        """
        CREATE TRIGGER trg_containers_parent BEFORE UPDATE OF parent_container_id ON containers FOR EACH ROW
        WHEN OLD.parent_container_id IS NOT NEW.parent_container_id
        BEGIN SELECT RAISE(ABORT, 'invalid parent reference: a parent never changes'); END
        """,
    ],
}

REMOVE = {
    "postgresql": [
        "DROP TRIGGER trg_containers_parent ON containers",
        "DROP FUNCTION refuse_parent_change()",
        "DROP INDEX idx_containers_live_children",
        "DROP INDEX idx_containers_parent_player",
        "ALTER TABLE containers DROP CONSTRAINT chk_no_self_parent",
        "ALTER TABLE containers DROP CONSTRAINT fk_containers_parent",
        "ALTER TABLE containers DROP COLUMN parent_container_id",
    ],
    "sqlite": [
        "DROP TRIGGER trg_containers_parent",
        "DROP INDEX idx_containers_live_children",
        "DROP INDEX idx_containers_parent_player",
        "ALTER TABLE containers DROP COLUMN parent_container_id",  # foreign key and CHECK are part of it
    ],
}


def upgrade() -> None:
    dialect = op.get_context().dialect.name
    for statement in [*COLUMN[dialect], *INDEXES, *TRIGGER[dialect]]:
        op.execute(statement)


def downgrade() -> None:
    for statement in REMOVE[op.get_context().dialect.name]:
        op.execute(statement)
