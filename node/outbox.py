"""The outbox of this member's transactions, in the node's database (``ledger.outbox.Outbox``)."""

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from ledger.transactions import SignedTransaction
from node.database import Database
from node.tables import outbox


class DatabaseOutbox:
    """Signed transactions until they are final; durable when ``add`` returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, nonce: int, transaction_hash: bytes, raw: bytes) -> None:
        """Keeps a transaction; adding the same hash again changes nothing."""
        row = {"nonce": nonce, "transaction_hash": transaction_hash, "raw": raw}
        try:
            # ``begin``, though one statement: whoever lost the database must sign nothing more.
            with self._database.begin() as connection:
                connection.execute(outbox.insert().values(**row))
        except IntegrityError:
            if transaction_hash not in {entry.hash for entry in self.pending()}:
                raise

    def pending(self) -> list[SignedTransaction]:
        """Those not done, ordered by nonce and then as they were added."""
        with self._database.read() as connection:
            rows = connection.execute(select(outbox).order_by(outbox.c.nonce, outbox.c.number))
            return [SignedTransaction(row.nonce, row.transaction_hash, row.raw) for row in rows]

    def done(self, transaction_hash: bytes) -> None:
        """Forgets a transaction that is final or can never land; an unknown hash changes nothing."""
        with self._database.append() as connection:
            connection.execute(delete(outbox).where(outbox.c.transaction_hash == transaction_hash))
