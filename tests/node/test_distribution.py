"""Bringing a large ciphertext to a custodian: what broke off goes on where it was."""

import secrets
from types import SimpleNamespace

import pytest
from custody_world import CustodyWorld, Node

from node.distribution import Distributor
from node.peer_node import DEPOSIT_SECONDS, HASHED_BYTES_PER_SECOND, PeerFailed, PeerNode, PeerRefused
from node.publication_book import PUBLISH_SECONDS, publish_seconds
from node.sent_blocks import REMEMBERED_SECONDS
from node.unforeseen import UnforeseenFailures
from storage import Cid
from wire.custody import DepositBatch, DepositReceipts


class Line:
    """The way to the world's custodian; it breaks after so many blocks."""

    def __init__(self, world: CustodyWorld) -> None:
        self._author, self._to = world.author_identity.address, world.custodian
        self.address, self.name = self._to.address, "Busan Hospital"
        self.blocks_left = 1000
        self.carried: list[Cid] = []
        self.announced_bytes = 0

    def put_block(self, cid: Cid, block: bytes) -> None:
        if not self.blocks_left:
            raise PeerFailed("the line broke")
        self.blocks_left -= 1
        self._to.blocks.accept(self._author, str(cid), block)
        self.carried.append(cid)

    def deposit(self, batch: DepositBatch, ciphertext_bytes: int) -> DepositReceipts:
        self.announced_bytes = ciphertext_bytes
        try:
            return self._to.custody.deposit(self._author, batch)
        except Exception as error:
            raise PeerRefused(str(error), error.code) from error


class Sending:
    """A record of several blocks at its author, to be deposited over a line."""

    def __init__(self, world: CustodyWorld) -> None:
        author: Node = world.node(world.author_identity)
        self.line = Line(world)
        self.seconds = 0.0
        sealed = world.seal(secrets.token_bytes(3_500_000))
        for cid in sealed.blocks.cids():
            author.store.put(sealed.blocks.get(cid), cid.codec)
        self.cids = set(sealed.blocks.cids())
        record = sealed.record
        self.record = SimpleNamespace(
            record_id=sealed.record_id,
            header=record.header_bytes,
            header_digest=record.header.digest,
            ciphertext_cid=record.header.ciphertext_cid,
            ciphertext_bytes=record.header.ciphertext_size,
            owner_wrap=record.owner_wrap,
            consent_wrap=record.consent_wrap,
            custody_wraps=record.custody_wraps,
        )
        self.acknowledged: list[bytes] = []
        self.unforeseen = UnforeseenFailures()
        self._distributor = Distributor(
            author.identity,
            SimpleNamespace(
                custodian=lambda _: self.line, called=lambda _: self.line.name, unforeseen=self.unforeseen
            ),
            author.blocks,
            SimpleNamespace(acknowledge=lambda custodian, *_: self.acknowledged.append(custodian)),
            monotonic=lambda: self.seconds,
        )
        self.index = record.header.share_index_of(self.line.address)
        self.deadline = world.time + 3600

    def attempt(self) -> None:
        self._distributor._deposit_all(self.line.address, [(self.record, self.index)], self.deadline)


@pytest.fixture
def sending(custody_world: CustodyWorld) -> Sending:
    return Sending(custody_world)


def break_after(sending: Sending, blocks: int) -> None:
    sending.line.blocks_left = blocks
    with pytest.raises(PeerFailed, match="the line broke"):
        sending.attempt()
    sending.line.blocks_left = 1000


def test_sending_that_broke_off_goes_on_with_what_lacks(sending):
    break_after(sending, 2)
    break_after(sending, 1)
    sending.attempt()
    assert len(sending.line.carried) == len(sending.cids) == len(set(sending.line.carried)) == 5
    assert sending.acknowledged == [sending.line.address]
    assert sending.line.announced_bytes == sending.record.ciphertext_bytes


def test_blocks_that_the_custodian_swept_meanwhile_are_sent_again(sending, custody_world):
    break_after(sending, 4)
    custody_world.custodian.store.delete(sending.line.carried[0])
    with pytest.raises(PeerRefused):
        sending.attempt()
    sending.attempt()
    assert sending.acknowledged == [sending.line.address]


def test_blocks_that_were_sent_long_ago_are_sent_again(sending):
    break_after(sending, 4)
    sending.seconds += REMEMBERED_SECONDS + 1
    sending.attempt()
    assert len(sending.line.carried) == 4 + 5


@pytest.mark.parametrize("share_index", [-1, 0, 256, 2**70])
def test_attack_receipt_with_an_impossible_share_index_is_named_as_that_custodians_fault(
    sending, monkeypatch, share_index
):
    honest = sending.line.deposit

    def deposit(batch: DepositBatch, ciphertext_bytes: int) -> DepositReceipts:
        (receipt,) = honest(batch, ciphertext_bytes).receipts
        return DepositReceipts(receipts=(receipt.model_copy(update={"share_index": share_index}),))

    monkeypatch.setattr(sending.line, "deposit", deposit)
    with pytest.raises(PeerFailed, match=r"Busan Hospital \(0x.*receipt for something else"):
        sending.attempt()
    assert (sending.acknowledged, sending.unforeseen.by_place()) == ([], {})


@pytest.mark.parametrize("error", [RecursionError, OverflowError, KeyError])
def test_attack_deposits_answer_that_breaks_a_library_is_that_custodians_failure(sending, monkeypatch, error):
    def deposit(batch: DepositBatch, ciphertext_bytes: int) -> DepositReceipts:
        raise error("secret words")

    monkeypatch.setattr(sending.line, "deposit", deposit)
    with pytest.raises(PeerFailed, match=f"Busan Hospital.*{error.__name__}"):
        sending.attempt()
    assert (sending.acknowledged, sending.unforeseen.by_place()) == ([], {"deposits": 1})


def test_time_for_a_deposit_grows_with_what_is_hashed(sending, monkeypatch):
    waited: list[float] = []
    peer = PeerNode(SimpleNamespace(address=bytes(20), name="x", endpoint="http://x"), None, None)
    monkeypatch.setattr(peer, "_message", lambda *_, seconds, **__: waited.append(seconds))
    for seconds in (0, 100):
        peer.deposit(DepositBatch.model_construct(), seconds * HASHED_BYTES_PER_SECOND)
    assert waited == [DEPOSIT_SECONDS, DEPOSIT_SECONDS + 100]


def test_time_for_a_publication_grows_with_its_ciphertext_up_to_what_custodians_take():
    assert publish_seconds(100_000) == PUBLISH_SECONDS
    assert publish_seconds(2 * 1024**3) == PUBLISH_SECONDS + 2048
    assert publish_seconds(2**50) == 12 * 3600
