"""Release: each rule refuses by itself, and what is released opens for the permitted key alone."""

from dataclasses import replace

import pytest
from custody_world import CustodyWorld

from crypto.envelope import wrong_shares
from crypto.errors import OpenError
from crypto.hpke import EncryptionKey
from crypto.release import ReleaseBinding, ReleaseReceipt, open_release, verify_receipt
from ledger.entities import ConsentStatus, PatientStatus, RecordStatus
from node.errors import InvalidRequest, Unavailable
from node.release import HEAD_AGE_SECONDS, PERMIT_AGE_SECONDS
from vocabulary import Category, Purpose, Reason


class Permitted:
    """A deposited, published record and a permit for the third member to read it."""

    def __init__(self, world: CustodyWorld, **permit) -> None:
        self.world = world
        self.sealed = world.seal()
        world.deposit(world.custodian, self.sealed)
        self.record = world.land(self.sealed)
        self.consent = world.grant(world.third)
        self.key = EncryptionKey.generate()
        self.sequence = world.permit(world.third, self.sealed, self.consent, self.key, **permit)

    def release(self, caller=None, key=None, sequence=None):
        request = self.world.release_request(self.sealed, sequence or self.sequence, key or self.key)
        caller = caller or self.world.third.address
        (answer,) = self.world.custodian.release.release(caller, request).releases
        return answer

    def refusal(self, **changes) -> str:
        answer = self.release(**changes)
        assert answer.sealed is None
        assert answer.receipt is None
        return answer.refusal

    def binding(self) -> ReleaseBinding:
        identity = self.sealed.record.header.identity
        return ReleaseBinding(
            identity.chain_id,
            identity.contract,
            identity.patient,
            self.sequence,
            identity.record_id,
            2,
            1,
            self.world.custodian.address,
        )


@pytest.fixture
def permitted(custody_world):
    return Permitted(custody_world)


def test_release_permitted_gives_the_committed_share_and_a_signed_journalled_receipt(permitted):
    answer = permitted.release()
    opened = open_release(answer.sealed, permitted.key, permitted.binding())
    assert wrong_shares(permitted.sealed.record.header, {2: opened.share}) == ()
    assert opened.consent_wrap == permitted.sealed.record.consent_wrap
    receipt = ReleaseReceipt.from_bytes(answer.receipt)
    verify_receipt(receipt, answer.receipt_signature)
    assert receipt.requester == permitted.world.third.address
    (logged,) = permitted.world.custodian.release.for_patient(permitted.world.patient)
    assert (logged.sequence, logged.record_id) == (permitted.sequence, permitted.sealed.record_id)


def test_release_opens_for_no_other_key(permitted):
    answer = permitted.release()
    with pytest.raises(OpenError):
        open_release(answer.sealed, EncryptionKey.generate(), permitted.binding())


def test_release_without_a_final_permit_is_refused(permitted, monkeypatch):
    monkeypatch.setattr("node.release.CATCH_UP_SECONDS", 0.0)
    assert "final" in permitted.refusal(sequence=permitted.sequence + 1)


def test_release_of_a_denied_access_is_refused(custody_world):
    denied = Permitted(custody_world, reason=int(Reason.CONSENT_EXPIRED))
    assert "consent expired" in denied.refusal()


def test_release_to_another_member_than_the_requester_is_refused(permitted):
    assert "another member" in permitted.refusal(caller=permitted.world.stranger.address)


def test_release_of_another_record_than_the_permits_is_refused(permitted):
    other = permitted.world.seal()
    permitted.world.deposit(permitted.world.custodian, other)
    permitted.world.land(other)
    permitted.sealed = other
    assert "another record" in permitted.refusal()


def test_release_to_another_key_than_the_permits_is_refused(permitted):
    assert "another response key" in permitted.refusal(key=EncryptionKey.generate())


def test_release_against_an_old_permit_is_refused(permitted):
    permitted.world.publish_state(seconds=PERMIT_AGE_SECONDS)
    assert permitted.release().sealed is not None
    permitted.world.publish_state(seconds=1)
    assert "old" in permitted.refusal()


def test_release_with_a_stale_head_is_refused_altogether(permitted):
    permitted.world.custodian.head_clock.seconds += HEAD_AGE_SECONDS
    assert permitted.release().sealed is not None
    permitted.world.custodian.head_clock.seconds += 0.1
    with pytest.raises(Unavailable) as refused:
        permitted.release()
    assert refused.value.code == "stale-head"


def test_release_after_a_revocation_in_between_is_refused(permitted):
    state, consent = permitted.world.state, permitted.consent
    state.consents[consent.consent_id] = replace(consent, status=ConsentStatus.REVOKED)
    permitted.world.publish_state()
    assert "consent revoked" in permitted.refusal()


def test_release_after_a_restriction_in_between_is_refused(permitted):
    state, record = permitted.world.state, permitted.record
    status = record.status | RecordStatus.RESTRICTED
    state.records[record.record_id] = replace(record, status=status)
    permitted.world.publish_state()
    assert "record restricted" in permitted.refusal()


def test_release_after_a_retraction_in_between_is_refused(permitted):
    state, record = permitted.world.state, permitted.record
    status = record.status | RecordStatus.RETRACTED
    state.records[record.record_id] = replace(record, status=status)
    permitted.world.publish_state()
    assert "record retracted" in permitted.refusal()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": PatientStatus.FROZEN}, "patient frozen"),
        ({"deny_categories": Category.LABORATORY.bit}, "category denied"),
        ({"deny_purposes": Purpose.TREAT.bit}, "purpose denied"),
    ],
)
def test_release_after_the_patient_denied_or_froze_is_refused(permitted, change, words):
    state, patient = permitted.world.state, permitted.world.patient
    state.patients[patient] = replace(state.patients[patient], **change)
    permitted.world.publish_state()
    assert words in permitted.refusal()


def test_release_to_a_member_suspended_in_between_is_refused(permitted):
    permitted.world.change_member(permitted.world.third, active=False)
    assert "member suspended" in permitted.refusal()


def test_release_after_the_last_use_is_given_since_the_access_took_it(permitted):
    state, consent = permitted.world.state, permitted.consent
    state.consents[consent.consent_id] = replace(consent, max_uses=1, uses=1)
    permitted.world.publish_state()
    assert permitted.release().sealed is not None


def test_release_without_a_deposit_is_refused(permitted):
    other = permitted.world.seal()
    permitted.world.land(other)
    sequence = permitted.world.permit(permitted.world.third, other, permitted.consent, permitted.key)
    permitted.sealed = other
    assert "no deposit" in permitted.refusal(sequence=sequence)


def test_release_with_a_malformed_response_key_is_refused(permitted):
    request = permitted.world.release_request(permitted.sealed, permitted.sequence, permitted.key)
    broken = request.model_copy(update={"response_public_key": b"\x00" * 7})
    with pytest.raises(InvalidRequest, match="response key"):
        permitted.world.custodian.release.release(permitted.world.third.address, broken)


def test_release_repeated_to_the_same_key_is_given_again_and_journalled_again(permitted):
    assert permitted.release().sealed != permitted.release().sealed
    assert len(permitted.world.custodian.release.for_patient(permitted.world.patient)) == 2


def test_release_of_several_records_answers_each_by_itself(permitted):
    request = permitted.world.release_request(permitted.sealed, permitted.sequence, permitted.key)
    wrong = request.items[0].model_copy(update={"record_id": bytes(32)})
    both = request.model_copy(update={"items": (wrong, *request.items)})
    answers = permitted.world.custodian.release.release(permitted.world.third.address, both)
    assert [answer.sealed is None for answer in answers.releases] == [True, False]
    assert list(answers.header_by_record) == ["0x" + permitted.sealed.record_id.hex()]
