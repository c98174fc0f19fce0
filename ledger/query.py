"""SQL over a replay's Parquet files, by DuckDB in memory: it only reads, knows no files and no network, and is limited.

The files are read by pyarrow and registered as Arrow tables; DuckDB itself never opens any. Why: ADR 0057.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as parquet

from ledger.errors import QueryRefused
from ledger.replay import is_replay
from ledger.tables import TABLE_NAMES

MAX_ROWS = 1_000
MAX_SQL_BYTES = 100_000
MEMORY_LIMIT = "2GB"
TIMEOUT_SECONDS = 60.0
INTERRUPT_AGAIN_SECONDS = 0.1
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    # Else SQL could name this program's own variables as tables.
    "python_enable_replacements": "false",
    # No spilling to disk: what does not fit into memory is refused.
    "temp_directory": "",
    "memory_limit": MEMORY_LIMIT,
}
_LOCKED = ("SET TimeZone = 'UTC'", "SET enable_external_access = false", "SET lock_configuration = true")


@dataclass(frozen=True, slots=True)
class Result:
    """What a query returned.

    Attributes:
        columns: The columns' names.
        rows: The rows, as Python values: moments with UTC, whole numbers as int.
        truncated: Whether there were more rows than asked for.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    truncated: bool


def query(
    directory: Path, sql: str, *, max_rows: int = MAX_ROWS, timeout_seconds: float = TIMEOUT_SECONDS
) -> Result:
    """The result of one SQL query, in DuckDB's dialect, over the tables of a replay (``ledger.tables``).

    Args:
        directory: What ``ledger.replay.replay`` wrote.
        max_rows: So many rows at most; ``Result.truncated`` says whether there were more.

    Raises:
        QueryRefused: the directory is no replay, or the query is not one that reads, is wrong, takes too long or
            too much memory; the message says which.
    """
    if len(sql.encode()) > MAX_SQL_BYTES:
        raise QueryRefused(f"expected a query of at most {MAX_SQL_BYTES} bytes; came {len(sql.encode())}")
    if not is_replay(directory):
        raise QueryRefused(f"{directory} does not hold a replay: make one first")
    with _explained(), duckdb.connect(":memory:", config=_SETTINGS) as connection:
        _require_reading(connection, sql)
        for name in TABLE_NAMES:
            if _mentioned(name, sql):
                connection.register(name, parquet.read_table(directory / f"{name}.parquet"))
        for setting in _LOCKED:
            connection.execute(setting)
        with _limited(connection, timeout_seconds) as interrupted:
            try:
                # The limit goes into the query's plan, so that it ends early.
                return _fetch(connection.sql(sql).limit(max_rows + 1), max_rows)
            except duckdb.InterruptException as error:
                if not interrupted.is_set():
                    raise
                raise QueryRefused(
                    f"the query took longer than {timeout_seconds:g} seconds: ask for less"
                ) from error


@contextmanager
def _limited(connection: duckdb.DuckDBPyConnection, timeout_seconds: float) -> Iterator[threading.Event]:
    """Interrupts what the connection does after a time; yields what is set then.

    Again and again until it has ended: an interrupt that comes just before DuckDB begins to execute is forgotten.
    """
    ended, interrupted = threading.Event(), threading.Event()

    def interrupt() -> None:
        pause_seconds = timeout_seconds
        while not ended.wait(pause_seconds):
            interrupted.set()
            connection.interrupt()
            pause_seconds = INTERRUPT_AGAIN_SECONDS

    watching = threading.Thread(target=interrupt, name="query-limit", daemon=True)
    watching.start()
    try:
        yield interrupted
    finally:
        ended.set()
        watching.join()


def _require_reading(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise QueryRefused(f"expected one query; came {len(statements)} statements")
    if statements[0].type != duckdb.StatementType.SELECT:
        kind = statements[0].type.name
        raise QueryRefused(
            f"expected a query that only reads (SELECT, WITH, FROM, DESCRIBE, SHOW); came {kind}"
        )


def _mentioned(name: str, sql: str) -> bool:
    """Whether a query may want a table: those that it does not mention are not read, unless it mentions none."""
    text = sql.casefold()
    return name in text or not any(one in text for one in TABLE_NAMES)


def _fetch(relation: duckdb.DuckDBPyRelation, max_rows: int) -> Result:
    table = relation.to_arrow_table()
    rows = list(zip(*(_values(column) for column in table.columns), strict=True))
    return Result(tuple(table.column_names), rows[:max_rows], len(rows) > max_rows)


def _values(column: pa.ChunkedArray) -> list[Any]:
    return [
        int(value) if isinstance(value, Decimal) and value.as_tuple().exponent == 0 else value
        for value in column.to_pylist()
    ]


@contextmanager
def _explained() -> Iterator[None]:
    """Errors of the libraries as the one that callers know."""
    try:
        yield
    except duckdb.Error as error:
        raise QueryRefused(f"the query was refused: {error}") from error
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise QueryRefused(f"the query's tables or its result cannot be read: {error}") from error
