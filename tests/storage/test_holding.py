"""What a store ought to hold against what it holds: found by one question, made up from whoever has it."""

import pytest

from storage import (
    MAX_BLOCK_BYTES,
    BlockCorruptError,
    BlockNotFoundError,
    BlockStore,
    BlockTooLargeError,
    Cid,
    Codec,
    MemoryBlockStore,
    StoreFullError,
    ensure_pinned,
    fetch_missing,
    missing,
    put_many,
)


class LyingSource(MemoryBlockStore):
    """Answers every CID with the same bytes."""

    def get(self, cid: Cid) -> bytes:
        return b"a lie"


@pytest.mark.parametrize("count", [1, 40])
def test_missing_names_what_is_not_held_and_nothing_else(store: BlockStore, count: int) -> None:
    held = {store.put(b"%d" % i, Codec.DAG_PB if i % 2 else Codec.RAW) for i in range(count)}
    absent = {Cid.of(b"absent %d" % i) for i in range(count)}
    assert missing(store, held | absent) == absent
    assert missing(store, held) == set()
    assert missing(store, []) == set()
    gone = min(held)
    store.delete(gone)
    assert missing(store, held) == {gone}


def test_missing_of_the_same_bytes_under_the_other_codec_names_it(store: BlockStore) -> None:
    raw = store.put(b"", Codec.RAW)
    node = Cid.of(b"", Codec.DAG_PB)
    assert missing(store, [raw, node]) == {node}


def test_put_many_stores_every_block_once_whatever_was_there_before(store: BlockStore) -> None:
    store.put(b"there")
    store.put(b"", Codec.DAG_PB)
    blocks = [(b"%d" % n * 1000, Codec.RAW) for n in range(70)]
    blocks += [(b"there", Codec.RAW), (b"", Codec.RAW), (b"new", Codec.DAG_PB), blocks[0]]
    cids = put_many(store, blocks)
    assert cids == tuple(Cid.of(block, codec) for block, codec in blocks)
    assert set(store.cids()) == {*cids, Cid.of(b"", Codec.DAG_PB)}
    for cid, (block, _) in zip(cids, blocks, strict=True):
        assert store.get(cid) == block
    assert put_many(store, []) == ()


def test_put_many_with_one_block_beyond_the_limit_is_refused(store: BlockStore) -> None:
    with pytest.raises(BlockTooLargeError):
        put_many(store, [(bytes(MAX_BLOCK_BYTES + 1), Codec.RAW)])
    assert list(store.cids()) == []


def test_ensure_pinned_pins_what_is_there_and_names_the_rest(store: BlockStore) -> None:
    there = {store.put(b"%d" % i) for i in range(3)}
    absent = Cid.of(b"absent")
    assert ensure_pinned(store, [*there, absent]) == {absent}
    assert set(store.pins()) == there
    assert ensure_pinned(store, there) == set()


def test_fetch_missing_takes_each_block_from_the_first_source_that_has_it(store: BlockStore) -> None:
    first, second = MemoryBlockStore(), MemoryBlockStore()
    wanted = {first.put(b"first"), second.put(b"second", Codec.DAG_PB), store.put(b"own")}
    healing = fetch_missing(store, [first, second], wanted)
    assert healing.fetched == wanted - {Cid.of(b"own")}
    assert healing.fetched_bytes == len(b"firstsecond")
    assert healing.failures == {}
    assert missing(store, wanted) == set()
    assert fetch_missing(store, [first, second], wanted).fetched == frozenset()


def test_fetch_missing_from_a_lying_source_names_it_and_goes_on_to_the_next(store: BlockStore) -> None:
    """Attack: a peer answers other bytes."""
    honest = MemoryBlockStore()
    good, nowhere = honest.put(b"good"), Cid.of(b"nowhere")
    healing = fetch_missing(store, [LyingSource(), honest], {good, nowhere})
    assert healing.fetched == {good}
    assert [type(error) for error in healing.failures[nowhere]] == [BlockCorruptError, BlockNotFoundError]
    assert store.get(good) == b"good"
    assert not store.has(nowhere)


def test_fetch_missing_into_a_full_store_stops_and_keeps_what_came() -> None:
    class Full(MemoryBlockStore):
        def put(self, block: bytes, codec: Codec = Codec.RAW) -> Cid:
            if len(list(self.cids())) == 2:
                raise StoreFullError("full")
            return super().put(block, codec)

    source, store = MemoryBlockStore(), Full()
    wanted = {source.put(b"%d" % i) for i in range(4)}
    with pytest.raises(StoreFullError):
        fetch_missing(store, [source], wanted)
    assert len(missing(store, wanted)) == 2
