"""PostgreSQL as a node's database: what is promised on SQLite, promised here by locks of the database's own.

Advisory locks count within one database. Writers that must not meet take ``WRITERS`` first, as SQLite's BEGIN
IMMEDIATE does; it ends with the transaction, after the commit can be seen. A running node holds ``RUNNING``.
"""

from typing import Any

import structlog
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import URL

from node.errors import ConfigurationError

READING: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""Execution options of a transaction that reads: one view of everything, however many statements it has."""
WRITERS = 0x706872_0001
RUNNING = 0x706872_0002
_log = structlog.get_logger("node.database")
_LOCK_TIMEOUT = "30s"
_CONNECT: dict[str, Any] = {
    "connect_timeout": 10,
    # Who asks for the password in clear, or for none, is not the server: that one proves that it knows the password.
    "require_auth": "scram-sha-256",
    # A server that vanished without a word is noticed after a minute.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "application_name": "phr-node",
}


def engine_options(url: URL) -> dict[str, Any]:
    """How an engine for ``url`` is made; what the URL itself says counts more."""
    return {
        "connect_args": {name: value for name, value in _CONNECT.items() if name not in url.query},
        "isolation_level": "READ COMMITTED",
        "pool_size": 10,
        "max_overflow": 10,
        "pool_timeout": 15,
    }


def prepare(engine: Engine) -> None:
    """Makes every connection of ``engine`` durable at each commit, and bounded in its waiting."""

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.execute(
            "SELECT set_config('lock_timeout', %s, false), set_config('tcp_keepalives_idle', '30', false),"
            " set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'"
            " ELSE current_setting('synchronous_commit') END, false)",
            (_LOCK_TIMEOUT,),
        )
        connection.commit()


def wait_for_writers(connection: Connection) -> None:
    """Holds until this transaction's end what one writer at a time may hold; waits for it.

    Statements after it see all that former holders wrote: at READ COMMITTED each statement has a view of its own,
    and the lock is given up only once a commit can be seen.
    """
    connection.execute(_LOCK, {"key": WRITERS})


def claim(connection: Connection) -> bool:
    """Takes for this connection, as long as it lasts, what only one running node of a database may hold."""
    return bool(connection.execute(_TRY, {"key": RUNNING}).scalar_one())


def require_durable(connection: Connection) -> None:
    """Refuses a server that would lose what it acknowledged, or texts; warns of one that tells or allows too much.

    Raises:
        ConfigurationError: ``fsync`` is off, or the database is not UTF-8.
    """
    settings = {"fsync": "on", "server_encoding": "UTF8"}
    for name, expected in settings.items():
        found = _setting(connection, name)
        if found != expected:
            raise ConfigurationError(
                f"expected a PostgreSQL database with {name} = {expected}; came {found}: without it what this node "
                "acknowledged could be lost"
            )
    if _setting(connection, "is_superuser") == "on":
        _log.warning("the database's role is a superuser of its server: give this node one that is not")
    if _setting(connection, "log_error_verbosity") != "terse":
        _log.warning(
            "the database server logs values of rows: set log_error_verbosity = terse for this database"
        )


def _setting(connection: Connection, name: str) -> str:
    return str(connection.execute(text(f"SHOW {name}")).scalar_one())


_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_TRY = text("SELECT pg_try_advisory_lock(:key)")
