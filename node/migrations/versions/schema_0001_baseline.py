"""The schema as programs had it before there were migrations: what such a program wrote is at this version.

Never changed any more: what it would make is what lies on disks.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ADDRESS = sa.LargeBinary(20)
DIGEST = sa.LargeBinary(32)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Makes every table, and notes schema version 1 as those programs did."""
    op.create_table(
        "accesses",
        sa.Column("patient", ADDRESS, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("record_id", DIGEST, nullable=False),
        sa.Column("requester", ADDRESS, nullable=False),
        sa.Column("consent_id", DIGEST, nullable=False),
        sa.Column("purpose", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.SmallInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("response_key_digest", DIGEST, nullable=False),
        sa.Column("person_commitment", DIGEST, nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", DIGEST, nullable=False),
        sa.Column("transaction_hash", DIGEST, nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("patient", "sequence"),
    )
    op.create_index("accesses_by_consent", "accesses", ["consent_id"])
    op.create_index("accesses_by_transaction", "accesses", ["transaction_hash"])
    op.create_table(
        "backups",
        sa.Column("locator", DIGEST, nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("locator", "version"),
    )
    op.create_table(
        "block_arrivals",
        sa.Column("cid", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("uploader", ADDRESS, nullable=False),
        sa.Column("arrived_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("cid"),
    )
    op.create_index("block_arrivals_by_uploader", "block_arrivals", ["uploader", "arrived_at"])
    op.create_table(
        "block_references",
        sa.Column("cid", sa.String(length=64), nullable=False),
        sa.Column("holder", DIGEST, nullable=False),
        sa.PrimaryKeyConstraint("cid", "holder"),
    )
    op.create_index("block_references_by_holder", "block_references", ["holder"])
    op.create_table(
        "block_times",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "deposits",
        sa.Column("record_id", DIGEST, nullable=False),
        sa.Column("header_digest", DIGEST, nullable=False),
        sa.Column("patient", ADDRESS, nullable=False),
        sa.Column("author", ADDRESS, nullable=False),
        sa.Column("share_index", sa.Integer(), nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.Column("owner_wrap", sa.LargeBinary(), nullable=False),
        sa.Column("consent_wrap", sa.LargeBinary(), nullable=False),
        sa.Column("custody_wrap", sa.LargeBinary(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("author_signature", sa.LargeBinary(length=65), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("on_ledger", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "header_digest"),
    )
    op.create_index("deposits_by_header", "deposits", ["header_digest"])
    op.create_index("deposits_by_patient", "deposits", ["patient"])
    op.create_index("deposits_not_on_ledger", "deposits", ["on_ledger", "deadline"])
    op.create_table(
        "events",
        sa.Column("block_number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("patient", ADDRESS, nullable=True),
        sa.Column("record_id", DIGEST, nullable=True),
        sa.Column("consent_id", DIGEST, nullable=True),
        sa.Column("member", ADDRESS, nullable=True),
        sa.Column("transaction_hash", DIGEST, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("block_number", "log_index"),
    )
    op.create_index("events_by_consent", "events", ["consent_id", "name"])
    op.create_index("events_by_patient", "events", ["patient", "name"])
    op.create_index("events_by_record", "events", ["record_id", "name"])
    op.create_index("events_by_transaction", "events", ["transaction_hash"])
    op.create_table(
        "follow_state",
        sa.Column("part", sa.String(length=16), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("part"),
    )
    op.create_table(
        "grants",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("consent_id", DIGEST, nullable=False),
        sa.Column("bundle_digest", DIGEST, nullable=False),
        sa.Column("patient", ADDRESS, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("bundle", sa.LargeBinary(), nullable=False),
        sa.Column("introduction", sa.String(length=200), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("consent_id", "bundle_digest"),
    )
    op.create_index("grants_by_patient", "grants", ["patient"])
    op.create_table(
        "keyrings",
        sa.Column("patient", ADDRESS, nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("patient", "epoch", "digest"),
    )
    op.create_table(
        "opening_log",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("auditor", ADDRESS, nullable=False),
        sa.Column("patient", ADDRESS, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "openings",
        sa.Column("commitment", DIGEST, nullable=False),
        sa.Column("salt", DIGEST, nullable=False),
        sa.Column("staff_id", sa.String(length=128), nullable=False),
        sa.Column("role", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("commitment"),
    )
    op.create_table(
        "outbox",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("transaction_hash", DIGEST, nullable=False),
        sa.Column("nonce", sa.BigInteger(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("transaction_hash"),
    )
    op.create_table(
        "own_reads",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("patient", ADDRESS, nullable=False),
        sa.Column("record_id", DIGEST, nullable=False),
        sa.Column("read_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("own_reads_by_patient", "own_reads", ["patient"])
    op.create_table(
        "patient_identifiers",
        sa.Column("system", sa.String(length=512), nullable=False),
        sa.Column("value", sa.String(length=256), nullable=False),
        sa.Column("patient", ADDRESS, nullable=False),
        sa.PrimaryKeyConstraint("system", "value", "patient"),
    )
    op.create_index("patient_identifiers_by_patient", "patient_identifiers", ["patient"])
    op.create_table(
        "pending_registrations",
        sa.Column("patient", ADDRESS, nullable=False),
        sa.Column("code_digest", DIGEST, nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(length=65), nullable=False),
        sa.Column("keyring", sa.LargeBinary(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("patient"),
        sa.UniqueConstraint("code_digest"),
    )
    op.create_table(
        "publication_deposits",
        sa.Column("record_id", DIGEST, nullable=False),
        sa.Column("custodian", ADDRESS, nullable=False),
        sa.Column("share_index", sa.Integer(), nullable=False),
        sa.Column("acknowledged_at", sa.BigInteger(), nullable=True),
        sa.Column("receipt_signature", sa.LargeBinary(length=65), nullable=True),
        sa.PrimaryKeyConstraint("record_id", "custodian"),
    )
    op.create_index("publication_deposits_waiting", "publication_deposits", ["acknowledged_at"])
    op.create_table(
        "publication_items",
        sa.Column("publication_id", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("record_id", DIGEST, nullable=False),
        sa.Column("already_published", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("publication_id", "position"),
    )
    op.create_table(
        "publication_records",
        sa.Column("record_id", DIGEST, nullable=False),
        sa.Column("publication_id", sa.String(length=32), nullable=False),
        sa.Column("patient", ADDRESS, nullable=False),
        sa.Column("nonce", sa.BigInteger(), nullable=False),
        sa.Column("content_tag", DIGEST, nullable=True),
        sa.Column("category", sa.SmallInteger(), nullable=False),
        sa.Column("start_day", sa.Integer(), nullable=False),
        sa.Column("end_day", sa.Integer(), nullable=False),
        sa.Column("resource_count", sa.Integer(), nullable=False),
        sa.Column("payload_commitment", DIGEST, nullable=False),
        sa.Column("ciphertext_cid", sa.String(length=64), nullable=False),
        sa.Column("ciphertext_bytes", sa.BigInteger(), nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.Column("header_digest", DIGEST, nullable=False),
        sa.Column("owner_wrap", sa.LargeBinary(), nullable=False),
        sa.Column("consent_wrap", sa.LargeBinary(), nullable=False),
        sa.Column("custody_wraps", sa.LargeBinary(), nullable=False),
        sa.Column("journal_wrap", sa.LargeBinary(), nullable=True),
        sa.Column("journal_key_digest", DIGEST, nullable=False),
        sa.Column("on_ledger", sa.Boolean(), nullable=False),
        sa.Column("wraps_held", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("record_id"),
        sa.UniqueConstraint("patient", "content_tag"),
    )
    op.create_index("publication_records_by_publication", "publication_records", ["publication_id"])
    op.create_index("publication_records_with_wraps", "publication_records", ["on_ledger", "wraps_held"])
    op.create_table(
        "publications",
        sa.Column("publication_id", sa.String(length=32), nullable=False),
        sa.Column("patient", ADDRESS, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("supersedes", DIGEST, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("seconds_by_step", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("publication_id"),
    )
    op.create_index("publications_by_patient", "publications", ["patient"])
    op.create_index("publications_by_state", "publications", ["state"])
    op.create_table(
        "releases",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("patient", ADDRESS, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("record_id", DIGEST, nullable=False),
        sa.Column("requester", ADDRESS, nullable=False),
        sa.Column("released_at", sa.BigInteger(), nullable=False),
        sa.Column("receipt", sa.LargeBinary(), nullable=False),
        sa.Column("receipt_signature", sa.LargeBinary(length=65), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("releases_by_patient", "releases", ["patient", "sequence"])
    op.create_table(
        "request_nonces",
        sa.Column("key_id", sa.String(length=80), nullable=False),
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "nonce"),
    )
    op.create_index("request_nonces_by_created", "request_nonces", ["created"])
    op.create_table(
        "schema_version",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    op.create_table(
        "staff",
        sa.Column("staff_id", sa.String(length=128), nullable=False),
        sa.Column("role", sa.String(length=128), nullable=False),
        sa.Column("token_digest", DIGEST, nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("staff_id"),
        sa.UniqueConstraint("token_digest"),
    )
    op.execute(sa.text("INSERT INTO schema_version (version) VALUES (1)"))
