"""What becomes of a transaction that has no receipt: whether another one was mined at its nonce, or must take it.

By the blocks themselves: an endpoint's index of receipts may lag or stop.
"""

import time

from ledger.blocks import parse_transaction
from ledger.chain import Chain
from ledger.errors import ChainAnswerInvalid, ChainUnreachable, NonceUsed, RpcRefused
from ledger.transactions import SignedTransaction

_PASSING = ("full", "rate limit", "too many", "try again", "timed out")
_FOR_EVER = ("intrinsic gas",)
"""A refusal of these very bytes, whatever the state of the chain."""
BLOCKS_REFUSED = 2
"""How many blocks later a refusal must be the same before a transaction gives way to those behind it."""


def mined_at_nonce(chain: Chain, address: bytes, nonce: int) -> list[bytes]:
    """The hash (32 bytes) of the final transaction of ``address`` (20 bytes) with this nonce.

    It stands in the block in which the account's count passed the nonce, which some 2 log2(blocks since then) requests
    find. Empty where none is final yet, or where the endpoint does not show it; more than one where a block names
    several, of which one counted.

    Raises:
        ChainUnreachable, ChainAnswerInvalid: the endpoint fails.
        RpcRefused: it has no counts of past blocks any more.
    """

    def passed(block_number: int) -> bool:
        return chain.transaction_count(address, hex(block_number)) > nonce

    last, floor, step = chain.final_block().number, chain.engine.first_block, 1
    if not passed(last):
        return []
    before = last - 1
    while before > floor and passed(before):
        last, step = before, 2 * step
        before = max(before - step, floor)
    while before + 1 < last:
        middle = (before + last) // 2
        if passed(middle):
            last = middle
        else:
            before = middle
    mined = chain.confirmed(
        f"the transactions of block {last}",
        lambda one: [parse_transaction(transaction) for transaction in one.block_transactions(last)],
    )
    return [one.hash for one in mined if one.sender == address and one.nonce == nonce]


class Fates:
    """What is known of one account's transactions that do not land. One thread at a time."""

    def __init__(self, chain: Chain, address: bytes, lost_after_seconds: float) -> None:
        """Asks nothing yet.

        Args:
            lost_after_seconds: how long a receipt may take to appear, and a refusal to pass.
        """
        self._chain = chain
        self._address = address
        self._lost_after_seconds = lost_after_seconds
        self._suspected_at: dict[bytes, float] = {}
        self._refused_at: dict[bytes, tuple[float, int]] = {}

    def forget(self, transaction_hash: bytes) -> None:
        """It landed, or is lost."""
        self._suspected_at.pop(transaction_hash, None)
        self._refused_at.pop(transaction_hash, None)

    def is_taken(self, transaction_hash: bytes) -> None:
        """The chain took it: earlier refusals count no more."""
        self._refused_at.pop(transaction_hash, None)

    def is_lost(self, entry: SignedTransaction) -> bool:
        """Of one whose nonce is used: gives its receipt time to appear, then looks whether another one is there."""
        since = self._suspected_at.setdefault(entry.hash, time.monotonic())
        if time.monotonic() - since < self._lost_after_seconds:
            return False
        del self._suspected_at[entry.hash]
        if not self._gave_way(entry):
            return False
        self.forget(entry.hash)
        return True

    def is_beaten(self, signed: SignedTransaction) -> bool:
        """Whether another one has its nonce; what was refused because it landed itself must not be signed anew.

        Looked for so long as the chain takes to show it; a doubt that is left then counts as no.
        """
        until = time.monotonic() + self._lost_after_seconds
        while not self._gave_way(signed):
            try:
                if self._chain.receipt(signed.hash) is not None:
                    return False
            except (ChainUnreachable, ChainAnswerInvalid):
                # The next look may tell more.
                pass
            if time.monotonic() > until:
                return False
            time.sleep(10 * self._chain.engine.poll_seconds)
        return True

    def is_refused_for_good(self, entry: SignedTransaction, error: RpcRefused) -> bool:
        """Whether a transaction may give way to one that does nothing; it can never land once that one has.

        A validator that was just started again refuses for reasons that are gone with its next block: only a refusal
        that outlives some blocks counts, or one of the very bytes.
        """
        if (
            isinstance(error, NonceUsed)
            or _says(error, _PASSING)
            or self._chain.transaction(entry.hash) is not None
        ):
            return False
        if _says(error, _FOR_EVER):
            return True
        head, now = self._chain.final_block().number, time.monotonic()
        since_seconds, since_block = self._refused_at.setdefault(entry.hash, (now, head))
        return now - since_seconds >= self._lost_after_seconds and head >= since_block + BLOCKS_REFUSED

    def _gave_way(self, entry: SignedTransaction) -> bool:
        """Whether another transaction is seen mined at its nonce; not, where the chain does not tell."""
        try:
            mined = mined_at_nonce(self._chain, self._address, entry.nonce)
        except (ChainUnreachable, ChainAnswerInvalid, RpcRefused):
            return False
        return bool(mined) and entry.hash not in mined


def _says(error: RpcRefused, words: tuple[str, ...]) -> bool:
    message = error.message.lower()
    return any(word in message for word in words)
