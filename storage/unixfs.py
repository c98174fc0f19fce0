"""Content of any size as a DAG of blocks: UnixFS files by the CID profile unixfs-v1-2025.

CIDv1, sha2-256, raw leaves of 1 MiB, balanced nodes of at most 1024 links: the same content has the same CID in
every store, and the same as ``ipfs add`` of Kubo gives with this profile. Source: IPIP-0499 (CID profiles).
Memory stays flat: a chunk, and at most 1024 links a level.
"""

import io
from collections.abc import Iterable, Iterator
from typing import Protocol

from storage.blocks import BlockSource, BlockStore, check_block
from storage.cid import Cid, Codec
from storage.dag_pb import MAX_LINKS, Link, decode_file_node, encode_file_node
from storage.errors import BlockCorruptError, BlockTooLargeError, DagError, StorageError
from storage.traversal import CHUNK_BYTES, check_leaf, check_node, walk


class ByteStream(Protocol):
    """Whatever bytes can be read from in pieces: an open file, a pipe, a response's body."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none only at the end."""
        ...


class BlockSink(Protocol):
    """Whatever takes blocks: a store, or something that brings them into one."""

    def put(self, block: bytes, codec: Codec = Codec.RAW) -> Cid:
        """As ``BlockStore.put``; when it is durable is for whoever made the sink to say."""
        ...


def add(store: BlockStore, content: bytes | ByteStream, limit_bytes: int | None = None) -> Cid:
    """Stores content and returns its root CID. Children are stored before their parents, the root last.

    Raises:
        BlockTooLargeError: the content is beyond ``limit_bytes``; chunks stored so far stay, without a root.
        StoreFullError: no room is left; chunks stored so far stay, without a root.
        BlockCorruptError: the store answered another CID than was computed here.
        StorageError: the stream does not block, gives text, or more than it is asked for.
    """
    return _build(store, content, limit_bytes)


class DagWriter:
    """``add``, for content that is pushed here in pieces instead of being read from a stream."""

    def __init__(self, sink: BlockSink) -> None:
        self._builder = _Builder(sink)
        self._rest = bytearray()
        self._empty = True

    def write(self, piece: bytes) -> None:
        """Takes the next piece, of any size, and stores the blocks that became whole.

        Raises:
            StoreFullError, BlockCorruptError: as ``add``; blocks stored so far stay, without a root.
        """
        self._rest += piece
        while len(self._rest) >= CHUNK_BYTES:
            self._append(bytes(memoryview(self._rest)[:CHUNK_BYTES]))
            del self._rest[:CHUNK_BYTES]

    def finish(self) -> Cid:
        """Stores what is left, the root last; returns its CID. To be called once.

        Raises:
            StoreFullError, BlockCorruptError: as ``add``.
        """
        if self._rest or self._empty:
            self._append(bytes(self._rest))
        return self._builder.root()

    def _append(self, chunk: bytes) -> None:
        self._empty = False
        self._builder.append(chunk)


def cid_of(content: bytes | ByteStream, limit_bytes: int | None = None) -> Cid:
    """The CID that ``add`` would return, with nothing stored.

    Raises:
        BlockTooLargeError, StorageError: as ``add``.
    """
    return _build(None, content, limit_bytes)


def cat(source: BlockSource, cid: Cid, limit_bytes: int | None = None) -> Iterator[bytes]:
    """The content below a CID, in order, a chunk at a time; every block is hashed here and compared with its name.

    What came before an error was right, and is not the whole: use it only when the iterator ends by itself.

    Raises:
        BlockNotFoundError, BlockCorruptError: as ``BlockSource.get``; the message names the block.
        BlockTooLargeError: the content is beyond ``limit_bytes``; told before a leaf is fetched if it has nodes.
        DagError: a node is no UnixFS file node, or the DAG is not the profile's for its size.
    """
    for found, block in walk(source, cid, limit_bytes, leaves=True, repeats=True):
        if found.codec is Codec.RAW:
            yield block


def size_of(source: BlockSource, cid: Cid) -> int:
    """Bytes of the content below a CID, as its root block tells; no other block is read.

    Raises:
        As ``cat``, for the root block.
    """
    block = check_block(cid, source.get(cid))
    if cid.codec is Codec.RAW:
        check_leaf(cid, len(block), None, None)
        return len(block)
    links = decode_file_node(cid, block)
    check_node(cid, block, links, None, None)
    return sum(link.content_bytes for link in links)


def blocks_of(source: BlockSource, cid: Cid, limit_bytes: int | None = None) -> Iterator[Cid]:
    """Every distinct CID of a DAG, children before their parent, the root last; leaves are named but not read.

    Raises:
        As ``cat``, for the nodes.
    """
    for found, _ in walk(source, cid, limit_bytes, leaves=False, repeats=False):
        yield found


def require_distinct_chunks(cids: Iterable[Cid], content_bytes: int) -> None:
    """Refuses a DAG, by its distinct CIDs, whose content has the same chunk more than once.

    Raises:
        DagError: there are fewer leaves than chunks in so many bytes.
    """
    chunks = -(-content_bytes // CHUNK_BYTES)
    leaves = sum(cid.codec is Codec.RAW for cid in cids)
    if leaves < chunks:
        raise DagError(
            f"expected {chunks} different chunks in {content_bytes} bytes of content; came {leaves}"
        )


def _build(store: BlockSink | None, content: bytes | ByteStream, limit_bytes: int | None) -> Cid:
    builder = _Builder(store)
    for chunk in _chunks(content, limit_bytes):
        builder.append(chunk)
    return builder.root()


def _chunks(content: bytes | ByteStream, limit_bytes: int | None) -> Iterator[bytes]:
    """Chunks of exactly ``CHUNK_BYTES`` but the last; a single empty one if there is no content."""
    stream = io.BytesIO(content) if isinstance(content, bytes) else content
    total_bytes = 0
    while True:
        parts: list[bytes] = []
        room = CHUNK_BYTES
        while room and (part := _read(stream, room)):  # pipes and sockets give less than they are asked for
            parts.append(part)
            room -= len(part)
        chunk = b"".join(parts)
        if not chunk and total_bytes:
            return
        total_bytes += len(chunk)
        if limit_bytes is not None and total_bytes > limit_bytes:
            raise BlockTooLargeError(f"expected content of at most {limit_bytes} bytes; it goes on beyond")
        yield chunk
        if room:
            return


def _read(stream: ByteStream, size_bytes: int) -> bytes:
    part: object = stream.read(size_bytes)
    # None is a non-blocking stream with nothing yet: to take it for the end would cut the content short.
    if not isinstance(part, bytes) or len(part) > size_bytes:
        came = f"{len(part)} bytes" if isinstance(part, bytes) else type(part).__name__
        raise StorageError(
            f"expected at most {size_bytes} bytes from the stream; came {came}: give a blocking binary stream"
        )
    return part


class _Builder:
    """A balanced DAG that grows leaf by leaf; level 0 links to leaves, level i + 1 to nodes of level i."""

    def __init__(self, store: BlockSink | None) -> None:
        self._store = store
        self._levels: list[list[Link]] = [[]]

    def append(self, chunk: bytes) -> None:
        self._link(0, Link(self._keep(chunk, Codec.RAW), len(chunk), len(chunk)))

    def root(self) -> Cid:
        """Closes all levels, lowest first; nothing stands above a sole leaf, or above the level that holds all."""
        level = 0
        while level < len(self._levels) - 1 or len(self._levels[level]) > 1:
            self._close(level)
            level += 1
        return self._levels[level][0].cid

    def _link(self, level: int, link: Link) -> None:
        if level == len(self._levels):
            self._levels.append([])
        if len(self._levels[level]) == MAX_LINKS:
            self._close(level)
        self._levels[level].append(link)

    def _close(self, level: int) -> None:
        links = tuple(self._levels[level])
        self._levels[level].clear()
        block = encode_file_node(links)
        dag_bytes = len(block) + sum(link.dag_bytes for link in links)
        content_bytes = sum(link.content_bytes for link in links)
        self._link(level + 1, Link(self._keep(block, Codec.DAG_PB), content_bytes, dag_bytes))

    def _keep(self, block: bytes, codec: Codec) -> Cid:
        expected = Cid.of(block, codec)
        if self._store is not None and (answered := self._store.put(block, codec)) != expected:
            raise BlockCorruptError(f"expected the store to keep {expected}; it answered {answered}")
        return expected
