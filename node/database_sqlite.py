"""SQLite as a node's database: durable at each commit, one writer at a time, for its owner's eyes only."""

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL

READ_ONLY = "phr_read_only"
"""The execution option of a transaction that only reads."""
_BUSY_TIMEOUT_MILLISECONDS = 30_000


def prepare(engine: Engine, url: URL) -> None:
    """Makes every connection of ``engine`` durable, and the file private.

    WAL with an fsync at each commit; transactions begin by our own BEGIN, as SQLAlchemy's manual advises. A writer
    takes the write lock at once (BEGIN IMMEDIATE): a lock taken half-way could fail at once with SQLITE_BUSY instead
    of waiting. Source: SQLite documentation, "BEGIN TRANSACTION" and "PRAGMA synchronous".
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
        read_only = connection.get_execution_options().get(READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    if url.database not in (None, "", ":memory:"):
        _make_private(Path(str(url.database)))


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
