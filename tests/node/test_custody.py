"""A custodian acknowledges only what it could release later, and never overwrites it."""

import secrets
from dataclasses import replace

import pytest
from custody_world import CustodyWorld

from crypto.statement import verify_statement
from ledger.entities import PatientStatus
from node.blocks import StoreIsFull
from node.custody import LONGEST_DEADLINE_SECONDS, DepositRefused, PatientUnknown
from node.errors import Conflict, InvalidRequest, NotAllowed
from vocabulary import Role, role_mask
from wire.custody import (
    DEPOSIT_RECEIPT_LABEL,
    DeliveredBlock,
    DepositBatch,
    DepositRequest,
    deposit_receipt_statement,
)


def deposit(world: CustodyWorld, sealed, **changes):
    return hand_in(world, world.request(sealed, **changes))


def hand_in(world: CustodyWorld, request: DepositRequest, caller: bytes | None = None):
    """One deposit, by the author unless told."""
    batch = DepositBatch(deposits=(request,))
    (receipt,) = world.custodian.custody.deposit(caller or world.author_identity.address, batch).receipts
    return receipt


def test_deposit_complete_signs_a_receipt_that_binds_record_header_and_share(custody_world):
    sealed = custody_world.seal()
    custody_world.put_blocks(custody_world.custodian, sealed)
    receipt = deposit(custody_world, sealed)
    own = custody_world.custodian.address
    body = deposit_receipt_statement(sealed.record_id, sealed.record.header.digest, 2, own)
    verify_statement(DEPOSIT_RECEIPT_LABEL, body, receipt.signature, own)
    assert (receipt.record_id, receipt.share_index, receipt.custodian) == (sealed.record_id, 2, own)
    held = custody_world.custodian.deposits.find(sealed.record_id, sealed.record.header.digest)
    assert held is not None
    assert held.custody_wrap == sealed.record.custody_wraps[1]


def test_deposit_repeated_gives_the_same_receipt_and_only_grows_the_deadline(custody_world):
    sealed = custody_world.seal()
    custody_world.put_blocks(custody_world.custodian, sealed)
    first = deposit(custody_world, sealed, deadline=custody_world.time + 1000)
    assert deposit(custody_world, sealed, deadline=custody_world.time + 2000) == first
    assert deposit(custody_world, sealed, deadline=custody_world.time + 500) == first
    held = custody_world.custodian.deposits.find(sealed.record_id, sealed.record.header.digest)
    assert held.deadline == custody_world.time + 2000


def test_deposit_of_a_ciphertext_of_several_blocks_is_taken(custody_world):
    sealed = custody_world.seal(secrets.token_bytes(3_000_000))
    assert len(tuple(sealed.blocks.cids())) > 3
    custody_world.put_blocks(custody_world.custodian, sealed)
    assert deposit(custody_world, sealed).record_id == sealed.record_id


def test_deposit_before_its_blocks_is_refused_and_nothing_is_kept(custody_world):
    sealed = custody_world.seal(secrets.token_bytes(3_000_000))
    cids = list(sealed.blocks.cids())
    for cid in cids[:-1]:
        custody_world.custodian.blocks.accept(
            custody_world.author_identity.address, str(cid), sealed.blocks.get(cid)
        )
    with pytest.raises(Conflict) as refused:
        deposit(custody_world, sealed)
    assert refused.value.code == "blocks-missing"
    assert custody_world.custodian.deposits.count() == (0, 0)


def test_deposit_by_another_provider_is_refused(custody_world):
    sealed = custody_world.seal()
    custody_world.put_blocks(custody_world.custodian, sealed)
    with pytest.raises(NotAllowed, match="author"):
        hand_in(
            custody_world,
            custody_world.request(sealed, signer=custody_world.stranger.account),
            custody_world.stranger.address,
        )


def test_deposit_by_a_provider_who_did_not_register_the_patient_is_refused(custody_world):
    sealed = custody_world.seal(author=custody_world.stranger)
    custody_world.put_blocks(custody_world.custodian, sealed)
    request = custody_world.request(sealed, signer=custody_world.stranger.account)
    with pytest.raises(NotAllowed, match="registered patient"):
        hand_in(custody_world, request, custody_world.stranger.address)


def test_deposit_a_moment_before_the_registration_is_seen_waits_for_it(custody_world):
    sealed = custody_world.seal()
    custody_world.put_blocks(custody_world.custodian, sealed)
    registered = custody_world.state.patients.pop(custody_world.patient)
    custody_world.publish_state()
    request = custody_world.request(sealed)

    def register() -> None:
        custody_world.state.patients[custody_world.patient] = registered
        custody_world.publish_state()

    # The custodian asks for the next block, which is when the registration arrives.
    custody_world.custodian.ledger._wake = register
    assert hand_in(custody_world, request).record_id == sealed.record_id


def test_deposit_for_a_patient_who_is_never_registered_is_refused_as_passing(custody_world, monkeypatch):
    monkeypatch.setattr("node.custody.CATCH_UP_SECONDS", 0.05)
    sealed = custody_world.seal()
    custody_world.put_blocks(custody_world.custodian, sealed)
    request = custody_world.request(sealed)
    del custody_world.state.patients[custody_world.patient]
    custody_world.publish_state()
    with pytest.raises(PatientUnknown, match="ask again") as caught:
        hand_in(custody_world, request)
    assert caught.value.status == 503


@pytest.mark.parametrize("change", [{"active": False}, {"roles": role_mask((Role.CUSTODIAN,))}])
def test_deposit_by_a_suspended_member_or_one_without_the_role_is_refused(custody_world, change):
    sealed = custody_world.seal()
    custody_world.put_blocks(custody_world.custodian, sealed)
    custody_world.change_member(custody_world.author_identity, **change)
    with pytest.raises(NotAllowed, match="active provider"):
        deposit(custody_world, sealed)


def test_deposit_signed_by_someone_else_is_refused(custody_world):
    sealed = custody_world.seal()
    custody_world.put_blocks(custody_world.custodian, sealed)
    with pytest.raises(DepositRefused, match="not signed by its author"):
        deposit(custody_world, sealed, signer=custody_world.stranger.account)


def test_deposit_meant_for_another_custodian_is_refused(custody_world):
    sealed = custody_world.seal()
    custody_world.put_blocks(custody_world.custodian, sealed)
    request = custody_world.request(sealed, custody_world.third)
    with pytest.raises(DepositRefused):
        hand_in(custody_world, request)


@pytest.mark.parametrize("field", ["owner_wrap", "consent_wrap", "custody_wrap"])
def test_deposit_with_a_wrap_that_the_header_does_not_name_is_refused(custody_world, field):
    sealed, other = custody_world.seal(), custody_world.seal()
    custody_world.put_blocks(custody_world.custodian, sealed)
    wraps = {
        "owner_wrap": other.record.owner_wrap,
        "consent_wrap": other.record.consent_wrap,
        "custody_wrap": other.record.custody_wraps[1],
    }
    with pytest.raises(DepositRefused, match="names"):
        deposit(custody_world, sealed, **{field: wraps[field]})
    assert custody_world.custodian.deposits.count() == (0, 0)


def test_deposit_with_a_header_below_the_networks_threshold_is_refused(custody_world):
    custody_world.state.minimum_threshold = 3
    custody_world.publish_state()
    sealed = custody_world.seal()
    custody_world.put_blocks(custody_world.custodian, sealed)
    with pytest.raises(DepositRefused, match="threshold"):
        deposit(custody_world, sealed)


def test_deposit_with_a_share_for_a_member_without_the_role_is_refused(custody_world):
    sealed = custody_world.seal(
        custodians=(custody_world.author_identity, custody_world.custodian_identity, custody_world.stranger)
    )
    custody_world.put_blocks(custody_world.custodian, sealed)
    with pytest.raises(DepositRefused, match="CUSTODIAN"):
        deposit(custody_world, sealed)


@pytest.mark.parametrize("seconds", [-10, LONGEST_DEADLINE_SECONDS + 100])
def test_deposit_with_a_deadline_in_the_past_or_far_ahead_is_refused(custody_world, seconds):
    sealed = custody_world.seal()
    custody_world.put_blocks(custody_world.custodian, sealed)
    with pytest.raises(DepositRefused, match="deadline"):
        deposit(custody_world, sealed, deadline=custody_world.time + seconds)


def test_deposit_after_the_record_is_on_the_ledger_is_taken_past_any_deadline(custody_world):
    sealed = custody_world.seal()
    custody_world.put_blocks(custody_world.custodian, sealed)
    custody_world.land(sealed)
    deposit(custody_world, sealed, deadline=1)
    assert custody_world.custodian.deposits.count() == (1, 0)


def test_deposit_of_a_record_published_under_another_header_is_refused(custody_world):
    sealed = custody_world.seal()
    custody_world.put_blocks(custody_world.custodian, sealed)
    record = custody_world.land(sealed)
    custody_world.state.records[record.record_id] = replace(record, header_digest=bytes(32))
    custody_world.publish_state()
    with pytest.raises(Conflict) as refused:
        deposit(custody_world, sealed)
    assert refused.value.code == "published-otherwise"


def test_deposit_for_a_frozen_pseudonym_is_refused(custody_world):
    sealed = custody_world.seal()
    custody_world.put_blocks(custody_world.custodian, sealed)
    patient = custody_world.state.patients[custody_world.patient]
    custody_world.state.patients[custody_world.patient] = replace(patient, status=PatientStatus.FROZEN)
    custody_world.publish_state()
    with pytest.raises(DepositRefused, match="froze"):
        deposit(custody_world, sealed)


def test_deposit_of_another_ledgers_record_is_refused(custody_world):
    sealed = custody_world.seal()
    custody_world.put_blocks(custody_world.custodian, sealed)
    identity = replace(sealed.record.header.identity, contract=bytes(20))
    header = replace(sealed.record.header, identity=identity).to_bytes()
    with pytest.raises(DepositRefused, match="another"):
        deposit(custody_world, sealed, header=header)


@pytest.mark.parametrize("header", [b"", b"\xff" * 40, b"\xa0"])
def test_deposit_with_a_header_that_is_none_is_refused(custody_world, header):
    with pytest.raises(InvalidRequest):
        deposit(custody_world, custody_world.seal(), header=header)


def test_put_block_with_the_bytes_of_another_is_refused_and_not_kept(custody_world):
    sealed, other = custody_world.seal(), custody_world.seal()
    (cid,), (wrong,) = sealed.blocks.cids(), other.blocks.cids()
    with pytest.raises(InvalidRequest) as refused:
        custody_world.custodian.blocks.accept(
            custody_world.stranger.address, str(cid), other.blocks.get(wrong)
        )
    assert refused.value.code == "block-mismatch"
    assert not custody_world.custodian.store.has(cid)
    assert not custody_world.custodian.store.has(wrong)


def test_put_block_and_deposit_into_the_reserve_of_the_disk_are_refused(custody_world):
    sealed = custody_world.seal()
    custody_world.put_blocks(custody_world.custodian, sealed)
    blocks = custody_world.custodian.blocks
    blocks._free_bytes, blocks._reserve_bytes = (lambda: 10_000), 9_999
    (cid,) = sealed.blocks.cids()
    with pytest.raises(StoreIsFull):
        blocks.accept(custody_world.author_identity.address, str(cid), sealed.blocks.get(cid))
    with pytest.raises(StoreIsFull):
        deposit(custody_world, sealed)
    assert custody_world.custodian.deposits.count() == (0, 0)


def test_deposit_of_several_records_with_their_blocks_is_taken_whole(custody_world):
    several = [custody_world.seal(secrets.token_bytes(100)) for _ in range(3)]
    blocks = tuple(
        DeliveredBlock(cid=str(cid), block=one.blocks.get(cid))
        for one in several
        for cid in one.blocks.cids()
    )
    batch = DepositBatch(deposits=tuple(custody_world.request(one) for one in several), blocks=blocks)
    answer = custody_world.custodian.custody.deposit(custody_world.author_identity.address, batch)
    assert [receipt.record_id for receipt in answer.receipts] == [one.record_id for one in several]
    assert custody_world.custodian.deposits.count() == (3, 3)


def test_deposit_of_several_records_with_one_bad_one_is_refused_whole(custody_world):
    good, bad = custody_world.seal(), custody_world.seal()
    blocks = tuple(
        DeliveredBlock(cid=str(cid), block=one.blocks.get(cid))
        for one in (good, bad)
        for cid in one.blocks.cids()
    )
    requests = (
        custody_world.request(good),
        custody_world.request(bad, consent_wrap=good.record.consent_wrap),
    )
    with pytest.raises(DepositRefused):
        custody_world.custodian.custody.deposit(
            custody_world.author_identity.address, DepositBatch(deposits=requests, blocks=blocks)
        )
    assert custody_world.custodian.deposits.count() == (0, 0)


def test_deposit_with_a_block_under_anothers_cid_is_refused_whole(custody_world):
    sealed = custody_world.seal()
    (cid,) = sealed.blocks.cids()
    batch = DepositBatch(
        deposits=(custody_world.request(sealed),), blocks=(DeliveredBlock(cid=str(cid), block=b"other"),)
    )
    with pytest.raises(InvalidRequest) as refused:
        custody_world.custodian.custody.deposit(custody_world.author_identity.address, batch)
    assert refused.value.code == "block-mismatch"
    assert not custody_world.custodian.store.has(cid)
