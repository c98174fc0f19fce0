"""The one interface of all block stores, and the check that lets none of them be trusted."""

from collections.abc import Iterator
from typing import Protocol

from storage.cid import Cid, Codec
from storage.errors import BlockCorruptError, BlockTooLargeError, StorageError

MAX_BLOCK_BYTES = 2 * 1024 * 1024
"""The largest block that any store takes or gives: the limit of Kubo's ``block/put`` and of bitswap."""


class BlockSource(Protocol):
    """Whatever blocks can be asked of: a store, or another member's node."""

    def get(self, cid: Cid) -> bytes:
        """The block of a CID.

        Raises:
            BlockNotFoundError: there is none.
            BlockCorruptError: there is one, and it is not what its name says.
        """
        ...


class BlockStore(BlockSource, Protocol):
    """Blocks of at most ``MAX_BLOCK_BYTES`` by their CID. All methods are idempotent and safe between threads."""

    def put(self, block: bytes, codec: Codec = Codec.RAW) -> Cid:
        """Stores a block durably and returns its CID, computed here from its bytes; the codec is part of the name.

        When this returns, the block survives the loss of the process. When it raises, nothing was kept.

        Raises:
            BlockTooLargeError: the block is beyond ``MAX_BLOCK_BYTES``.
            StoreFullError: no room is left.
        """
        ...

    def has(self, cid: Cid) -> bool:
        """Whether a block lies here under this CID; it is not read (``get`` does, and checks it)."""
        ...

    def delete(self, cid: Cid) -> bool:
        """Removes a block; False when there was none.

        Raises:
            BlockPinnedError: the block is pinned; ``unpin`` it first.
        """
        ...

    def pin(self, cid: Cid) -> None:
        """Protects this one block (not those it links to) from ``delete`` and from any collector of garbage.

        Raises:
            BlockNotFoundError: there is no such block to protect.
        """
        ...

    def unpin(self, cid: Cid) -> None:
        """Ends the protection of ``pin``; nothing happens to a block that has none."""
        ...

    def pins(self) -> Iterator[Cid]:
        """Every pinned CID, in no particular order."""
        ...

    def cids(self) -> Iterator[Cid]:
        """Every CID that this store holds itself, in no particular order."""
        ...


def check_size(block: bytes) -> None:
    """Refuses a block that some store or peer could not carry.

    Raises:
        BlockTooLargeError: it is beyond ``MAX_BLOCK_BYTES``.
    """
    if len(block) > MAX_BLOCK_BYTES:
        raise BlockTooLargeError(
            f"expected a block of at most {MAX_BLOCK_BYTES} bytes; came {len(block)}: "
            f"store larger content with unixfs.add"
        )


def check_block(cid: Cid, block: bytes) -> bytes:
    """The block itself, once its size is in bounds and its bytes hash to its name.

    Raises:
        BlockTooLargeError: it is beyond ``MAX_BLOCK_BYTES``.
        BlockCorruptError: its bytes are those of another CID; the message names both.
    """
    check_size(block)
    found = Cid.of(block, cid.codec)
    if found != cid:
        raise BlockCorruptError(
            f"expected block {cid}; came {len(block)} bytes of {found}: "
            f"the copy is corrupt or was swapped, fetch it from another node"
        )
    return block


class VerifiedBlockStore:
    """Any store, with every CID recomputed on this side of it: what it answers is right or an error.

    Wrap with it every store that is reached over a network or was written by others.
    """

    def __init__(self, store: BlockStore) -> None:
        self._store = store

    def put(self, block: bytes, codec: Codec = Codec.RAW) -> Cid:
        """As ``BlockStore.put``; an answer that is not the CID computed here raises ``BlockCorruptError``."""
        check_size(block)
        expected = Cid.of(block, codec)
        answered = self._store.put(block, codec)
        if answered != expected:
            raise BlockCorruptError(f"expected the store to keep {expected}; it answered {answered}")
        return expected

    def get(self, cid: Cid) -> bytes:
        """As ``BlockSource.get``, checked here."""
        return check_block(cid, self._store.get(cid))

    def has(self, cid: Cid) -> bool:
        """As ``BlockStore.has``: the store's own word."""
        return self._store.has(cid)

    def delete(self, cid: Cid) -> bool:
        """As ``BlockStore.delete``."""
        return self._store.delete(cid)

    def pin(self, cid: Cid) -> None:
        """As ``BlockStore.pin``."""
        self._store.pin(cid)

    def unpin(self, cid: Cid) -> None:
        """As ``BlockStore.unpin``."""
        self._store.unpin(cid)

    def pins(self) -> Iterator[Cid]:
        """As ``BlockStore.pins``."""
        return self._store.pins()

    def cids(self) -> Iterator[Cid]:
        """As ``BlockStore.cids``."""
        return self._store.cids()


def corrupt_blocks(store: BlockStore) -> Iterator[tuple[Cid, StorageError]]:
    """Reads every block of a store and yields those that are not what their name says, with the error.

    A block that another process deletes meanwhile is reported as not found.
    """
    for cid in store.cids():
        try:
            check_block(cid, store.get(cid))
        except StorageError as error:
            yield cid, error
