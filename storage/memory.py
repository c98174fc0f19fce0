"""Blocks in memory: for a run that keeps nothing, and for what is computed on the way."""

import threading
from collections.abc import Iterator

from storage.blocks import check_block, check_size
from storage.cid import Cid, Codec
from storage.errors import BlockNotFoundError, BlockPinnedError


class MemoryBlockStore:
    """A ``BlockStore`` in memory; it is gone with the process."""

    def __init__(self) -> None:
        self._blocks: dict[Cid, bytes] = {}
        self._pins: set[Cid] = set()
        self._lock = threading.Lock()

    def put(self, block: bytes, codec: Codec = Codec.RAW) -> Cid:
        """As ``BlockStore.put``, as durable as memory is."""
        check_size(block)
        cid = Cid.of(block, codec)
        with self._lock:
            self._blocks[cid] = bytes(block)
        return cid

    def get(self, cid: Cid) -> bytes:
        """As ``BlockSource.get``."""
        with self._lock:
            block = self._blocks.get(cid)
        if block is None:
            raise BlockNotFoundError(f"no block {cid} in memory: fetch it from another node")
        return check_block(cid, block)

    def has(self, cid: Cid) -> bool:
        """As ``BlockStore.has``."""
        with self._lock:
            return cid in self._blocks

    def delete(self, cid: Cid) -> bool:
        """As ``BlockStore.delete``."""
        with self._lock:
            if cid in self._pins:
                raise BlockPinnedError(f"block {cid} is pinned: unpin it before deleting it")
            return self._blocks.pop(cid, None) is not None

    def pin(self, cid: Cid) -> None:
        """As ``BlockStore.pin``."""
        with self._lock:
            if cid not in self._blocks:
                raise BlockNotFoundError(f"no block {cid} in memory to pin: put it first")
            self._pins.add(cid)

    def unpin(self, cid: Cid) -> None:
        """As ``BlockStore.unpin``."""
        with self._lock:
            self._pins.discard(cid)

    def pins(self) -> Iterator[Cid]:
        """As ``BlockStore.pins``."""
        with self._lock:
            return iter(tuple(self._pins))

    def cids(self) -> Iterator[Cid]:
        """As ``BlockStore.cids``."""
        with self._lock:
            return iter(tuple(self._blocks))
