"""What can go wrong in a block store. Everything raised by ``storage`` is a ``StorageError``."""


class StorageError(Exception):
    """Root of this package's errors."""


class CidError(StorageError, ValueError):
    """Text or bytes that are no CID this project accepts: CIDv1, sha2-256, raw or dag-pb, base32 lower case."""


class BlockNotFoundError(StorageError):
    """The store holds no block under this CID."""


class BlockCorruptError(StorageError):
    """What the store holds or answered under a CID hashes to something else."""


class BlockTooLargeError(StorageError):
    """A block beyond ``MAX_BLOCK_BYTES``, or content beyond the limit that the caller gave."""


class BlockPinnedError(StorageError):
    """A pinned block was to be deleted."""


class DagError(StorageError):
    """A block that is no strict dag-pb node, or no UnixFS file of the profile, or a DAG that contradicts itself."""


class StoreFullError(StorageError):
    """No room for the block: nothing of it was kept."""


class StoreAccessError(StorageError):
    """The store's directory cannot be used: rights, a symbolic link, a foreign format, a failing disk."""


class StoreUnavailableError(StorageError):
    """The store does not answer, or not in time; what was asked may have happened, and asking again is safe."""


class StoreAnswerError(StorageError):
    """What answers is no such store, or gives more than it can have: not to be trusted."""
