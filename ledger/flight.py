"""The transactions in flight: the outbox and its copy in memory, and who waits for which receipt."""

import threading
from functools import cached_property

from ledger.blocks import Receipt
from ledger.outbox import Outbox
from ledger.transactions import SignedTransaction

REMEMBERED = 2_000
"""How many of the last receipts are kept for whoever waits only after its transaction has landed."""


class Flight:
    """What was journalled and is not final yet. Safe to share between threads."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._lock = threading.Lock()
        self._awaited: dict[bytes, Receipt | None] = {}
        self._waiters: dict[bytes, int] = {}
        self._landed: dict[bytes, Receipt] = {}

    @cached_property
    def _entries(self) -> dict[bytes, SignedTransaction]:
        # Read at the first use: when this is made, another process may still own the outbox and write to it.
        return {entry.hash: entry for entry in self._outbox.pending()}

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def __contains__(self, transaction_hash: bytes) -> bool:
        with self._lock:
            return transaction_hash in self._entries

    def ordered(self) -> list[SignedTransaction]:
        """All of them by nonce."""
        with self._lock:
            return sorted(self._entries.values(), key=lambda entry: entry.nonce)

    def add(self, entry: SignedTransaction) -> None:
        """Journals a transaction, before it goes out."""
        self._outbox.add(entry.nonce, entry.hash, entry.raw)
        with self._lock:
            self._entries[entry.hash] = entry

    def remove(self, transaction_hash: bytes, receipt: Receipt | None = None) -> None:
        """Forgets one that is final (with its receipt) or can never land."""
        with self._lock:
            if transaction_hash in self._waiters:
                self._awaited[transaction_hash] = receipt
            if receipt is not None:
                self._landed[transaction_hash] = receipt
                while len(self._landed) > REMEMBERED:
                    del self._landed[next(iter(self._landed))]
        self._outbox.done(transaction_hash)
        with self._lock:
            self._entries.pop(transaction_hash, None)

    def reload(self) -> None:
        """Takes in what the outbox holds and this table does not."""
        for entry in self._outbox.pending():
            with self._lock:
                self._entries.setdefault(entry.hash, entry)

    def await_receipt(self, transaction_hash: bytes) -> None:
        """Keeps the receipt of this transaction when it comes, until :meth:`leave`."""
        with self._lock:
            self._waiters[transaction_hash] = self._waiters.get(transaction_hash, 0) + 1

    def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """The receipt that came for an awaited transaction, or lately for one that nobody awaited yet."""
        with self._lock:
            return self._awaited.get(transaction_hash) or self._landed.get(transaction_hash)

    def leave(self, transaction_hash: bytes) -> None:
        """One waiter less."""
        with self._lock:
            left = self._waiters[transaction_hash] - 1
            if left:
                self._waiters[transaction_hash] = left
            else:
                del self._waiters[transaction_hash]
                self._awaited.pop(transaction_hash, None)
