"""A store that is not trusted: whatever it answers, the caller gets the right block or an error."""

from collections.abc import Iterator

import pytest

from storage import (
    MAX_BLOCK_BYTES,
    BlockCorruptError,
    BlockTooLargeError,
    Cid,
    Codec,
    MemoryBlockStore,
    VerifiedBlockStore,
    check_block,
    corrupt_blocks,
)


class DishonestStore(MemoryBlockStore):
    """Answers what it is told to answer."""

    def __init__(self) -> None:
        super().__init__()
        self.block: bytes | None = None
        self.cid: Cid | None = None

    def put(self, block: bytes, codec: Codec = Codec.RAW) -> Cid:
        return self.cid or super().put(block, codec)

    def get(self, cid: Cid) -> bytes:
        return super().get(cid) if self.block is None else self.block


@pytest.fixture
def dishonest() -> DishonestStore:
    return DishonestStore()


@pytest.mark.parametrize(
    "answer", [b"", b"bloc", b"Block", b"block\0"], ids=["nothing", "cut short", "changed", "longer"]
)
def test_get_of_a_block_that_the_store_swapped_names_it(dishonest: DishonestStore, answer: bytes) -> None:
    cid = dishonest.put(b"block")
    dishonest.block = answer
    with pytest.raises(BlockCorruptError, match=str(cid)):
        VerifiedBlockStore(dishonest).get(cid)


def test_get_of_a_block_beyond_the_limit_is_refused_even_if_its_hash_is_right(
    dishonest: DishonestStore,
) -> None:
    dishonest.block = bytes(MAX_BLOCK_BYTES + 1)
    with pytest.raises(BlockTooLargeError):
        VerifiedBlockStore(dishonest).get(Cid.of(dishonest.block))


@pytest.mark.parametrize("answer", [Cid.of(b"other"), Cid.of(b"block", Codec.DAG_PB)])
def test_put_that_the_store_answers_with_another_cid_is_refused(
    dishonest: DishonestStore, answer: Cid
) -> None:
    dishonest.cid = answer
    with pytest.raises(BlockCorruptError, match=str(answer)):
        VerifiedBlockStore(dishonest).put(b"block")


def test_put_beyond_the_limit_never_reaches_the_store(dishonest: DishonestStore) -> None:
    with pytest.raises(BlockTooLargeError):
        VerifiedBlockStore(dishonest).put(bytes(MAX_BLOCK_BYTES + 1))
    assert list(dishonest.cids()) == []


def test_check_block_of_the_right_bytes_returns_them_under_either_codec() -> None:
    for codec in Codec:
        assert check_block(Cid.of(b"block", codec), b"block") == b"block"


def test_corrupt_blocks_names_the_damaged_and_the_listed_but_absent(dishonest: DishonestStore) -> None:
    class Boasting(MemoryBlockStore):
        def cids(self) -> Iterator[Cid]:
            yield from super().cids()
            yield Cid.of(b"boasted")

    boasting = Boasting()
    boasting.put(b"block")
    assert [cid for cid, _ in corrupt_blocks(boasting)] == [Cid.of(b"boasted")]
    cid = dishonest.put(b"block")
    dishonest.block = b"other"
    [(named, error)] = corrupt_blocks(dishonest)
    assert named == cid
    assert isinstance(error, BlockCorruptError)
