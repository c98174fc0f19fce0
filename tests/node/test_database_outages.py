"""What a database refuses is told in words, never in a driver's; and a commit of unknown outcome repeats no event."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from chain_fixtures import LedgerWorld
from database_fixtures import TestDatabase
from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError, TimeoutError

from ledger import events
from ledger.follow import Follower
from node import event_codec, tables
from node.database import Database
from node.database_errors import DatabaseFull, DatabaseUnavailable, foreseen
from node.errors import ConfigurationError
from node.follow_store import DatabaseFollowStore
from vocabulary import Role


def of_postgres(state: str) -> DBAPIError:
    """As SQLAlchemy wraps an error of the server with this SQLSTATE."""
    kind = psycopg.errors.lookup(state)
    return OperationalError("SELECT 1", {}, kind("row (MRN-7) of host db.example"))


def of_sqlite(code: int) -> DBAPIError:
    error = sqlite3.OperationalError("words")
    error.sqlite_errorcode, error.sqlite_errorname = code, "SQLITE_X"
    return OperationalError("SELECT 1", {}, error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (of_postgres("53100"), DatabaseFull),
        (of_postgres("53300"), DatabaseUnavailable),
        (of_postgres("55P03"), DatabaseUnavailable),
        (of_postgres("40P01"), DatabaseUnavailable),
        (of_postgres("57P01"), DatabaseUnavailable),
        (of_postgres("57P03"), DatabaseUnavailable),
        (of_postgres("25006"), DatabaseUnavailable),
        (of_postgres("42P01"), type(None)),
        (of_postgres("XX001"), type(None)),
        (
            OperationalError("", {}, psycopg.OperationalError("server closed the connection")),
            DatabaseUnavailable,
        ),
        (of_sqlite(13), DatabaseFull),
        (of_sqlite(5), DatabaseUnavailable),
        (of_sqlite(778), DatabaseUnavailable),
        (of_sqlite(11), type(None)),
        (TimeoutError(), DatabaseUnavailable),
        (IntegrityError("", {}, sqlite3.IntegrityError("x")), type(None)),
        (SQLAlchemyError("x"), type(None)),
    ],
)
def test_error_of_a_driver_is_told_in_words_of_ours(error: SQLAlchemyError, expected: type) -> None:
    known = foreseen(error)
    assert type(known) is expected
    assert "MRN-7" not in str(known)
    assert "db.example" not in str(known)


def test_server_that_is_not_there_is_unavailable_and_says_no_secret(tmp_path: Any) -> None:
    database = Database(f"postgresql+psycopg://node:hunter2@/node?host={tmp_path}")
    with pytest.raises(DatabaseUnavailable) as refused, database.read():
        pytest.fail("nobody answers")
    with pytest.raises(ConfigurationError) as ended:
        database.migrate()
    assert "hunter2" not in str(refused.value) + str(ended.value)


@pytest.mark.parametrize("url", ["mysql+pymysql://x/y", "duckdb:///x"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Database(url)


class AnswerLost(Database):
    """A database whose commits are made, and whose answer to the next of them is lost."""

    lose = False

    @contextmanager
    def append(self) -> Iterator[Connection]:
        with super().append() as connection:
            yield connection
        if self.lose:
            self.lose = False
            raise DatabaseUnavailable("the connection was lost in the very moment of the commit")


def test_commit_whose_answer_was_lost_repeats_and_loses_no_event(
    ledger_world: LedgerWorld, new_database: TestDatabase
) -> None:
    database = AnswerLost(new_database.url)
    follower = Follower(ledger_world.chain, ledger_world.deployment, DatabaseFollowStore(database))
    follower.advance()
    ledger_world.register(ledger_world.enrol(Role.PROVIDER))
    database.lose = True
    with pytest.raises(DatabaseUnavailable):
        follower.advance()
    ledger_world.register(ledger_world.enrol(Role.PROVIDER))
    follower.advance()
    with database.read() as connection:
        order = (tables.events.c.block_number, tables.events.c.log_index)
        rows = connection.execute(select(tables.events.c.body).order_by(*order)).scalars().all()
    assert [event_codec.decode(row) for row in rows] == ledger_world.events()
    assert any(isinstance(event_codec.decode(row), events.PatientRegistered) for row in rows)
    database.close()


def test_lock_that_another_writer_keeps_is_unavailable_in_time(
    new_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    from node import database_postgres, database_sqlite

    monkeypatch.setattr(database_postgres, "_LOCK_TIMEOUT", "200ms")
    monkeypatch.setattr(database_sqlite, "_BUSY_TIMEOUT_MILLISECONDS", 200)
    other = TestDatabase(new_database.url)
    with new_database.begin(), pytest.raises(DatabaseUnavailable), other.begin():
        pytest.fail("two writers at once")
    with other.begin() as connection:
        connection.execute(tables.block_times.insert().values(number=1, time=1))
    other.close()


def test_database_that_is_no_database_is_refused_at_the_start(tmp_path: Any) -> None:
    (tmp_path / "node.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises((ConfigurationError, SQLAlchemyError)):
        Database(f"sqlite:///{tmp_path / 'node.db'}").migrate()
