"""The database: durable settings, versions, and transactions that are whole or nothing."""

import subprocess
import sys
import threading

import pytest
from database_fixtures import TestDatabase, on_postgres
from sqlalchemy import func, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from node.database import Database
from node.errors import ConfigurationError
from node.schema import metadata
from node.tables import block_times


@pytest.fixture
def database(new_database: TestDatabase) -> TestDatabase:
    return new_database


def count(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(block_times)).scalar_one()


@pytest.mark.skipif(on_postgres(), reason="of SQLite")
def test_connections_of_sqlite_are_durable_and_check_foreign_keys(database: Database) -> None:
    with database.read() as connection:
        found = [
            connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert found == ["wal", 2, 1]


def test_transaction_that_raises_leaves_nothing(database: Database) -> None:
    def fail_halfway() -> None:
        with database.begin() as connection:
            connection.execute(block_times.insert().values(number=1, time=1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert count(database) == 0


def test_reader_sees_one_state_while_a_writer_commits(database: Database) -> None:
    with database.read() as reader:
        before = reader.execute(select(func.count()).select_from(block_times)).scalar_one()
        with database.begin() as writer:
            writer.execute(block_times.insert().values(number=1, time=1))
        assert reader.execute(select(func.count()).select_from(block_times)).scalar_one() == before
    assert count(database) == before + 1


def test_writers_at_once_all_succeed(database: Database) -> None:
    failures: list[Exception] = []

    def write(start: int) -> None:
        try:
            for number in range(start, start + 10):
                with database.begin() as connection:
                    connection.execute(select(func.count()).select_from(block_times)).scalar_one()
                    connection.execute(block_times.insert().values(number=number, time=0))
        except SQLAlchemyError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(start,)) for start in range(0, 80, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (failures, count(database)) == ([], 80)


@pytest.mark.parametrize(
    "url", ["nonsense", "sqlite:////no/such/directory/node.db", "postgresql+nodriver://x/y"]
)
def test_url_that_cannot_be_used_is_refused_in_words(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Database(url).migrate()


def test_every_table_and_index_can_be_made_on_postgresql() -> None:
    for table in metadata.sorted_tables:
        statement = str(CreateTable(table).compile(dialect=postgresql.dialect()))
        assert "BLOB" not in statement
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=postgresql.dialect()))


_WRITER = """
import sys
from node.database import Database
from node.tables import block_times
database = Database(sys.argv[1])
for number in range(int(sys.argv[2]), 10**9):
    with database.begin() as connection:
        connection.execute(block_times.insert().values(number=number, time=0))
    print(number, flush=True)
"""


def test_kill_while_writing_loses_nothing_that_was_acknowledged(database: TestDatabase) -> None:
    acknowledged: set[int] = set()
    # Ranges of their own: what a killed writer had just asked for may still be written after its end.
    for start in (0, 10_000, 20_000):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, database.url, str(start)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        acknowledged |= {int(writer.stdout.readline()) for _ in range(20)}
        writer.kill()
        acknowledged |= {int(number) for number in writer.stdout.read().split()}
        writer.wait()
        with database.read() as connection:
            assert acknowledged <= set(connection.execute(select(block_times.c.number)).scalars())
