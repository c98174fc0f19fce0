"""What a database may refuse at any time, in words that a caller can act on: it is away, busy, or full."""

import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError, TimeoutError

from node.errors import NodeError, Unavailable


class DatabaseUnavailable(Unavailable):
    """The node's database does not answer, or not in time; nothing is known to be written."""

    default_code = "database-unavailable"


class DatabaseFull(NodeError):
    """The node's database has no room; what was asked for was not written."""

    default_code, status, title = "database-full", 507, "No room is left"


_SQLITE_FULL = 13
_SQLITE_AWAY = {5, 6, 8, 10, 14}  # busy, locked, read-only, input/output error, cannot open
_POSTGRES_FULL = ("53100",)
_POSTGRES_AWAY = ("08", "40001", "40P01", "53", "55P03", "57", "58", "25006")
"""Prefixes of SQLSTATE: connection, serialisation, deadlock, resources, lock not available, operator intervention,
system error, read-only (a standby). Source: PostgreSQL's manual, appendix A."""


def foreseen(error: SQLAlchemyError) -> NodeError | None:
    """The error that a caller is told; None for one that is the program's own fault, or damage."""
    if isinstance(error, TimeoutError):
        return DatabaseUnavailable(
            "every connection to this node's database is in use: ask again in a moment"
        )
    if not isinstance(error, DBAPIError):
        return None
    original = error.orig
    if isinstance(original, sqlite3.Error):
        code = (getattr(original, "sqlite_errorcode", None) or 0) & 0xFF
        return _full() if code == _SQLITE_FULL else _away(original) if code in _SQLITE_AWAY else None
    state = getattr(original, "sqlstate", None)
    if state is None:
        # Without a word of the server: it could not be reached, or it ended in the middle.
        lost = type(original).__name__ in ("OperationalError", "ConnectionTimeout", "InterfaceError")
        return _away(original) if lost or error.connection_invalidated else None
    if state.startswith(_POSTGRES_FULL):
        return _full()
    return _away(original) if state.startswith(_POSTGRES_AWAY) else None


def _full() -> DatabaseFull:
    return DatabaseFull(
        "this node's database has no room left and took nothing of this: its operator can make room; then send it again"
    )


def _away(original: object) -> DatabaseUnavailable:
    # The kind only: the words of a driver may hold names of hosts, and keys of rows.
    state = getattr(original, "sqlstate", None) or getattr(original, "sqlite_errorname", None)
    kind = type(original).__name__ + (f" {state}" if state else "")
    return DatabaseUnavailable(
        f"this node's database does not answer ({kind}): ask again shortly; its operator can look whether it runs"
    )
