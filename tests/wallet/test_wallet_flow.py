"""A person's wallet against real nodes: register, read, grant, revoke, deny, restrict, end, freeze."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_fixtures import Network
from records_flow import condition, observation
from wallet_flow import Person, consented

from vocabulary import Category, Purpose, Reason
from wallet import (
    ConsentState,
    GrantWish,
    HistoryKind,
    NothingToDo,
    RelationshipStatus,
    UnknownName,
    Wallet,
)

LAB, PROBLEM = Category.LABORATORY, Category.CONDITION


@pytest.fixture
def person(network: Network, tmp_path: Path) -> Iterator[Person]:
    made = Person.begin(network, tmp_path)
    yield made
    made.wallet.close()


def state(person: Person, consent_id: bytes) -> ConsentState:
    return next(item.state for item in person.wallet.consents() if item.consent_id == consent_id)


def test_create_leaves_a_private_vault_and_a_backup_at_two_nodes(network: Network, tmp_path: Path) -> None:
    person = Person.begin(network, tmp_path, providers=0)
    assert len(person.phrase.words) == 24
    assert person.path.stat().st_mode & 0o777 == 0o600
    assert len(person.wallet.backup()) >= 2
    assert {node.name for node in person.wallet.nodes} == {member.name for member in network.members}
    person.wallet.close()


def test_register_then_again_is_refused_and_the_backup_came_first(person: Person) -> None:
    hospital = person.network.members[0]
    assert person.wallet.relationships[0].status is RelationshipStatus.ACTIVE
    assert person.steps.index("backup stored") < person.steps.index("registration requested")
    with pytest.raises(NothingToDo, match="already"):
        person.wallet.request_registration(hospital.name)


def test_register_asked_twice_before_it_is_confirmed_keeps_the_pseudonym(person: Person) -> None:
    other = person.network.members[1].name
    first = person.wallet.request_registration(other)
    assert person.wallet.complete_registrations() == ()
    second = person.wallet.request_registration(other)
    assert first.patient == second.patient
    assert first.code != second.code


def test_register_with_a_name_that_nobody_has_lists_the_members(person: Person) -> None:
    with pytest.raises(UnknownName, match="Seoul Hospital"):
        person.wallet.request_registration("Soul Hospital")


def test_read_own_record_gives_the_exact_bytes_that_the_hospital_signed(person: Person) -> None:
    hospital = person.network.members[0]
    (record_id,) = person.publish(hospital, observation(7.25))
    opened = person.wallet.read(record_id)
    assert opened.media_type == "application/fhir+json"
    assert opened.author == hospital.address
    values = [
        entry["resource"]["valueQuantity"]["value"]
        for entry in json.loads(opened.content)["entry"]
        if entry["resource"]["resourceType"] == "Observation"
    ]
    assert values == [7.25]
    reads = [entry for entry in person.wallet.history() if entry.kind is HistoryKind.OWN_READ]
    assert [entry.record_id for entry in reads] == [record_id]


def test_find_record_by_its_first_digits(person: Person) -> None:
    (record_id,) = person.publish(person.network.members[0])
    assert person.wallet.find_record("0x" + record_id.hex()[:12]).record_id == record_id
    with pytest.raises(UnknownName):
        person.wallet.find_record("0x" + "0" * 64)


def test_grant_then_read_then_revoke_shuts_what_comes_later_and_lists_what_was_read(person: Person) -> None:
    hospital, reader, stays = person.network.members
    patient = person.wallet.relationships[0].patient
    first, problem = sorted(
        person.publish(hospital, observation(1.0), condition()),
        key=lambda record_id: person.wallet.find_record("0x" + record_id.hex()).category is PROBLEM,
    )
    leaving = person.grant(reader, LAB)
    staying = person.grant(stays, LAB, PROBLEM)
    assert consented(reader)[-1].introduction == "Jini, born in spring"
    answers = person.read_by(reader, patient, first, problem).records
    assert [answer.reason for answer in answers] == [Reason.PERMITTED, Reason.CATEGORY_NOT_COVERED]
    assert answers[0].content is not None

    preview = person.wallet.preview_revocation(leaving)
    assert (preview.records_lost, preview.records_read, preview.reads) == (1, 1, 1)
    assert preview.rotated == (LAB,)
    assert preview.staying == (stays.name,)
    receipt = person.wallet.revoke(leaving)

    assert receipt.consent.state is ConsentState.REVOKED
    assert len(receipt.confirmed_by) == 2
    assert (receipt.epoch, receipt.rotated, receipt.undelivered) == (2, (LAB,), ())
    (permit,) = receipt.permits
    assert (permit.record_id, permit.requester_name, permit.purpose) == (first, reader.name, Purpose.TREAT)
    assert len(permit.releases) >= 2
    assert len(receipt.keyring_nodes) >= 2
    order = [
        person.steps.index(step)
        for step in ("revocation journalled", "new secrets delivered", "the revocation: sent")
    ]
    assert order == sorted(order)
    assert person.wallet.unfinished == ()

    (later,) = person.publish(hospital, observation(2.0))
    assert person.read_by(reader, patient, later).records[0].reason is Reason.CONSENT_REVOKED
    seen = person.read_by(stays, patient, first, later, problem).records
    assert [answer.failure for answer in seen] == [None, None, None]
    assert all(answer.content for answer in seen)
    assert person.wallet.read(later).content
    assert state(person, staying) is ConsentState.ACTIVE
    with pytest.raises(NothingToDo, match="revoked already"):
        person.wallet.revoke(leaving)
    assert person.wallet.revocation_receipt(leaving).permits == receipt.permits
    kinds = [(entry.requester_name, entry.reason) for entry in person.wallet.history() if entry.reason]
    assert (reader.name, Reason.CONSENT_REVOKED) in kinds


def test_grant_of_one_record_opens_that_record_alone_and_rotates_nothing(person: Person) -> None:
    hospital, reader, _ = person.network.members
    patient = person.wallet.relationships[0].patient
    (first,) = person.publish(hospital, observation(1.0))
    (second,) = person.publish(hospital, observation(2.0))
    consent_id = person.grant(reader, record_id=first)
    answers = person.read_by(reader, patient, first, second).records
    assert [answer.reason for answer in answers] == [Reason.PERMITTED, Reason.NO_CONSENT]
    assert answers[0].content == person.wallet.read(first).content
    receipt = person.wallet.revoke(consent_id)
    assert (receipt.epoch, receipt.rotated) == (None, ())
    assert person.read_by(reader, patient, first).records[0].reason is Reason.CONSENT_REVOKED


def test_restrict_closes_a_record_to_category_consents_and_unrestrict_opens_it(person: Person) -> None:
    hospital, reader, _ = person.network.members
    patient = person.wallet.relationships[0].patient
    (record_id,) = person.publish(hospital)
    person.grant(reader, LAB)
    assert person.wallet.preview_restrict(record_id).losing == (reader.name,)
    person.wallet.restrict(record_id)
    person.network.wait_for_all()
    assert person.read_by(reader, patient, record_id).records[0].reason is Reason.RECORD_RESTRICTED
    with pytest.raises(NothingToDo):
        person.wallet.restrict(record_id)
    person.wallet.unrestrict(record_id)
    person.network.wait_for_all()
    assert person.read_by(reader, patient, record_id).records[0].reason is Reason.PERMITTED


def test_deny_then_allow_of_a_category_and_a_purpose_changes_only_these(person: Person) -> None:
    hospital, reader, _ = person.network.members
    patient = person.wallet.relationships[0].patient
    (record_id,) = person.publish(hospital)
    consent_id = person.grant(reader, LAB)
    preview = person.wallet.preview_deny((LAB,), (Purpose.HRESCH,))
    assert preview.records_closed == 1
    assert [consent.consent_id for consent in preview.consents_affected] == [consent_id]
    (change,) = person.wallet.deny((LAB,), (Purpose.HRESCH,))
    assert change.categories_after == (LAB,)
    person.network.wait_for_all()
    assert person.read_by(reader, patient, record_id).records[0].reason is Reason.CATEGORY_DENIED
    with pytest.raises(NothingToDo):
        person.wallet.deny((LAB,))
    assert person.wallet.preview_allow((LAB,)).records_opened == 1
    (change,) = person.wallet.allow((LAB,))
    assert (change.categories_after, change.purposes_after) == ((), (Purpose.HRESCH,))
    person.network.wait_for_all()
    assert person.read_by(reader, patient, record_id).records[0].reason is Reason.PERMITTED


def test_end_stops_publishing_and_keeps_what_was_published(person: Person) -> None:
    hospital = person.network.members[0]
    patient = person.wallet.relationships[0].patient
    (record_id,) = person.publish(hospital)
    assert person.wallet.preview_end(patient).pseudonyms[0].records == 1
    assert person.wallet.end(patient).status is RelationshipStatus.ENDED
    person.network.wait_for_all()
    with pytest.raises(AssertionError):
        person.publish(hospital, observation(9.0))
    assert person.wallet.read(record_id).content
    with pytest.raises(NothingToDo):
        person.wallet.end(patient)


def test_freeze_denies_everything_for_good(person: Person) -> None:
    hospital, reader, _ = person.network.members
    patient = person.wallet.relationships[0].patient
    (record_id,) = person.publish(hospital)
    person.grant(reader, LAB)
    preview = person.wallet.preview_freeze()
    assert (preview.pseudonyms[0].records, preview.pseudonyms[0].live_consents) == (1, 1)
    (frozen,) = person.wallet.freeze()
    assert frozen.status is RelationshipStatus.FROZEN
    person.network.wait_for_all()
    assert person.read_by(reader, patient, record_id).records[0].reason is Reason.PATIENT_FROZEN
    wish = GrantWish((reader.name,), (Purpose.TREAT,), 1, categories=(LAB,))
    with pytest.raises(NothingToDo):
        person.wallet.preview_grant(wish)


def test_two_pseudonyms_are_joined_by_the_wallet_and_the_link_is_shown_before_signing(
    person: Person,
) -> None:
    hospital, other, reader = person.network.members
    person.register(other)
    first, second = person.wallet.relationships
    assert first.patient != second.patient
    (at_first,) = person.publish(hospital, observation(1.0))
    (at_second,) = person.publish(other, observation(2.0))
    overview = person.wallet.records()
    assert {record.record_id for record in overview.records} == {at_first, at_second}
    assert overview.failures == ()
    wish = GrantWish((reader.name,), (Purpose.TREAT,), 1, categories=(LAB,))
    preview = person.wallet.preview_grant(wish)
    assert [grant.records for grant in preview.grants] == [1, 1]
    assert preview.linked[0].provider_names == (other.name, hospital.name)
    outcome = person.wallet.grant(preview)
    assert [consent.delivered for consent in outcome.consents] == [True, True]
    for patient, record_id in ((first.patient, at_first), (second.patient, at_second)):
        assert person.read_by(reader, patient, record_id).records[0].content == (
            person.wallet.read(record_id).content
        )


def test_reopened_wallet_goes_on_where_it_was(person: Person) -> None:
    hospital, reader, _ = person.network.members
    (record_id,) = person.publish(hospital)
    consent_id = person.grant(reader, LAB, label="second opinion")
    person.reopen()
    assert person.wallet.read(record_id).content
    (summary,) = person.wallet.consents()
    assert (summary.consent_id, summary.label, summary.state) == (
        consent_id,
        "second opinion",
        ConsentState.ACTIVE,
    )
    assert isinstance(person.wallet, Wallet)
