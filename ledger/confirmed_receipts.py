"""Receipts that enough of several endpoints tell alike; what one alone tells of one transaction stops no other."""

import time
from collections.abc import Callable, Sequence

from ledger.asking import SECOND_LOOK_SECONDS, Asking, answers_of
from ledger.blocks import Block, Receipt
from ledger.endpoint import Endpoint
from ledger.errors import (
    BlockUnknown,
    ChainAnswerInvalid,
    ChainUnreachable,
    EndpointContradictsItself,
    LedgerError,
)

FURTHER_LOOKS = 4
"""How often an endpoint's head is looked at again before a receipt beyond it counts as a lie: it may be busy."""


class ConfirmedReceipts:
    """Looks for receipts at the endpoints of one chain. Safe between threads."""

    def __init__(
        self,
        asking: Asking,
        head_of: Callable[[Endpoint], Block],
        final_number_from: Callable[[int], int],
        *,
        stale_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        """Asks nobody yet.

        Args:
            head_of: asks an endpoint for its final block.
            final_number_from: the number of the final block that enough endpoints have, asked for anew where the
                last known one is below the number that is given.
            stale_seconds: how often all are asked for what the first one says nothing of.
        """
        self._asking = asking
        self._head_of = head_of
        self._final_number_from = final_number_from
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._missed_at = clock()

    def of(self, hashes: Sequence[bytes]) -> list[Receipt | None]:
        """The receipts in the same order; None for each that is not mined, or not confirmed yet.

        Raises:
            ChainUnreachable, ChainAnswerInvalid: none could be confirmed, and of some it is not known whether they
                are mined.
        """
        if not hashes:
            return []
        told = self._asking.any(lambda endpoint: self._told(endpoint, hashes))
        found = [hash_ for hash_, receipt in zip(hashes, told, strict=True) if receipt is not None]
        all_are_asked = len(found) < len(hashes) and self._clock() - self._missed_at > self._stale_seconds
        if all_are_asked:
            # The first may keep receipts to itself: now and then the others are asked what it says nothing of.
            self._missed_at = self._clock()
            found = list(hashes)
        if not found:
            return [None] * len(hashes)
        wanted = len(self._asking.endpoints) if all_are_asked else max(self._asking.confirmations, 2)
        answers = answers_of(self._asking.gather(lambda endpoint: self._told(endpoint, found), wanted=wanted))
        newest = max(
            (receipt.block_number for answer in answers for receipt in answer if receipt), default=-1
        )
        reached = self._final_number_from(newest)
        confirmed: dict[bytes, Receipt | None] = {}
        failures: list[LedgerError] = []
        for place, hash_ in enumerate(found):
            try:
                confirmed[hash_] = self._confirmed(hash_, [answer[place] for answer in answers], reached)
            except (ChainUnreachable, ChainAnswerInvalid) as error:
                failures.append(error)
        if failures and not any(confirmed.values()):
            raise failures[0]
        return [confirmed.get(hash_) for hash_ in hashes]

    def _told(self, endpoint: Endpoint, hashes: Sequence[bytes]) -> list[Receipt | None]:
        """What an endpoint tells, of blocks that it has itself."""
        receipts = endpoint.chain.receipts(hashes)
        newest = max((receipt.block_number for receipt in receipts if receipt is not None), default=-1)
        for _ in range(1 + FURTHER_LOOKS):
            if newest <= endpoint.head or newest <= self._head_of(endpoint).number:
                return receipts
            time.sleep(SECOND_LOOK_SECONDS)
        raise EndpointContradictsItself(
            f"{endpoint.place} shows a receipt of block {newest} and is at block {endpoint.head} itself: it is not "
            "believed; look at it"
        )

    def _confirmed(
        self, transaction_hash: bytes, told: Sequence[Receipt | None], reached: int
    ) -> Receipt | None:
        """What enough of those asked tell, or nothing; where they differ, all are asked, and liars found."""
        receipts = [receipt for receipt in told if receipt is not None]
        if not receipts or max(receipt.block_number for receipt in receipts) > reached:
            return None
        if len(receipts) == len(told) >= self._asking.confirmations and all(
            one == receipts[0] for one in receipts
        ):
            return receipts[0]
        block_number = max(receipt.block_number for receipt in receipts)
        behind: set[Endpoint] = set()

        def ask(endpoint: Endpoint) -> Receipt | None:
            (receipt,) = self._told(endpoint, [transaction_hash])
            if receipt is None and self._head_of(endpoint).number <= block_number:
                behind.add(endpoint)
                raise BlockUnknown(f"{endpoint.place} has not got to block {block_number}")
            return receipt

        try:
            return self._asking.agreed(f"the receipt of 0x{transaction_hash.hex()}", ask)
        except BlockUnknown:
            if len(behind) < self._asking.confirmations:
                raise
            return None
