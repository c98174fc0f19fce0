"""Tables of what this node keeps as a custodian: ids and digests 32 bytes, addresses 20, times POSIX seconds."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table

from node.tables import address, digest, metadata, number, seconds

CID_CHARACTERS = 64

block_arrivals = Table(
    "block_arrivals",
    metadata,
    Column("cid", String(CID_CHARACTERS), primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    address("uploader"),
    seconds("arrived_at"),
    Index("block_arrivals_by_uploader", "uploader", "arrived_at"),
)
"""Every block that was put here, and when last: one that nothing refers to is swept some time after."""

block_references = Table(
    "block_references",
    metadata,
    Column("cid", String(CID_CHARACTERS), primary_key=True),
    digest("holder", primary_key=True),
    Index("block_references_by_holder", "holder"),
)
"""Who needs a block: a deposit (``holder`` is its header digest) or an own publication (the record id)."""

deposits = Table(
    "deposits",
    metadata,
    digest("record_id", primary_key=True),
    digest("header_digest", primary_key=True),
    address("patient"),
    address("author"),
    Column("share_index", Integer, nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("owner_wrap", LargeBinary, nullable=False),
    Column("consent_wrap", LargeBinary, nullable=False),
    Column("custody_wrap", LargeBinary, nullable=False),
    seconds("deadline"),
    Column("author_signature", LargeBinary(65), nullable=False),
    seconds("received_at"),
    Column("on_ledger", Boolean, nullable=False),
    Index("deposits_by_patient", "patient"),
    Index("deposits_by_header", "header_digest"),
    Index("deposits_not_on_ledger", "on_ledger", "deadline"),
)
"""All that this custodian holds of a record; never overwritten. ``on_ledger``: seen final, hence never purged."""

releases = Table(
    "releases",
    metadata,
    number(),
    address("patient"),
    Column("sequence", BigInteger, nullable=False),
    digest("record_id"),
    address("requester"),
    seconds("released_at"),
    Column("receipt", LargeBinary, nullable=False),
    Column("receipt_signature", LargeBinary(65), nullable=False),
    Index("releases_by_patient", "patient", "sequence"),
)
"""The receipt of each release, written before the release left."""

own_reads = Table(
    "own_reads",
    metadata,
    number(),
    address("patient"),
    digest("record_id"),
    seconds("read_at"),
    Index("own_reads_by_patient", "patient"),
)
"""A patient took the means to open an own record from here; written before they left."""
