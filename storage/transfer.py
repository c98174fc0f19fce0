"""Copying a whole DAG from a peer, block by block, each one hashed on this side."""

from dataclasses import dataclass

from storage.blocks import BlockSource, BlockStore, VerifiedBlockStore, check_block
from storage.cid import Cid
from storage.errors import BlockCorruptError, BlockNotFoundError
from storage.traversal import walk


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a copy had to fetch; blocks that lay there already, intact, are not counted."""

    fetched_blocks: int
    fetched_bytes: int


def copy_dag(source: BlockSource, destination: BlockStore, root: Cid, limit_bytes: int) -> Transfer:
    """Makes the destination hold a whole DAG, every block of it read and hashed here.

    Only what is missing or corrupt at the destination is fetched, so a copy that broke off goes on where it
    was; children are stored before their parent, the root last. The source is trusted with nothing: it may be
    another member's node behind HTTP, and whoever implements it reads no more than ``MAX_BLOCK_BYTES`` an answer.

    Args:
        limit_bytes: the most content to accept below ``root``.

    Raises:
        BlockNotFoundError: neither side has a block; the message names it.
        BlockCorruptError: the source answered with something else; nothing of it was stored.
        BlockTooLargeError: content beyond ``limit_bytes`` or a block beyond ``MAX_BLOCK_BYTES``.
        DagError: the DAG is no file of the profile unixfs-v1-2025.
        StoreFullError: no room at the destination; what was copied stays, without its root.
    """
    store = VerifiedBlockStore(destination)
    pair = _DestinationFirst(store, source)
    fetched_blocks = fetched_bytes = 0
    for cid, block in walk(pair, root, limit_bytes, leaves=True, repeats=False):
        if cid in pair.fetched:
            store.put(block, cid.codec)
            pair.fetched.discard(cid)
            fetched_blocks += 1
            fetched_bytes += len(block)
    return Transfer(fetched_blocks, fetched_bytes)


class _DestinationFirst:
    """Blocks of the destination, and of the source where it has none; remembers which came from the source."""

    def __init__(self, destination: BlockSource, source: BlockSource) -> None:
        self._destination = destination
        self._source = source
        self.fetched: set[Cid] = set()

    def get(self, cid: Cid) -> bytes:
        try:
            return self._destination.get(cid)
        except (BlockNotFoundError, BlockCorruptError):
            block = check_block(cid, self._source.get(cid))
            self.fetched.add(cid)
            return block
