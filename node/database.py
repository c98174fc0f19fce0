"""The node's database: SQLite in the node's directory unless told otherwise, or PostgreSQL."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from sqlalchemy import Connection, create_engine, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from node import database_postgres as postgres
from node import database_sqlite as sqlite
from node.database_errors import DatabaseFull, DatabaseUnavailable, foreseen
from node.errors import ConfigurationError, NodeError
from node.tables import takeovers

PATIENCE_SECONDS = 3.0
"""For how long after the database went away a caller waits for it to come back, as in a restart."""
CLAIM_SECONDS = 10.0
"""For how long a start waits for an earlier process of the node to be gone."""
FULL_SECONDS = 30.0
"""For how long a write that found no room makes the node not ready."""
_LOOK_AGAIN_SECONDS = 0.1


class TakenOver(DatabaseUnavailable):
    """Another process runs the node on this database now; this one can do nothing but end."""


class Database:
    """Transactions on one database. Safe between threads; every commit is on disk when it returns.

    Every transaction may raise, beside what its statements do, DatabaseUnavailable (the database is away or busy) and
    DatabaseFull: nothing of it was written then, unless the connection was lost in the very moment of the commit.
    """

    def __init__(self, url: str) -> None:
        """Opens the database of an SQLAlchemy URL; nothing is read yet.

        Raises:
            ConfigurationError: the URL cannot be understood, its driver is not installed, or it is neither SQLite's
                nor PostgreSQL's.
        """
        try:
            parsed = make_url(url)
            self._on_postgres = parsed.get_backend_name() == "postgresql"
            options = (
                postgres.engine_options(parsed)
                if self._on_postgres
                else {"pool_size": 20, "max_overflow": 40}
            )
            self._engine = create_engine(parsed, hide_parameters=True, pool_pre_ping=True, **options)
        except (SQLAlchemyError, ImportError) as error:
            raise ConfigurationError(
                "expected a database URL such as sqlite:////srv/node.db or "
                f"postgresql+psycopg://node@/node?host=/run/postgresql: {error}"
            ) from error
        if self._on_postgres:
            postgres.prepare(self._engine)
            self._reading = self._engine.execution_options(**postgres.READING)
        elif parsed.get_backend_name() == "sqlite":
            sqlite.prepare(self._engine, parsed)
            self._reading = self._engine.execution_options(**{sqlite.READ_ONLY: True})
        else:
            raise ConfigurationError(f"expected SQLite or PostgreSQL; came {parsed.get_backend_name()}")
        self._away_since: float | None = None
        self._full_at = float("-inf")
        self._claim: Connection | None = None
        self._takeover: int | None = None
        """The count of takeovers when this process took over; None when it did not."""
        self._claiming = threading.Lock()

    def migrate(self) -> None:
        """Makes the schema, or brings an older one to this program's version; several processes may try at once.

        Raises:
            ConfigurationError: a newer program wrote the database, it cannot be opened, or it would not keep what it
                acknowledged.
        """
        with _in_words_of_settings():
            self._migrate()

    def take_over(self) -> None:
        """Makes this process the only one that runs the node on the database, and then the schema its program's.

        From then on ``begin`` refuses once another process has taken over, which can only be after this one's session
        ended, in a restart of the server say.

        Raises:
            ConfigurationError: as ``migrate``, or another process runs a node on this database; nothing was changed.
        """
        with _in_words_of_settings():
            self.claim()
            self._takeover = self._migrate(taking_over=True)

    def _migrate(self, *, taking_over: bool = False) -> int:
        with self.begin() as connection:
            if self._on_postgres:
                postgres.require_durable(connection)
            _migrations().upgrade(connection)
            if taking_over:
                connection.execute(update(takeovers).values(number=takeovers.c.number + 1))
            return int(connection.execute(select(takeovers.c.number)).scalar_one())

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction that may read and then write on what it read: no other writer is between.

        Committed, and on disk, at the end; rolled back on an error.
        """
        with self._translated(), self._connected(writing=True) as connection, connection.begin():
            if self._on_postgres:
                postgres.wait_for_writers(connection)
                self._require_not_taken_over(connection)
            yield connection

    @contextmanager
    def append(self) -> Iterator[Connection]:
        """A transaction each of whose statements is right by itself: inserts that a unique key guards, updates and
        deletes of one statement. As ``begin``, but such writers do not wait for each other on PostgreSQL."""
        with self._translated(), self._connected(writing=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: one consistent view, never waiting for writers."""
        with self._translated(), self._connected(writing=False) as connection:
            yield connection

    def claim(self) -> None:
        """Makes this process the only running node on the database, until it ends or ``close``; again asks whether
        it still is, and takes an ended claim anew. SQLite's file lies in the node's directory, which has a lock.

        Raises:
            ConfigurationError: another process runs a node on this database.
            DatabaseUnavailable: the database does not answer.
        """
        if not self._on_postgres:
            return
        with self._claiming, self._translated():
            if self._claim is not None and self._still_claimed(self._claim):
                return
            give_up_at = time.monotonic() + CLAIM_SECONDS
            while True:
                connection = self._connect(writing=True).execution_options(isolation_level="AUTOCOMMIT")
                if postgres.claim(connection):
                    # Detached: the pool must neither lend nor close it.
                    connection.detach()
                    self._claim = connection
                    break
                connection.close()
                if time.monotonic() > give_up_at:
                    raise ConfigurationError(
                        "another process runs a node on this database: stop that one first, or give each node a "
                        "database of its own"
                    )
                time.sleep(_LOOK_AGAIN_SECONDS)
        with self.append() as connection:
            self._require_not_taken_over(connection)

    def _require_not_taken_over(self, connection: Connection) -> None:
        if self._takeover is None:
            return
        if connection.execute(select(takeovers.c.number)).scalar_one() != self._takeover:
            raise TakenOver(
                "another process took this node's database over, and runs the node: this one writes nothing more"
            )

    def problem(self) -> str | None:
        """What the node's operator should know, in words; None when nothing is wrong. A full database may still take
        some writes, so one that refused is told of for a while."""
        seconds = time.monotonic() - self._full_at
        if seconds > FULL_SECONDS:
            return None
        return f"the database has no room left: it refused a write {seconds:.0f} s ago; make room"

    def close(self) -> None:
        """Closes every idle connection, and gives up the claim."""
        with self._claiming:
            if self._claim is not None:
                self._claim.close()
                self._claim = None
        self._engine.dispose()

    def _still_claimed(self, connection: Connection) -> bool:
        try:
            connection.exec_driver_sql("SELECT 1")
        except SQLAlchemyError:
            # The session ended, and its lock with it.
            connection.close()
            self._claim = None
            return False
        return True

    @contextmanager
    def _connected(self, *, writing: bool) -> Iterator[Connection]:
        with self._connect(writing=writing) as connection:
            yield connection

    def _connect(self, *, writing: bool) -> Connection:
        """A connection; one that does not come is waited for while the database has been away for a moment only.

        Nothing was said yet, so that trying again is always safe.
        """
        while True:
            try:
                connection = (self._engine if writing else self._reading).connect()
            except SQLAlchemyError as error:
                now = time.monotonic()
                self._away_since = self._away_since or now
                if (
                    not isinstance(foreseen(error), DatabaseUnavailable)
                    or not self._on_postgres
                    or now - self._away_since > PATIENCE_SECONDS
                ):
                    raise
                time.sleep(_LOOK_AGAIN_SECONDS)
            else:
                self._away_since = None
                return connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            known = foreseen(error)
            if known is None:
                raise
            if isinstance(known, DatabaseFull):
                self._full_at = time.monotonic()
            raise known from error


@contextmanager
def _in_words_of_settings() -> Iterator[None]:
    try:
        yield
    except ConfigurationError:
        raise
    except (SQLAlchemyError, NodeError) as error:
        raise ConfigurationError(f"the node's database cannot be used: {error}") from error


def _migrations() -> ModuleType:
    # Alembic is loaded where it is needed: most commands never open a database.
    from node import migrations

    return migrations
