"""A database's own words become ours, without its secrets."""

from contextlib import ExitStack

import pytest
import sqlalchemy as sa

from lifecycle.errors import SchemaMissing, StoreError, StoreUnreachable
from lifecycle.store import schema
from lifecycle.store.engine import Database


def test_a_process_without_a_free_connection_hears_so(database):
    database.engine.pool._timeout = 0.05
    with pytest.raises(StoreUnreachable, match="no connection free for this process"):
        open_all(database)


def open_all(database):
    with ExitStack() as held:
        for _ in range(50):
            held.enter_context(database.read())


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://127.0.0.1:1/fleet?user=u&password=s3cret",
        "postgresql://u:s3cret@127.0.0.1:1/fleet?sslpassword=s3cret",
    ],
)
def test_no_error_tells_a_password(url):
    with pytest.raises(StoreUnreachable, match="1/fleet cannot be used") as refusal:
        schema.check(Database(url))
    assert "s3cret" not in str(refusal.value)


def test_no_error_over_a_reached_database_tells_a_password(database_url):
    separator = "&" if "?" in database_url else "?"
    option = "timeout=77" if database_url.startswith("sqlite") else "sslpassword=77"
    database = Database(f"{database_url}{separator}{option}")
    with pytest.raises(SchemaMissing) as missing:
        schema.check(database)
    with pytest.raises(StoreError) as refused, database.read() as connection:
        connection.execute(sa.text("SELECT no_such_function()"))
    database.dispose()
    assert not any(option in str(each.value) for each in (missing, refused))


@pytest.mark.postgres
def test_a_server_with_another_default_does_not_change_how_we_isolate(postgres_url):
    database = Database(postgres_url)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(
            f'ALTER DATABASE "{database.url.database}" SET default_transaction_isolation = serializable'
        )
    database.dispose()
    for transaction in (database.begin, database.read):
        with transaction() as connection:
            assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"
    database.dispose()
