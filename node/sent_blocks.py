"""What this node sent to custodians lately: an attempt that broke off goes on where it was, and sends nothing twice."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from storage import Cid

REMEMBERED_SECONDS = 3600.0
"""A custodian keeps a block that nothing needs for several hours (``node.blocks``); this is well within."""


class SentBlocks:
    """Blocks that a custodian acknowledged, until a deposit needs them or it says that some are gone; in memory."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._sent_at: dict[bytes, dict[Cid, float]] = {}

    def lacking(self, custodian: bytes, cids: Sequence[Cid]) -> list[Cid]:
        """Those that are to be sent to it, in the same order."""
        oldest = self._monotonic() - REMEMBERED_SECONDS
        with self._lock:
            sent_at = self._sent_at.get(custodian, {})
            for cid in [cid for cid, at in sent_at.items() if at < oldest]:
                del sent_at[cid]
            return [cid for cid in cids if cid not in sent_at]

    def note(self, custodian: bytes, cid: Cid) -> None:
        """It acknowledged a block."""
        with self._lock:
            self._sent_at.setdefault(custodian, {})[cid] = self._monotonic()

    def forget(self, custodian: bytes, cids: Iterable[Cid]) -> None:
        """They are deposited, or no longer there."""
        with self._lock:
            sent_at = self._sent_at.get(custodian, {})
            for cid in cids:
                sent_at.pop(cid, None)
            if not sent_at:
                self._sent_at.pop(custodian, None)
