"""The tables of the node's foundation. Tables of custody and of publishing are in modules of their own.

Portable SQL only: addresses are 20 bytes, ids and digests 32, times POSIX seconds. Whoever changes a table adds a
migration (``node.migrations``); a test compares the two on every engine.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

metadata = MetaData()

ADDRESS: TypeEngine[bytes] = LargeBinary(20)
DIGEST: TypeEngine[bytes] = LargeBinary(32)


def address(name: str, **options: Any) -> Column[bytes]:
    """A column of an account, 20 bytes; not null unless told."""
    return Column(name, ADDRESS, **({"nullable": False} | options))


def digest(name: str, **options: Any) -> Column[bytes]:
    """A column of an id or a digest, 32 bytes; not null unless told."""
    return Column(name, DIGEST, **({"nullable": False} | options))


def seconds(name: str) -> Column[int]:
    """A column of a time in POSIX seconds."""
    return Column(name, BigInteger, nullable=False)


def number() -> Column[int]:
    """The primary key of a table whose rows have no other: the database numbers them, in the order of writing."""
    # SQLite numbers rows by itself only where the type is INTEGER, which holds 63 bits there.
    return Column("number", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)


schema_version = Table(
    "schema_version", metadata, Column("version", Integer, primary_key=True, autoincrement=False)
)
"""For programs of before migrations: they refuse a database whose version is not 1. Alembic has a table of its own."""

takeovers = Table("takeovers", metadata, Column("number", BigInteger, primary_key=True, autoincrement=False))
"""One row: how often a process took the database over to run the node. Who finds another number writes no more."""

events = Table(
    "events",
    metadata,
    Column("block_number", BigInteger, primary_key=True, autoincrement=False),
    Column("log_index", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64), nullable=False),
    address("patient", nullable=True),
    digest("record_id", nullable=True),
    digest("consent_id", nullable=True),
    address("member", nullable=True),
    digest("transaction_hash"),
    Column("body", LargeBinary, nullable=False),
    Index("events_by_patient", "patient", "name"),
    Index("events_by_record", "record_id", "name"),
    Index("events_by_consent", "consent_id", "name"),
    Index("events_by_transaction", "transaction_hash"),
)
"""Every final event of the contract; ``body`` is node.event_codec's."""

accesses = Table(
    "accesses",
    metadata,
    address("patient", primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    digest("record_id"),
    address("requester"),
    digest("consent_id"),
    Column("purpose", SmallInteger, nullable=False),
    Column("reason", SmallInteger, nullable=False),
    seconds("time"),
    digest("response_key_digest"),
    digest("person_commitment"),
    Column("block_number", BigInteger, nullable=False),
    digest("block_hash"),
    digest("transaction_hash"),
    Column("log_index", Integer, nullable=False),
    Index("accesses_by_transaction", "transaction_hash"),
    Index("accesses_by_consent", "consent_id"),
)
"""One row a decision; batches are expanded."""

block_times = Table(
    "block_times",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    seconds("time"),
)

follow_state = Table(
    "follow_state",
    metadata,
    Column("part", String(16), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
"""``checkpoint``: how far the events table goes; ``snapshot``: the replayed state at some earlier point."""

outbox = Table(
    "outbox",
    metadata,
    number(),
    digest("transaction_hash", unique=True),
    Column("nonce", BigInteger, nullable=False),
    Column("raw", LargeBinary, nullable=False),
)
"""Signed transactions of this member's account that are not known to be final."""

staff = Table(
    "staff",
    metadata,
    Column("staff_id", String(128), primary_key=True),
    Column("role", String(128), nullable=False),
    digest("token_digest", unique=True),
    Column("active", Boolean, nullable=False),
)

request_nonces = Table(
    "request_nonces",
    metadata,
    Column("key_id", String(80), primary_key=True),
    Column("nonce", String(64), primary_key=True),
    seconds("created"),
    Index("request_nonces_by_created", "created"),
)

pending_registrations = Table(
    "pending_registrations",
    metadata,
    address("patient", primary_key=True),
    digest("code_digest", unique=True),
    Column("message", LargeBinary, nullable=False),
    Column("signature", LargeBinary(65), nullable=False),
    Column("keyring", LargeBinary, nullable=False),
    seconds("expires"),
    seconds("deadline"),
    Column("approved", Boolean, nullable=False),
)
"""Registrations that wait for staff, or (approved) for the ledger; ``message`` is the Registration's JSON form."""

patient_identifiers = Table(
    "patient_identifiers",
    metadata,
    Column("system", String(512), primary_key=True),
    Column("value", String(256), primary_key=True),
    address("patient", primary_key=True),
    Index("patient_identifiers_by_patient", "patient"),
)
"""Medical record numbers of this member's own patients. One counts only once its pseudonym is on the ledger: the row
is written before the transaction. A frozen or ended pseudonym keeps its rows when the person registers anew."""

keyrings = Table(
    "keyrings",
    metadata,
    address("patient", primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    digest("digest", primary_key=True),
    Column("document", LargeBinary, nullable=False),
)

backups = Table(
    "backups",
    metadata,
    digest("locator", primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("size_bytes", BigInteger, nullable=False, server_default="0"),
    Index("backups_by_size", "size_bytes"),
)
"""``size_bytes`` is the length of ``sealed``: the quota is a sum over all rows, and is taken from its index."""

grants = Table(
    "grants",
    metadata,
    number(),
    digest("consent_id"),
    digest("bundle_digest"),
    address("patient"),
    Column("epoch", Integer, nullable=False),
    Column("bundle", LargeBinary, nullable=False),
    Column("introduction", String(200), nullable=False),
    seconds("received"),
    UniqueConstraint("consent_id", "bundle_digest"),
    Index("grants_by_patient", "patient"),
)
"""Grant bundles for this member. They are sealed to its key, and stay so in this table."""

openings = Table(
    "openings",
    metadata,
    digest("commitment", primary_key=True),
    digest("salt"),
    Column("staff_id", String(128), nullable=False),
    Column("role", String(128), nullable=False),
)
"""Who is behind each person commitment that this member put on the ledger."""

opening_log = Table(
    "opening_log",
    metadata,
    number(),
    address("auditor"),
    address("patient"),
    Column("sequence", BigInteger, nullable=False),
    seconds("time"),
)
"""Which auditor opened which access, and when."""
