"""A terabyte in three blocks: links to one leaf, a million times. Nobody may be made to read it, or to hold it."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from custody_world import CustodyWorld

from crypto.header import Header
from crypto.payload import MAX_CIPHERTEXT_BYTES
from crypto.streamed_payload import MAX_STREAMED_CIPHERTEXT_BYTES
from node.custody import DepositRefused
from node.downloads import Downloads
from node.reading import ContentDiffers, ReadingService
from node.shares import Collected
from storage import BlockSource, Cid, Codec
from storage.dag_pb import MAX_LINKS, Link, encode_file_node
from storage.traversal import CHUNK_BYTES
from wire.custody import DepositBatch


def plant_bomb(world: CustodyWorld) -> tuple[Cid, int]:
    """Puts the blocks as any provider may; the root, and the bytes that it stands for."""
    block, codec, size_bytes, dag_bytes = bytes(CHUNK_BYTES), Codec.RAW, CHUNK_BYTES, CHUNK_BYTES
    for _ in range(3):
        cid = Cid.of(block, codec)
        world.custodian.blocks.accept(world.author_identity.address, str(cid), block)
        block = encode_file_node((Link(cid, size_bytes, dag_bytes),) * MAX_LINKS)
        planted, codec = (cid, size_bytes), Codec.DAG_PB
        size_bytes, dag_bytes = size_bytes * MAX_LINKS, len(block) + dag_bytes * MAX_LINKS
    return planted


def test_attack_deposit_of_a_terabyte_in_three_blocks_is_refused_at_once(custody_world: CustodyWorld) -> None:
    root, size_bytes = plant_bomb(custody_world)
    assert size_bytes == 2**40
    sealed = custody_world.seal()
    header = replace(sealed.record.header, ciphertext_cid=str(root), ciphertext_size=size_bytes)
    request = custody_world.request(sealed, header=header.to_bytes())
    with pytest.raises(DepositRefused, match="at most"):
        custody_world.custodian.custody.deposit(
            custody_world.author_identity.address, DepositBatch(deposits=(request,))
        )


@pytest.mark.parametrize(
    ("streamed", "limit_bytes"), [(False, MAX_CIPHERTEXT_BYTES), (True, MAX_STREAMED_CIPHERTEXT_BYTES)]
)
def test_attack_read_of_a_record_whose_author_named_a_terabyte_fetches_nothing(
    custody_world: CustodyWorld, streamed: bool, limit_bytes: int
) -> None:
    sealed = custody_world.seal().record
    header = replace(sealed.header, ciphertext_size=limit_bytes + 1, streamed=streamed)

    def no_source(_: Header) -> BlockSource:
        raise AssertionError("a block was asked for")

    shares = dict.fromkeys(range(1, header.threshold + 1), bytes(32))
    collected = Collected(None, None, header, sealed.consent_wrap, shares)
    reading = ReadingService(
        custody_world.custodian_identity,
        None,
        None,
        None,
        None,
        no_source,
        Downloads(no_source),
        ThreadPoolExecutor(1),
    )
    with pytest.raises(ContentDiffers, match=header.identity.author.hex()):
        reading._data_key(collected, ())


@pytest.mark.parametrize("chunks", [2, 8])
def test_attack_deposit_of_one_block_many_times_over_is_refused_before_it_is_hashed(
    custody_world: CustodyWorld, chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gigabytes to hash for a megabyte that was sent."""
    leaf = bytes(CHUNK_BYTES)
    node = encode_file_node((Link(Cid.of(leaf), CHUNK_BYTES, CHUNK_BYTES),) * chunks)
    root = Cid.of(node, Codec.DAG_PB)
    for cid, block in ((Cid.of(leaf), leaf), (root, node)):
        custody_world.custodian.blocks.accept(custody_world.author_identity.address, str(cid), block)
    sealed = custody_world.seal()
    header = replace(
        sealed.record.header,
        ciphertext_cid=str(root),
        ciphertext_size=chunks * CHUNK_BYTES,
        ciphertext_digest=hashlib.sha256(leaf * chunks).digest(),
    )
    monkeypatch.setattr("node.custody.unixfs.cat", None)
    monkeypatch.setattr(custody_world.custodian.custody, "_check", lambda *_: (header, None))
    request = custody_world.request(sealed)
    with pytest.raises(DepositRefused, match=f"expected {chunks} different chunks.*came 1"):
        custody_world.custodian.custody.deposit(
            custody_world.author_identity.address, DepositBatch(deposits=(request,))
        )
