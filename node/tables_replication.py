"""Tables of replication: ids 32 bytes, addresses 20, times POSIX seconds."""

from sqlalchemy import Column, Index, String, Table

from node.tables import address, digest, metadata, seconds

replica_checks = Table(
    "replica_checks",
    metadata,
    digest("record_id", primary_key=True),
    Column("state", String(16), nullable=False),
    seconds("checked_at"),
    Index("replica_checks_due", "state", "checked_at"),
)
"""Every record on the ledger: what this node holds of what it must, when it last looked (0: not yet)."""

replica_losses = Table(
    "replica_losses",
    metadata,
    digest("record_id", primary_key=True),
    address("custodian", primary_key=True),
    seconds("told_at"),
)
"""Custodians that told this author that they lost their share of a record, when nobody could give it back."""
