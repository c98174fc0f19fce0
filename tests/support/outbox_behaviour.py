"""What every outbox does: a test class inherits from ``OutboxBehaviour`` and gives the fixture ``outbox``."""

import threading

from ledger.outbox import Outbox
from ledger.transactions import SignedTransaction


def entry(nonce: int, mark: int = 0) -> SignedTransaction:
    """A made-up transaction; ``mark`` tells apart those of one nonce."""
    raw = b"\xf8" + nonce.to_bytes(8, "big") + bytes([mark])
    return SignedTransaction(nonce, bytes([mark]) * 24 + nonce.to_bytes(8, "big"), raw)


def add(outbox: Outbox, one: SignedTransaction) -> None:
    outbox.add(one.nonce, one.hash, one.raw)


class OutboxBehaviour:
    """The behaviour; every implementation passes the same tests."""

    def test_pending_of_a_new_outbox_is_empty(self, outbox: Outbox) -> None:
        assert outbox.pending() == []

    def test_pending_after_adding_out_of_order_is_ordered_by_nonce(self, outbox: Outbox) -> None:
        for nonce in (7, 0, 300, 2):
            add(outbox, entry(nonce))
        assert outbox.pending() == [entry(nonce) for nonce in (0, 2, 7, 300)]

    def test_add_of_the_same_hash_again_changes_nothing(self, outbox: Outbox) -> None:
        add(outbox, entry(1))
        add(outbox, entry(1))
        assert outbox.pending() == [entry(1)]

    def test_add_of_another_transaction_at_the_same_nonce_keeps_both(self, outbox: Outbox) -> None:
        add(outbox, entry(1, 1))
        add(outbox, entry(1, 2))
        assert outbox.pending() == [entry(1, 1), entry(1, 2)]

    def test_done_forgets_that_one_only(self, outbox: Outbox) -> None:
        for nonce in range(3):
            add(outbox, entry(nonce))
        outbox.done(entry(1).hash)
        assert outbox.pending() == [entry(0), entry(2)]

    def test_done_of_an_unknown_hash_changes_nothing(self, outbox: Outbox) -> None:
        add(outbox, entry(0))
        outbox.done(entry(9).hash)
        outbox.done(entry(9).hash)
        assert outbox.pending() == [entry(0)]

    def test_nonces_and_bytes_of_any_size_are_kept_exactly(self, outbox: Outbox) -> None:
        large = SignedTransaction(2**40, b"\x05" * 32, bytes(range(256)) * 512)
        add(outbox, large)
        assert outbox.pending() == [large]

    def test_calls_from_several_threads_lose_nothing(self, outbox: Outbox) -> None:
        def work(start: int) -> None:
            for nonce in range(start, start + 20):
                add(outbox, entry(nonce))
                if nonce % 2:
                    outbox.done(entry(nonce).hash)

        threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = [entry(100 * n + nonce) for n in range(4) for nonce in range(0, 20, 2)]
        assert outbox.pending() == expected
