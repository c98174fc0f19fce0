"""What every ``BlockStore`` does: one suite, run against each implementation.

A further store joins by a fixture parameter in ``conftest.py``.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage import (
    MAX_BLOCK_BYTES,
    BlockNotFoundError,
    BlockPinnedError,
    BlockStore,
    BlockTooLargeError,
    Cid,
    Codec,
)


@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("block", [b"", b"one", bytes(MAX_BLOCK_BYTES)], ids=["empty", "small", "largest"])
def test_get_after_put_returns_the_block(store: BlockStore, block: bytes, codec: Codec) -> None:
    cid = store.put(block, codec)
    assert cid == Cid.of(block, codec)
    assert store.has(cid)
    assert store.get(cid) == block


def test_put_without_codec_names_the_block_raw(store: BlockStore) -> None:
    assert store.put(b"block").codec is Codec.RAW


def test_put_of_the_same_block_again_keeps_one(store: BlockStore) -> None:
    assert store.put(b"block") == store.put(b"block")
    assert list(store.cids()) == [Cid.of(b"block")]


def test_put_beyond_the_limit_is_refused_and_keeps_nothing(store: BlockStore) -> None:
    with pytest.raises(BlockTooLargeError, match=str(MAX_BLOCK_BYTES + 1)):
        store.put(bytes(MAX_BLOCK_BYTES + 1))
    assert list(store.cids()) == []


def test_get_of_an_absent_block_names_it(store: BlockStore) -> None:
    absent = Cid.of(b"absent")
    assert not store.has(absent)
    with pytest.raises(BlockNotFoundError, match=str(absent)):
        store.get(absent)


def test_blocks_of_equal_bytes_and_different_codec_are_two(store: BlockStore) -> None:
    raw = store.put(b"block", Codec.RAW)
    node = Cid.of(b"block", Codec.DAG_PB)
    assert not store.has(node)
    store.put(b"block", Codec.DAG_PB)
    assert store.delete(raw)
    assert store.get(node) == b"block"


def test_delete_of_a_block_removes_it_once(store: BlockStore) -> None:
    kept, gone = store.put(b"kept"), store.put(b"gone")
    assert store.delete(gone) is True
    assert store.delete(gone) is False
    assert not store.has(gone)
    with pytest.raises(BlockNotFoundError):
        store.get(gone)
    assert store.get(kept) == b"kept"


def test_put_after_delete_brings_the_block_back(store: BlockStore) -> None:
    cid = store.put(b"block")
    store.delete(cid)
    store.put(b"block")
    assert store.get(cid) == b"block"


def test_delete_of_a_pinned_block_is_refused_until_unpinned(store: BlockStore) -> None:
    cid = store.put(b"block")
    store.pin(cid)
    store.pin(cid)
    assert list(store.pins()) == [cid]
    with pytest.raises(BlockPinnedError, match=str(cid)):
        store.delete(cid)
    assert store.get(cid) == b"block"
    store.unpin(cid)
    assert list(store.pins()) == []
    assert store.delete(cid)


def test_pin_of_an_absent_block_is_refused(store: BlockStore) -> None:
    absent = Cid.of(b"absent")
    with pytest.raises(BlockNotFoundError, match=str(absent)):
        store.pin(absent)
    assert list(store.pins()) == []


def test_unpin_of_an_unpinned_block_changes_nothing(store: BlockStore) -> None:
    cid = store.put(b"block")
    store.unpin(cid)
    store.unpin(Cid.of(b"absent"))
    assert store.get(cid) == b"block"


def test_cids_lists_every_block_with_its_codec(store: BlockStore) -> None:
    expected = {store.put(bytes([i]), Codec.DAG_PB if i % 2 else Codec.RAW) for i in range(20)}
    listed = list(store.cids())
    assert set(listed) == expected
    assert len(listed) == len(expected)


def test_put_get_and_delete_from_several_threads_lose_nothing(store: BlockStore) -> None:
    failures: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            for i in range(12):
                shared = store.put(b"shared %d" % i)
                own = store.put(b"%d %d" % (worker, i))
                assert store.get(shared) == b"shared %d" % i
                assert store.get(own) == b"%d %d" % (worker, i)
                assert store.delete(own)
        except BaseException as failure:  # noqa: BLE001 (reported by the test's own thread)
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert set(store.cids()) == {Cid.of(b"shared %d" % i) for i in range(12)}


def test_pin_against_a_concurrent_delete_leaves_no_pin_without_its_block(store: BlockStore) -> None:
    with ThreadPoolExecutor(2) as pool:
        for turn in range(150):
            cid = store.put(b"contended %d" % turn)
            barrier = threading.Barrier(2)
            pinning = pool.submit(_after, barrier, store.pin, cid)
            deleting = pool.submit(_after, barrier, store.delete, cid)
            errors = {type(pinning.exception()), type(deleting.exception())} - {type(None)}
            assert errors in ({BlockNotFoundError}, {BlockPinnedError}), "exactly one of them comes too late"
            assert store.has(cid) is (pinning.exception() is None)
    assert {cid for cid in store.pins() if not store.has(cid)} == set()


def _after(barrier: threading.Barrier, action: Callable[[Cid], object], cid: Cid) -> None:
    barrier.wait()
    action(cid)
