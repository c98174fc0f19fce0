"""What a custodian holds of what it must, record by record, and what custodians lost for good."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds the two tables of replication; the checks begin anew, with everything."""
    op.create_table(
        "replica_checks",
        sa.Column("record_id", sa.LargeBinary(32), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("checked_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("replica_checks_due", "replica_checks", ["state", "checked_at"])
    op.create_table(
        "replica_losses",
        sa.Column("record_id", sa.LargeBinary(32), primary_key=True),
        sa.Column("custodian", sa.LargeBinary(20), primary_key=True),
        sa.Column("told_at", sa.BigInteger(), nullable=False),
    )
