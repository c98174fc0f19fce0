"""The size of each backup beside it: the quota is a sum over all, and reading every backup for it took the write lock.

From here on a program of before migrations refuses the database, by the version that it looks for.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the column, fills it, and indexes what sums run over."""
    op.add_column("backups", sa.Column("size_bytes", sa.BigInteger(), server_default="0", nullable=False))
    op.execute(sa.text("UPDATE backups SET size_bytes = length(sealed)"))
    op.create_index("backups_by_size", "backups", ["size_bytes"])
    op.execute(sa.text("UPDATE schema_version SET version = 2"))
