"""Who runs the node alone on this database, by a count; and blocks that no deposit needs are held no longer.

Repairs of earlier versions referred to the ciphertext of records without a deposit. The sweep takes such blocks now.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds the table with its row, and ends references that nothing stands behind."""
    op.create_table("takeovers", sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False))
    op.execute(sa.text("INSERT INTO takeovers (number) VALUES (0)"))
    op.execute(
        sa.text(
            "DELETE FROM block_references"
            " WHERE NOT EXISTS (SELECT 1 FROM deposits WHERE deposits.header_digest = block_references.holder)"
            " AND NOT EXISTS (SELECT 1 FROM publication_records"
            " WHERE publication_records.record_id = block_references.holder)"
        )
    )
