"""The node's database: any that SQLAlchemy speaks, SQLite in the node's directory unless told otherwise."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from node.errors import ConfigurationError
from node.schema import metadata
from node.tables import SCHEMA_VERSION, schema_version

_BUSY_TIMEOUT_MILLISECONDS = 30_000
_READ_ONLY = "phr_read_only"


class Database:
    """Transactions on one database. Safe between threads; every commit is on disk when it returns."""

    def __init__(self, url: str) -> None:
        """Opens the database of an SQLAlchemy URL; nothing is read yet.

        Raises:
            ConfigurationError: the URL cannot be understood, or its driver is not installed.
        """
        try:
            parsed = make_url(url)
            self._engine = create_engine(
                parsed, hide_parameters=True, pool_size=20, max_overflow=40, pool_pre_ping=True
            )
        except (SQLAlchemyError, ImportError) as error:
            raise ConfigurationError(
                f"expected a database URL such as sqlite:////srv/node.db: {error}"
            ) from error
        if self._engine.dialect.name == "sqlite":
            _make_sqlite_durable(self._engine)
            if parsed.database not in (None, "", ":memory:"):
                _make_private(Path(str(parsed.database)))

    def create_all(self) -> None:
        """Makes the tables that are missing, and refuses a database of another schema version.

        Raises:
            ConfigurationError: the database was written by another version of this program, or cannot be opened.
        """
        try:
            with self._engine.connect() as connection:
                known = inspect(connection).has_table(schema_version.name)
            metadata.create_all(self._engine)
            with self.begin() as connection:
                found = connection.execute(select(schema_version.c.version)).scalar_one_or_none()
                if found is None and not known:
                    connection.execute(schema_version.insert().values(version=SCHEMA_VERSION))
                    found = SCHEMA_VERSION
        except SQLAlchemyError as error:
            raise ConfigurationError(f"the node's database cannot be used: {error}") from error
        if found != SCHEMA_VERSION:
            raise ConfigurationError(
                f"expected a database of schema version {SCHEMA_VERSION}; came {found}: "
                "run the version of this program that wrote it"
            )

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction that may write: committed, and on disk, at the end; rolled back on an error."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: one consistent view, never waiting for writers on SQLite."""
        with self._engine.connect().execution_options(**{_READ_ONLY: True}) as connection:
            yield connection

    def close(self) -> None:
        """Closes every idle connection."""
        self._engine.dispose()


def _make_private(path: Path) -> None:
    """Lets no other account of this machine read who is whose patient; SQLite gives its side files the same mode."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return  # what cannot be opened is told, with the reason, when it is used
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _make_sqlite_durable(engine: Engine) -> None:
    """WAL with an fsync at each commit; transactions begin by our own BEGIN, as SQLAlchemy's manual advises.

    A writer takes the write lock at once (BEGIN IMMEDIATE): a lock taken half-way could fail at once with
    SQLITE_BUSY instead of waiting. Source: SQLite documentation, "BEGIN TRANSACTION" and "PRAGMA synchronous".
    """

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MILLISECONDS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get(_READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
