"""The journal of transactions that were signed and may have gone out, kept until they are final."""

import threading
from typing import Protocol

from ledger.transactions import SignedTransaction


class Outbox(Protocol):
    """Where a sender writes a transaction before it goes out, so that no crash sends it twice or never.

    Whoever implements it makes ``add`` durable before it returns, and allows calls from several threads.
    ``tests/support/outbox_behaviour.py`` is the behaviour that every implementation passes.
    """

    def add(self, nonce: int, transaction_hash: bytes, raw: bytes) -> None:
        """Keeps a transaction; adding the same hash again changes nothing."""

    def pending(self) -> list[SignedTransaction]:
        """Those not done, ordered by nonce and then as they were added."""

    def done(self, transaction_hash: bytes) -> None:
        """Forgets a transaction that is final or can never land; an unknown hash changes nothing."""


class MemoryOutbox:
    """An outbox that a restart empties: for tools that wait for each of their transactions, and for tests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[bytes, SignedTransaction] = {}

    def add(self, nonce: int, transaction_hash: bytes, raw: bytes) -> None:
        """Keeps a transaction; adding the same hash again changes nothing."""
        with self._lock:
            self._entries.setdefault(transaction_hash, SignedTransaction(nonce, transaction_hash, raw))

    def pending(self) -> list[SignedTransaction]:
        """Those not done, ordered by nonce and then as they were added."""
        with self._lock:
            return sorted(self._entries.values(), key=lambda entry: entry.nonce)

    def done(self, transaction_hash: bytes) -> None:
        """Forgets a transaction; an unknown hash changes nothing."""
        with self._lock:
            self._entries.pop(transaction_hash, None)
