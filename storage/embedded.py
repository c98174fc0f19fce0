"""Blocks as files under one directory: the store that needs no other process.

Layout, version 1::

    format               "phr-block-store 1"
    lock                 flock'ed: exclusive for delete, pin and cleaning, shared while a put begins
    blocks/<shard>/<cid> the block's bytes; the shard is the CID's next-to-last two characters
    pins/<shard>/<cid>   empty; the block of this name is pinned
    temporary/           what is being written
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from storage import directory as files
from storage.blocks import MAX_BLOCK_BYTES, check_block, check_size
from storage.cid import Cid, Codec
from storage.errors import (
    BlockCorruptError,
    BlockNotFoundError,
    BlockPinnedError,
    BlockTooLargeError,
    CidError,
    StoreAccessError,
)

_FORMAT = b"phr-block-store 1\n"
_FORMAT_LIMIT_BYTES = 64
_BLOCKS, _PINS, _TEMPORARY = "blocks", "pins", "temporary"


class EmbeddedBlockStore:
    """A ``BlockStore`` in a directory, safe for several processes and threads at once and under ``kill -9``."""

    def __init__(self, directory: Path | str) -> None:
        """Opens the store of a directory, made (0700) if absent, and removes what dead writers left behind.

        Raises:
            StoreAccessError: the directory is a symbolic link, holds something else, or cannot be used.
            StoreFullError: no room for the store's own few files.
        """
        self._path = Path(directory).absolute()
        self._durable_shards: set[tuple[str, str]] = set()
        doing = "opening the store"
        try:
            files.make_root(self._path)
        except OSError as error:
            raise files.storage_error(error, f"{doing} in {self._path}") from error
        with self._open(doing) as root:
            self._adopt(root)
            with files.open_below(root, _TEMPORARY) as temporary:
                files.remove_abandoned(root, temporary)

    def put(self, block: bytes, codec: Codec = Codec.RAW) -> Cid:
        """As ``BlockStore.put``. A corrupt copy of the same block is replaced by the good one."""
        check_size(block)
        cid = Cid.of(block, codec)
        with self._open(f"writing block {cid}") as root, self._shard(root, _BLOCKS, cid, make=True) as shard:
            if self._holds_intact(shard, cid):
                # Its first writer may have died, or be still at work, between rename and fsync.
                os.fsync(shard)
            else:
                with files.open_below(root, _TEMPORARY) as temporary:
                    files.write_file(root, temporary, shard, str(cid), block)
        return cid

    def get(self, cid: Cid) -> bytes:
        """As ``BlockSource.get``."""
        with self._open(f"reading block {cid}") as root:
            try:
                with self._shard(root, _BLOCKS, cid) as shard:
                    block = files.read_file(shard, str(cid), MAX_BLOCK_BYTES)
            except FileNotFoundError:
                raise BlockNotFoundError(
                    f"no block {cid} in {self._path}: fetch it from another node"
                ) from None
            except BlockTooLargeError as error:
                raise BlockCorruptError(f"block {cid} in {self._path} is corrupt: {error}") from None
        return check_block(cid, block)

    def has(self, cid: Cid) -> bool:
        """As ``BlockStore.has``."""
        with self._open(f"looking for block {cid}") as root:
            return self._exists(root, _BLOCKS, cid)

    def delete(self, cid: Cid) -> bool:
        """As ``BlockStore.delete``; durable when it returns."""
        with self._open(f"deleting block {cid}") as root, files.locked(root, shared=False):
            if self._exists(root, _PINS, cid):
                raise BlockPinnedError(f"block {cid} is pinned: unpin it before deleting it")
            return self._remove(root, _BLOCKS, cid)

    def pin(self, cid: Cid) -> None:
        """As ``BlockStore.pin``; durable when it returns."""
        with self._open(f"pinning block {cid}") as root, files.locked(root, shared=False):
            if not self._exists(root, _BLOCKS, cid):
                raise BlockNotFoundError(f"no block {cid} in {self._path} to pin: put it first")
            with self._shard(root, _PINS, cid, make=True) as shard:
                files.touch(shard, str(cid))

    def unpin(self, cid: Cid) -> None:
        """As ``BlockStore.unpin``; durable when it returns."""
        with self._open(f"unpinning block {cid}") as root, files.locked(root, shared=False):
            self._remove(root, _PINS, cid)

    def pins(self) -> Iterator[Cid]:
        """As ``BlockStore.pins``."""
        return self._named(_PINS)

    def cids(self) -> Iterator[Cid]:
        """As ``BlockStore.cids``."""
        return self._named(_BLOCKS)

    @contextmanager
    def _open(self, doing: str) -> Iterator[int]:
        """The root's descriptor, with every error of the operating system told as one of the store's."""
        try:
            with files.open_root(self._path) as root:
                yield root
        except OSError as error:
            raise files.storage_error(error, f"{doing} in {self._path}") from error

    def _adopt(self, root: int) -> None:
        """Checks the format of what is there, or makes an empty directory a store; the format is written last."""
        names = set(os.listdir(root))
        if "format" not in names and (strangers := sorted(names - {"lock", _BLOCKS, _PINS, _TEMPORARY})):
            raise StoreAccessError(
                f"expected {self._path} to be a block store or empty; it holds {strangers[:3]}: "
                f"give the store a directory of its own"
            )
        with files.locked(root, shared=False):
            with suppress(FileNotFoundError):
                came = files.read_file(root, "format", _FORMAT_LIMIT_BYTES)
                if came != _FORMAT:
                    raise StoreAccessError(
                        f"expected {self._path} to be of format {_FORMAT!r}; came {came!r}: "
                        f"open it with the version that wrote it"
                    )
                return
            os.fchmod(root, 0o700)
            for name in (_BLOCKS, _PINS, _TEMPORARY):
                files.make_below(root, name)
        with files.open_below(root, _TEMPORARY) as temporary:
            files.write_file(root, temporary, root, "format", _FORMAT)

    @contextmanager
    def _shard(self, root: int, kind: str, cid: Cid, *, make: bool = False) -> Iterator[int]:
        name = str(cid)[-3:-1]
        with self._kind(root, kind) as parent:
            if make and not ((kind, name) in self._durable_shards and files.is_directory(parent, name)):
                files.make_below(parent, name)
                self._durable_shards.add((kind, name))
            with files.open_below(parent, name) as shard:
                yield shard

    def _kind(self, root: int, kind: str) -> AbstractContextManager[int]:
        try:
            return files.open_below(root, kind)
        except FileNotFoundError:  # to be told apart from a missing block
            raise StoreAccessError(
                f"expected {self._path} to hold the directory {kind}, and it is gone: "
                f"check that its disk is mounted, and open the store anew"
            ) from None

    def _exists(self, root: int, kind: str, cid: Cid) -> bool:
        try:
            with self._shard(root, kind, cid) as shard:
                return files.is_file(shard, str(cid))
        except FileNotFoundError:
            return False

    def _remove(self, root: int, kind: str, cid: Cid) -> bool:
        try:
            with self._shard(root, kind, cid) as shard:
                try:
                    os.unlink(str(cid), dir_fd=shard)
                finally:
                    # Also when it was gone: who removed it may have died before this line.
                    os.fsync(shard)
        except FileNotFoundError:
            return False
        return True

    @staticmethod
    def _holds_intact(shard: int, cid: Cid) -> bool:
        try:
            if not files.is_file(shard, str(cid)):
                return False
            check_block(cid, files.read_file(shard, str(cid), MAX_BLOCK_BYTES))
        except (BlockCorruptError, BlockTooLargeError, FileNotFoundError):
            return False
        return True

    def _named(self, kind: str) -> Iterator[Cid]:
        with self._open(f"listing {kind}") as root, self._kind(root, kind) as parent:
            shards = sorted(os.listdir(parent))
        for shard_name in shards:
            with (
                self._open(f"listing {kind}") as root,
                self._kind(root, kind) as parent,
                files.open_below(parent, shard_name) as shard,
            ):
                names = sorted(os.listdir(shard))
            for name in names:
                try:
                    yield Cid.parse(name)
                except CidError as error:
                    raise StoreAccessError(
                        f"expected only CIDs as names in {self._path}/{kind}/{shard_name}: {error}; remove that file"
                    ) from None
