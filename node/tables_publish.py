"""Tables of the publish journal. No plaintext and no opened key is ever in them. Times are POSIX seconds."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from node.tables import address, digest, metadata, seconds
from node.tables_custody import CID_CHARACTERS

publications = Table(
    "publications",
    metadata,
    Column("publication_id", String(32), primary_key=True),
    address("patient"),
    Column("state", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    digest("supersedes", nullable=True),
    seconds("created_at"),
    seconds("deadline"),
    Column("seconds_by_step", Text, nullable=False),
    Index("publications_by_state", "state"),
    Index("publications_by_patient", "patient"),
)
"""One row a bundle; ``deadline`` is chain time, after which the ledger takes nothing of it."""

publication_records = Table(
    "publication_records",
    metadata,
    digest("record_id", primary_key=True),
    Column("publication_id", String(32), nullable=False),
    address("patient"),
    Column("nonce", BigInteger, nullable=False),
    digest("content_tag", nullable=True),
    Column("category", SmallInteger, nullable=False),
    Column("start_day", Integer, nullable=False),
    Column("end_day", Integer, nullable=False),
    Column("resource_count", Integer, nullable=False),
    digest("payload_commitment"),
    Column("ciphertext_cid", String(CID_CHARACTERS), nullable=False),
    Column("ciphertext_bytes", BigInteger, nullable=False),
    Column("header", LargeBinary, nullable=False),
    digest("header_digest"),
    Column("owner_wrap", LargeBinary, nullable=False),
    Column("consent_wrap", LargeBinary, nullable=False),
    Column("custody_wraps", LargeBinary, nullable=False),
    Column("journal_wrap", LargeBinary, nullable=True),
    digest("journal_key_digest"),
    Column("on_ledger", Boolean, nullable=False),
    Column("wraps_held", Boolean, nullable=False),
    Index("publication_records_by_publication", "publication_id"),
    Index("publication_records_with_wraps", "on_ledger", "wraps_held"),
    UniqueConstraint("patient", "content_tag"),
)
"""One row a sealed record. ``content_tag`` is a keyed digest that finds the same content again; an abandoned record
gives it up. The wraps go when every custodian has its own, ``journal_wrap`` when the record is final."""

publication_items = Table(
    "publication_items",
    metadata,
    Column("publication_id", String(32), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    digest("record_id"),
    Column("already_published", Boolean, nullable=False),
)
"""What a bundle became: records of this publication, or of an earlier one with the same content."""

publication_deposits = Table(
    "publication_deposits",
    metadata,
    digest("record_id", primary_key=True),
    address("custodian", primary_key=True),
    Column("share_index", Integer, nullable=False),
    Column("acknowledged_at", BigInteger, nullable=True),
    Column("receipt_signature", LargeBinary(65), nullable=True),
    Index("publication_deposits_waiting", "acknowledged_at"),
)
"""Which custodian must hold which share, and its signed receipt."""
