"""Fills every table of a node's database with made-up rows, as many as a busy node has after some years."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, SmallInteger, Table, text

from node.database import Database
from node.schema import metadata

ROWS = {"events": 100_000, "accesses": 30_000, "block_references": 30_000}
"""Rows of the largest tables; the others have ``OTHERS``."""
OTHERS = 10_000
FEW = {"schema_version", "follow_state", "outbox", "pending_registrations", "staff"}
"""Tables that are small on every node."""
_SPECIAL: dict[str, Callable[[int], Any]] = {
    "backups.sealed": lambda _: bytes(1500),
    "publications.state": lambda row: "sealed" if row % 1000 == 0 else "published",
    "publications.seconds_by_step": lambda _: "{}",
    "publication_records.on_ledger": lambda row: row % 1000 != 0,
    "publication_records.wraps_held": lambda row: row % 1000 == 0,
    "publication_deposits.acknowledged_at": lambda row: None if row % 1000 == 0 else row,
    "deposits.on_ledger": lambda row: row % 1000 != 0,
    "events.name": lambda row: ("AccessPermitted", "RecordPublished", "ConsentGranted")[row % 3],
    "replica_checks.state": lambda row: "unknown" if row % 1000 == 0 else "full",
}


def identifier(name: str, number: int, size_bytes: int = 32) -> bytes:
    """The made-up id of this number: the same in every table that has such a column."""
    # Spread over the index, as real ones are.
    return (number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8) + name.encode().ljust(32)[: size_bytes - 8]


def fill(database: Database) -> None:
    """Fills every table. PostgreSQL is vacuumed and analysed, as it does by itself in time; SQLite does not."""
    with database.begin() as connection:
        for table in metadata.sorted_tables:
            if table.name in FEW:
                continue
            rows = _rows(table, ROWS.get(table.name, OTHERS))
            while chunk := list(itertools.islice(rows, 5000)):
                connection.execute(table.insert(), chunk)
    engine = database._engine
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


def _rows(table: Table, count: int) -> Iterator[dict[str, Any]]:
    for number in range(1, count + 1):
        yield {column.name: _value(table, column, number) for column in table.columns}


def _value(table: Table, column: Column[Any], number: int) -> Any:
    special = _SPECIAL.get(f"{table.name}.{column.name}")
    if special is not None:
        return special(number)
    kind = column.type
    if isinstance(kind, LargeBinary):
        if column.name in ("patient", "member", "author", "requester", "uploader", "auditor"):
            # Fifty of each, as a patient's records and accesses are.
            return identifier(column.name, number // 50, 20)
        if column.name == "custodian":
            return identifier(column.name, number % 5, 20)
        return identifier(column.name, number, kind.length or 32) if kind.length != 65 else bytes(65)
    if isinstance(kind, Boolean):
        return bool(number % 2)
    if isinstance(kind, SmallInteger):
        return number % 20
    if isinstance(kind, Integer | BigInteger):
        return number
    return f"{column.name}-{number}"[: getattr(kind, "length", None) or 64]
