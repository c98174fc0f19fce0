"""Files of any size over blocks: limits, shapes, and DAGs made to deceive."""

import io
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import (
    BlockCorruptError,
    BlockNotFoundError,
    BlockTooLargeError,
    Cid,
    Codec,
    DagError,
    MemoryBlockStore,
    StorageError,
    unixfs,
)
from storage.dag_pb import Link, decode_file_node, encode_file_node

MIB = 1024 * 1024


class Zeros(io.RawIOBase):
    """A stream of zeros that holds none of them: its leaves are all one block, so that a store stays small."""

    def __init__(self, size_bytes: int) -> None:
        self._remaining_bytes = size_bytes

    def read(self, size: int = -1) -> bytes:
        size = min(size, self._remaining_bytes)
        self._remaining_bytes -= size
        return bytes(size)


class Dribble(io.RawIOBase):
    """A stream that gives fewer bytes than asked for, as sockets do."""

    def __init__(self, content: bytes, steps: list[int]) -> None:
        self._inner = io.BytesIO(content)
        self._steps = steps
        self._turn = 0

    def read(self, size: int = -1) -> bytes:
        self._turn += 1
        return self._inner.read(min(size, self._steps[self._turn % len(self._steps)]))


class RecordingStore(MemoryBlockStore):
    """A store that remembers the order of its puts."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[Cid] = []

    def put(self, block: bytes, codec: Codec = Codec.RAW) -> Cid:
        self.order.append(super().put(block, codec))
        return self.order[-1]


def _content(size_bytes: int) -> bytes:
    return b"".join(i.to_bytes(4, "big") for i in range(size_bytes // 4 + 1))[:size_bytes]


def _links(store: MemoryBlockStore, cid: Cid) -> tuple[Link, ...]:
    return decode_file_node(cid, store.get(cid))


def _put_node(store: MemoryBlockStore, *links: Link) -> Cid:
    return store.put(encode_file_node(links), Codec.DAG_PB)


def _leaf(store: MemoryBlockStore, size_bytes: int, fill: int = 0) -> Link:
    return Link(store.put(bytes([fill]) * size_bytes), size_bytes, size_bytes)


def _node(store: MemoryBlockStore, *links: Link) -> Link:
    block = encode_file_node(links)
    dag_bytes = len(block) + sum(link.dag_bytes for link in links)
    return Link(store.put(block, Codec.DAG_PB), sum(link.content_bytes for link in links), dag_bytes)


@pytest.mark.parametrize("size_bytes", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB, 3 * MIB + 7])
def test_cat_after_add_returns_the_content(size_bytes: int) -> None:
    store, content = MemoryBlockStore(), _content(size_bytes)
    root = unixfs.add(store, content)
    assert b"".join(unixfs.cat(store, root)) == content
    assert unixfs.size_of(store, root) == size_bytes
    assert unixfs.cid_of(content) == root


def test_add_of_content_within_a_chunk_is_the_raw_block_itself() -> None:
    store = MemoryBlockStore()
    assert unixfs.add(store, b"header") == store.put(b"header")


@settings(max_examples=20, deadline=None)
@given(size_bytes=st.integers(0, 3 * MIB), steps=st.lists(st.integers(1, 2 * MIB), min_size=1, max_size=5))
def test_cid_of_a_dribbling_stream_equals_that_of_the_bytes(size_bytes: int, steps: list[int]) -> None:
    content = _content(size_bytes)
    steps.append(MIB // 3)
    assert unixfs.cid_of(Dribble(content, steps)) == unixfs.cid_of(content)


def test_add_of_1024_leaves_makes_one_node_and_of_1025_two_levels() -> None:
    store = MemoryBlockStore()
    full = unixfs.add(store, Zeros(1024 * MIB))
    assert len(_links(store, full)) == 1024
    over = unixfs.add(store, Zeros(1025 * MIB))
    first, second = _links(store, over)
    assert first.cid == full
    assert second.cid.codec is Codec.DAG_PB, (
        "a lone last leaf has a node of its own: all leaves lie equally deep"
    )
    assert [link.content_bytes for link in _links(store, second.cid)] == [MIB]
    assert set(unixfs.blocks_of(store, over)) == set(store.cids())


def test_cat_beyond_a_gibibyte_reads_all_of_it_with_flat_memory() -> None:
    store = MemoryBlockStore()
    root = unixfs.add(store, Zeros(1025 * MIB + 1))
    tracemalloc.start()
    try:
        size_bytes = sum(len(chunk) for chunk in unixfs.cat(store, root))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size_bytes == 1025 * MIB + 1
    assert peak_bytes < 8 * MIB


def test_add_stores_children_before_parents_and_the_root_last() -> None:
    store = RecordingStore()
    root = unixfs.add(store, _content(2 * MIB + 5))
    assert store.order[-1] == root
    assert [cid.codec for cid in store.order] == [Codec.RAW] * 3 + [Codec.DAG_PB]
    assert list(unixfs.blocks_of(store, root)) == store.order


def test_add_beyond_the_limit_is_refused_without_a_root() -> None:
    store = RecordingStore()
    with pytest.raises(BlockTooLargeError, match=str(2 * MIB)):
        unixfs.add(store, Zeros(2 * MIB + 1), limit_bytes=2 * MIB)
    assert all(cid.codec is Codec.RAW for cid in store.order)
    assert unixfs.add(store, Zeros(2 * MIB), limit_bytes=2 * MIB).codec is Codec.DAG_PB


@pytest.mark.parametrize("size_bytes", [1000, 3 * MIB])
def test_cat_beyond_the_limit_is_refused_before_a_byte_is_given(size_bytes: int) -> None:
    store = MemoryBlockStore()
    root = unixfs.add(store, _content(size_bytes))
    with pytest.raises(BlockTooLargeError):
        next(unixfs.cat(store, root, limit_bytes=size_bytes - 1))
    assert sum(map(len, unixfs.cat(store, root, limit_bytes=size_bytes))) == size_bytes


@pytest.mark.parametrize("answer", [None, "text", bytes(MIB + 1)], ids=["nothing yet", "text", "too much"])
def test_add_of_a_stream_that_is_no_blocking_binary_one_is_refused(answer: object) -> None:
    class Odd:
        def read(self, size: int, /) -> object:
            return answer

    store = MemoryBlockStore()
    with pytest.raises(StorageError, match="blocking binary stream"):
        unixfs.add(store, Odd())  # type: ignore[arg-type]
    assert list(store.cids()) == []


def test_cat_with_a_leaf_missing_names_it() -> None:
    store = MemoryBlockStore()
    root = unixfs.add(store, _content(3 * MIB))
    gone = _links(store, root)[1].cid
    store.delete(gone)
    chunks = unixfs.cat(store, root)
    assert next(chunks) == _content(3 * MIB)[:MIB]
    with pytest.raises(BlockNotFoundError, match=str(gone)):
        next(chunks)


class LyingStore(MemoryBlockStore):
    """A store that answers some CIDs with other bytes, and says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.lies: dict[Cid, bytes] = {}

    def get(self, cid: Cid) -> bytes:
        return self.lies.get(cid) or super().get(cid)


@pytest.mark.parametrize("position", [0, 1, 2, 3], ids=["first leaf", "second leaf", "last leaf", "root"])
def test_cat_from_a_store_that_swaps_blocks_names_the_swapped_one(position: int) -> None:
    store = LyingStore()
    root = unixfs.add(store, _content(3 * MIB))
    other = unixfs.add(store, _content(3 * MIB + 1))
    victim = list(unixfs.blocks_of(store, root))[position]
    store.lies[victim] = store.get(other)
    with pytest.raises(BlockCorruptError, match=str(victim)):
        list(unixfs.cat(store, root))


def test_add_to_a_store_that_answers_another_cid_is_refused() -> None:
    class Misnaming(MemoryBlockStore):
        def put(self, block: bytes, codec: Codec = Codec.RAW) -> Cid:
            return super().put(block + b"!", codec)

    with pytest.raises(BlockCorruptError):
        unixfs.add(Misnaming(), b"content")


def test_dag_of_tiny_leaves_is_refused() -> None:
    """Attack: a gibibyte of one-byte leaves, to make readers take a thousand million steps."""
    store = MemoryBlockStore()
    root = _put_node(store, *[_leaf(store, 1)] * 1024)
    _refused(store, root)


def test_dag_that_repeats_one_node_to_swell_is_refused() -> None:
    """Attack: six blocks that claim an exabyte, each level linking 1024 times to the one below."""
    store = MemoryBlockStore()
    level = _leaf(store, 1024)
    for _ in range(5):
        level = _node(store, *[level] * 1024)
    _refused(store, level.cid)


def test_dag_of_repeated_full_nodes_is_bounded_by_the_limit() -> None:
    """Attack: the same, in the profile's own shape; the claimed size is refused before a leaf is fetched."""
    store = MemoryBlockStore()
    level = _leaf(store, MIB)
    for _ in range(3):
        level = _node(store, *[level] * 1024)
    for read in (unixfs.cat, unixfs.blocks_of):
        with pytest.raises(BlockTooLargeError):
            next(read(store, level.cid, limit_bytes=2**30))
    assert len(list(unixfs.blocks_of(store, level.cid))) == 4


def test_dag_with_a_chain_of_single_links_is_refused() -> None:
    """Attack: depth without content, to exhaust the stack."""
    store = MemoryBlockStore()
    level = _node(store, _leaf(store, MIB), _leaf(store, MIB, 1))
    for _ in range(2000):
        level = _node(store, level)
    _refused(store, level.cid)


def test_dag_whose_node_lies_about_a_childs_size_is_refused() -> None:
    """Attack: a parent says less than its child has, to slip content past a limit."""
    store = MemoryBlockStore()
    heavy = _leaf(store, MIB, 1)
    _refused(store, _put_node(store, _leaf(store, MIB), Link(heavy.cid, 10, 10)), reads_leaves=True)
    full = _node(store, *[_leaf(store, MIB)] * 1024)
    rest = _node(store, _leaf(store, MIB), _leaf(store, 5))
    _refused(store, _put_node(store, full, Link(rest.cid, rest.content_bytes - 1, rest.dag_bytes)))
    _refused(store, _put_node(store, full, Link(rest.cid, rest.content_bytes, rest.dag_bytes + 1)))
    assert unixfs.size_of(store, _put_node(store, full, rest)) == 1025 * MIB + 5


def test_dag_with_a_second_name_for_the_same_content_is_refused() -> None:
    """Attack: one content under two CIDs, so that two parties hold different names for one record."""
    store = MemoryBlockStore()
    _refused(store, _put_node(store, _leaf(store, 10)))
    _refused(store, _put_node(store, _leaf(store, MIB), _node(store, _leaf(store, MIB))))
    _refused(store, _put_node(store, _leaf(store, MIB), Link(store.put(b"a"), 1, 2)))
    _refused(store, _put_node(store, _leaf(store, 10), _leaf(store, MIB)))
    full = _node(store, *[_leaf(store, MIB)] * 1024)
    _refused(store, _put_node(store, full, _leaf(store, 5)))
    oversized = store.put(bytes(MIB + 1))
    with pytest.raises(DagError):
        list(unixfs.cat(store, oversized))


def _refused(store: MemoryBlockStore, root: Cid, *, reads_leaves: bool = False) -> None:
    with pytest.raises(DagError):
        for _ in unixfs.cat(store, root):
            pass
    if not reads_leaves:
        with pytest.raises(DagError):
            list(unixfs.blocks_of(store, root))


@settings(max_examples=40, deadline=None)
@given(
    size=st.one_of(st.integers(0, 10), st.integers(-3, 3).map(lambda edge: 2 * MIB + edge)),
    piece_bytes=st.sampled_from([1000, 4096, MIB - 1, MIB, 3 * MIB]),
)
def test_write_in_pieces_of_any_size_gives_the_cid_of_the_whole(size, piece_bytes):
    content = bytes(range(251)) * (size // 251 + 1)
    content = content[:size]
    store = MemoryBlockStore()
    writer = unixfs.DagWriter(store)
    for start in range(0, size, piece_bytes):
        writer.write(content[start : start + piece_bytes])
    root = writer.finish()
    assert root == unixfs.cid_of(content)
    assert b"".join(unixfs.cat(store, root)) == content
