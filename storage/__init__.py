"""Content-addressed blocks: one interface, several stores, none of them trusted; and CIDs.

``unixfs`` turns content of any size into blocks and back; ``copy_dag`` brings them over from a peer.
"""

from storage import unixfs
from storage.blocks import (
    MAX_BLOCK_BYTES,
    BlockSource,
    BlockStore,
    VerifiedBlockStore,
    check_block,
    corrupt_blocks,
)
from storage.cid import Cid, Codec
from storage.embedded import EmbeddedBlockStore
from storage.errors import (
    BlockCorruptError,
    BlockNotFoundError,
    BlockPinnedError,
    BlockTooLargeError,
    CidError,
    DagError,
    StorageError,
    StoreAccessError,
    StoreAnswerError,
    StoreFullError,
    StoreUnavailableError,
)
from storage.holding import Healing, ensure_pinned, fetch_missing, missing, put_many
from storage.kubo import KuboBlockStore
from storage.memory import MemoryBlockStore
from storage.transfer import Transfer, copy_dag

__all__ = [
    "MAX_BLOCK_BYTES",
    "BlockCorruptError",
    "BlockNotFoundError",
    "BlockPinnedError",
    "BlockSource",
    "BlockStore",
    "BlockTooLargeError",
    "Cid",
    "CidError",
    "Codec",
    "DagError",
    "EmbeddedBlockStore",
    "Healing",
    "KuboBlockStore",
    "MemoryBlockStore",
    "StorageError",
    "StoreAccessError",
    "StoreAnswerError",
    "StoreFullError",
    "StoreUnavailableError",
    "Transfer",
    "VerifiedBlockStore",
    "check_block",
    "copy_dag",
    "corrupt_blocks",
    "ensure_pinned",
    "fetch_missing",
    "missing",
    "put_many",
    "unixfs",
]
