"""Copying DAGs from peers that are absent, forgetful or dishonest."""

from pathlib import Path

import pytest

from storage import (
    BlockCorruptError,
    BlockNotFoundError,
    BlockTooLargeError,
    Cid,
    Codec,
    EmbeddedBlockStore,
    MemoryBlockStore,
    Transfer,
    copy_dag,
    unixfs,
)

MIB = 1024 * 1024
_CONTENT = b"".join(i.to_bytes(4, "big") for i in range(3 * MIB // 4)) + b"end"
_LIMIT_BYTES = 64 * MIB


class Peer:
    """Another member's node: counts what it is asked for, may go away, and may answer with other bytes."""

    def __init__(self, store: MemoryBlockStore) -> None:
        self._store = store
        self.asked: list[Cid] = []
        self.answers_left = 1_000_000
        self.lies: dict[Cid, bytes] = {}

    def get(self, cid: Cid) -> bytes:
        self.asked.append(cid)
        if self.answers_left == 0:
            raise ConnectionResetError("the peer went away")
        self.answers_left -= 1
        return self.lies.get(cid) or self._store.get(cid)


@pytest.fixture
def peer() -> Peer:
    return Peer(MemoryBlockStore())


def _published(peer: Peer) -> Cid:
    return unixfs.add(peer._store, _CONTENT)


def test_copy_of_a_dag_brings_every_block_and_the_root_last(peer: Peer, tmp_path: Path) -> None:
    root, destination = _published(peer), EmbeddedBlockStore(tmp_path / "blocks")
    transfer = copy_dag(peer, destination, root, _LIMIT_BYTES)
    assert b"".join(unixfs.cat(destination, root)) == _CONTENT
    assert set(destination.cids()) == set(peer._store.cids())
    assert transfer == Transfer(5, sum(len(peer._store.get(cid)) for cid in peer._store.cids()))


def test_copy_again_asks_the_peer_for_nothing(peer: Peer) -> None:
    root, destination = _published(peer), MemoryBlockStore()
    copy_dag(peer, destination, root, _LIMIT_BYTES)
    peer.asked.clear()
    assert copy_dag(peer, destination, root, _LIMIT_BYTES) == Transfer(0, 0)
    assert peer.asked == []


@pytest.mark.parametrize("answers", [0, 1, 2, 3, 4])
def test_copy_after_the_peer_went_away_goes_on_where_it_was(peer: Peer, answers: int) -> None:
    root, destination = _published(peer), MemoryBlockStore()
    peer.answers_left = answers
    with pytest.raises(ConnectionResetError):
        copy_dag(peer, destination, root, _LIMIT_BYTES)
    assert not destination.has(root), "a root must not stand over blocks that are missing"
    leaves_there = set(destination.cids())
    assert len(leaves_there) == max(0, answers - 1)
    peer.answers_left = 1_000_000
    peer.asked.clear()
    assert copy_dag(peer, destination, root, _LIMIT_BYTES).fetched_blocks == 5 - len(leaves_there)
    assert leaves_there.isdisjoint(peer.asked)
    assert b"".join(unixfs.cat(destination, root)) == _CONTENT


def test_copy_over_a_corrupt_block_replaces_it(peer: Peer, tmp_path: Path) -> None:
    root, destination = _published(peer), EmbeddedBlockStore(tmp_path / "blocks")
    copy_dag(peer, destination, root, _LIMIT_BYTES)
    victim = next(iter(unixfs.blocks_of(destination, root)))
    [path] = (tmp_path / "blocks").rglob(str(victim))
    path.write_bytes(path.read_bytes()[:-1])
    assert copy_dag(peer, destination, root, _LIMIT_BYTES).fetched_blocks == 1
    assert b"".join(unixfs.cat(destination, root)) == _CONTENT


@pytest.mark.parametrize("position", range(5))
def test_copy_from_a_peer_that_swaps_a_block_keeps_nothing_of_it(peer: Peer, position: int) -> None:
    root, destination = _published(peer), MemoryBlockStore()
    victim = list(unixfs.blocks_of(peer._store, root))[position]
    peer.lies[victim] = b"something else"
    with pytest.raises(BlockCorruptError, match=str(victim)):
        copy_dag(peer, destination, root, _LIMIT_BYTES)
    assert not destination.has(root)
    assert not destination.has(Cid.of(b"something else", victim.codec))


def test_copy_from_a_peer_that_answers_without_end_is_refused(peer: Peer) -> None:
    root, destination = _published(peer), MemoryBlockStore()
    peer.lies[root] = bytes(2 * MIB + 1)
    with pytest.raises(BlockTooLargeError):
        copy_dag(peer, destination, root, _LIMIT_BYTES)
    assert list(destination.cids()) == []


def test_copy_beyond_the_limit_is_refused_before_a_leaf_is_fetched(peer: Peer) -> None:
    root, destination = _published(peer), MemoryBlockStore()
    with pytest.raises(BlockTooLargeError):
        copy_dag(peer, destination, root, len(_CONTENT) - 1)
    assert peer.asked == [root]
    assert list(destination.cids()) == []


def test_copy_of_what_nobody_has_names_the_block(peer: Peer) -> None:
    absent = Cid.of(b"absent", Codec.DAG_PB)
    with pytest.raises(BlockNotFoundError, match=str(absent)):
        copy_dag(peer, MemoryBlockStore(), absent, _LIMIT_BYTES)


def test_copy_of_repeated_chunks_fetches_each_block_once(peer: Peer) -> None:
    root, destination = unixfs.add(peer._store, bytes(20 * MIB)), MemoryBlockStore()
    assert copy_dag(peer, destination, root, _LIMIT_BYTES).fetched_blocks == 2
    assert len(peer.asked) == 2
