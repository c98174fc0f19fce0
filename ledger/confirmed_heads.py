"""The final block that enough of several endpoints have, and which of them stay behind it or run ahead alone."""

import threading
import time
from collections.abc import Callable

from ledger.asking import SECOND_LOOK_SECONDS, Asking, answers_of, failures_of
from ledger.blocks import Block
from ledger.endpoint import Endpoint

REVIEW_SECONDS = 10.0
"""How often all endpoints are asked for their heads."""


class ConfirmedHeads:
    """Follows the heads of the endpoints of one chain. Safe between threads."""

    def __init__(self, asking: Asking, *, stale_seconds: float, clock: Callable[[], float]) -> None:
        """Asks nobody yet.

        Args:
            stale_seconds: after how long a head that does not move is doubted.
        """
        self.final: Block | None = None
        """The last final block that enough endpoints had; None before the first."""
        self._asking = asking
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._advancing = threading.Lock()
        self._advanced_at = self._reviewed_at = clock()

    def final_block(self) -> Block:
        """The latest final block that enough endpoints have; it never goes back."""
        now, last = self._clock(), self.final
        stands_still = now - self._advanced_at > self._stale_seconds
        due = self._stale_seconds if stands_still else REVIEW_SECONDS
        if last is not None and now - self._reviewed_at > due:
            self._review(stands_still)
        head = self._asking.any(self.head_of)
        if last is not None and head.number <= last.number:
            return last
        found = self._common_head()
        with self._advancing:
            if self.final is None or found.number > self.final.number:
                self.final, self._advanced_at = found, self._clock()
            return self.final

    def final_number_from(self, number: int) -> int:
        """The final block's number, asked for anew where the last known one is below ``number``."""
        final = self.final
        return (self.final_block() if final is None or final.number < number else final).number

    def head_of(self, endpoint: Endpoint) -> Block:
        """An endpoint's final block, which must follow on what was taken in."""
        head, held = endpoint.chain.final_block(), self._asking.held
        if held is not None and head.number >= held.block_number:
            known = {held.block_number: head.hash, held.block_number + 1: head.parent_hash}.get(head.number)
            if known != held.block_hash:
                endpoint.require(held)
        endpoint.head = head.number
        return head

    def _common_head(self) -> Block:
        """The highest block that enough of the first endpoints have."""
        outcomes = self._asking.gather(self.head_of, wanted=max(self._asking.confirmations, 2))
        heads = answers_of(outcomes)
        if len(heads) < self._asking.confirmations:
            raise self._asking.too_few(len(heads), failures_of(outcomes))
        lowest = min(heads, key=lambda head: head.number)
        if all(head == lowest for head in heads):
            return lowest
        return self._asking.agreed(
            f"block {lowest.number}", lambda endpoint: endpoint.chain.block(lowest.number)
        )

    def _review(self, stands_still: bool) -> None:
        """Asks all for their heads, and leaves those that stay behind the others, or tell of what nobody else has.

        One of two that is ahead alone is believed only where the other one stands still.
        """
        self._reviewed_at = self._clock()
        heads = self._all_heads()
        told = sorted((head.number for head in heads.values()), reverse=True)
        if len(told) < max(self._asking.confirmations, 2):
            return
        reached = told[
            (self._asking.confirmations if stands_still else max(self._asking.confirmations, 2)) - 1
        ]
        if any(head.number < reached for head in heads.values()):
            time.sleep(SECOND_LOOK_SECONDS)
            heads |= self._all_heads()
        for endpoint, head in heads.items():
            others = [other.number for one, other in heads.items() if one is not endpoint]
            if head.number < reached:
                endpoint.rest(
                    f"{endpoint.place} is at block {head.number}, behind block {reached} of the others"
                )
            elif endpoint.head_at_review > max(others):
                endpoint.rest(
                    f"{endpoint.place} told of block {endpoint.head_at_review} some time ago, and the others are at "
                    f"block {max(others)}"
                )
            endpoint.head_at_review = head.number

    def _all_heads(self) -> dict[Endpoint, Block]:
        outcomes = self._asking.gather_all(self.head_of)
        return {endpoint: head for endpoint, head in outcomes if isinstance(head, Block)}
