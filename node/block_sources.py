"""Asking several for a block: in order, hedged, each answer hashed here."""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial

from node.errors import NodeError
from node.unforeseen import UnforeseenFailures
from storage import BlockNotFoundError, BlockSource, Cid, StorageError, check_block

HEDGE_SECONDS = 1.0
"""How long one source of a block is waited for before the next one is asked as well."""


class FirstGood:
    """A ``BlockSource`` over several; a wrong block is passed over like an absent one.

    They are asked in order, each when the one before failed or took ``HEDGE_SECONDS``; whoever was late goes last
    from then on, so that a slow source costs its second once, not once a block.
    """

    def __init__(self, sources: Sequence[BlockSource], unforeseen: UnforeseenFailures | None = None) -> None:
        """``unforeseen``: where failures are noted that no source should cause."""
        self._sources = list(sources)
        self._unforeseen = unforeseen or UnforeseenFailures()
        self._lock = threading.Lock()

    def get(self, cid: Cid) -> bytes:
        """As ``storage.BlockSource.get``; the error names what each source did."""
        with self._lock:
            waiting = list(self._sources)
        failures: list[str] = []
        under_way: dict[Future[bytes], BlockSource] = {}
        while waiting or under_way:
            if waiting:
                source = waiting.pop(0)
                pool = getattr(source, "pool", None)
                if pool is not None:
                    try:
                        under_way[pool.submit(source.get, cid)] = source
                    except NodeError as error:
                        failures.append(str(error))
                        continue
                elif (block := self._block_or_none(partial(source.get, cid), cid, failures)) is not None:
                    self._put_last(under_way.values())
                    return block
            done, _ = wait(under_way, timeout=HEDGE_SECONDS if waiting else None, return_when=FIRST_COMPLETED)
            for future in done:
                del under_way[future]
                if (block := self._block_or_none(future.result, cid, failures)) is not None:
                    self._put_last(under_way.values())
                    for late in under_way:
                        late.cancel()
                    return block
        raise BlockNotFoundError(f"no one gave block {cid}: {'; '.join(failures) or 'no one to ask'}")

    def _put_last(self, late: Iterable[BlockSource]) -> None:
        with self._lock:
            for source in late:
                self._sources.remove(source)
                self._sources.append(source)

    def _block_or_none(self, call: Callable[[], bytes], cid: Cid, failures: list[str]) -> bytes | None:
        try:
            return check_block(cid, call())
        except (StorageError, NodeError) as error:
            failures.append(str(error))
        except Exception as error:  # noqa: BLE001 - whatever one source brings about, the others are asked
            self._unforeseen.note("blocks", error)
            failures.append(f"a source failed unexpectedly: {type(error).__name__}")
        return None
