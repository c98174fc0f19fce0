"""What a store ought to hold against what it holds, and making up the difference from others."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from storage.blocks import BlockSource, BlockStore, check_block
from storage.cid import Cid, Codec
from storage.errors import BlockNotFoundError, StorageError


@runtime_checkable
class BulkStore(Protocol):
    """A store that is far away, and does for many blocks at once what would take long for each."""

    def missing(self, cids: Collection[Cid]) -> frozenset[Cid]:
        """Those of the blocks that are not held."""
        ...

    def put_many(self, blocks: Sequence[tuple[bytes, Codec]]) -> tuple[Cid, ...]:
        """As ``BlockStore.put`` of each; what came before an error may be held."""
        ...


@dataclass(frozen=True, slots=True)
class Healing:
    """What ``fetch_missing`` did."""

    fetched: frozenset[Cid]
    fetched_bytes: int
    failures: dict[Cid, tuple[StorageError, ...]]
    """What is still missing, with what each source said."""


def missing(store: BlockStore, cids: Collection[Cid]) -> frozenset[Cid]:
    """Those of the blocks that the store does not hold, as ``BlockStore.has`` says; none is read."""
    if isinstance(store, BulkStore):
        return store.missing(cids)
    return frozenset(cid for cid in cids if not store.has(cid))


def put_many(store: BlockStore, blocks: Sequence[tuple[bytes, Codec]]) -> tuple[Cid, ...]:
    """Stores blocks durably and returns their CIDs, in order; what came before an error may be held.

    Raises:
        BlockTooLargeError, StoreFullError: as ``BlockStore.put``.
    """
    if isinstance(store, BulkStore):
        return store.put_many(blocks)
    return tuple(store.put(block, codec) for block, codec in blocks)


def ensure_pinned(store: BlockStore, cids: Iterable[Cid]) -> frozenset[Cid]:
    """Pins those of the blocks that are not pinned yet; returns those that are not there to pin."""
    absent = set()
    for cid in set(cids).difference(store.pins()):
        try:
            store.pin(cid)
        except BlockNotFoundError:
            absent.add(cid)
    return frozenset(absent)


def fetch_missing(store: BlockStore, sources: Sequence[BlockSource], cids: Collection[Cid]) -> Healing:
    """Makes the store hold these blocks, each from the first source that has it; every block is hashed here.

    What a source answers wrongly, or not at all, is written down and the next source asked. Idempotent: what was
    fetched before an error stays.

    Raises:
        StoreFullError, StoreUnavailableError: the store itself takes no more.
    """
    fetched: set[Cid] = set()
    failures: dict[Cid, tuple[StorageError, ...]] = {}
    fetched_bytes = 0
    for cid in sorted(missing(store, cids)):
        errors: list[StorageError] = []
        block = _first(sources, cid, errors)
        if block is None:
            failures[cid] = tuple(errors)
            continue
        store.put(block, cid.codec)
        fetched.add(cid)
        fetched_bytes += len(block)
    return Healing(frozenset(fetched), fetched_bytes, failures)


def _first(sources: Sequence[BlockSource], cid: Cid, errors: list[StorageError]) -> bytes | None:
    for source in sources:
        try:
            return check_block(cid, source.get(cid))
        except StorageError as error:
            errors.append(error)
    return None
