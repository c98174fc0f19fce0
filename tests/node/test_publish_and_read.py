"""The whole way of a record through a real consortium: published, consented, read, corrected, withdrawn."""

import json

import pytest
from node_fixtures import Network
from node_processes import wait_until
from records_flow import Case, bundle, condition, files_of, observation

from crypto.envelope import open_with_owner_key, read_header
from crypto.payload import unpack
from node import sealing
from node.release import identity_of
from storage import Cid, unixfs
from vocabulary import Category, Purpose, Reason
from wire.patients import OwnCopy, RecordsView
from wire.staff import Publication


@pytest.fixture
def case(network: Network) -> Case:
    return Case.begin(network)


def test_publish_bundle_of_two_categories_puts_two_records_on_the_ledger_and_at_every_custodian(case):
    publication = case.publish(observation(5.4), condition())
    assert publication.state == "published"
    assert {record.category for record in publication.records} >= {Category.LABORATORY, Category.CONDITION}
    state = case.provider.node.ledger.snapshot().state
    for record in publication.records:
        on_ledger = state.records[record.record_id]
        for member in case.network.members:
            wait_until(
                lambda find=member.node.records.deposits.find, record=on_ledger: (
                    find(record.record_id, record.header_digest) is not None
                ),
                f"{member.name} holds it",
            )


def test_publish_same_bundle_again_publishes_nothing_new(case):
    content = bundle(case.number, observation(5.4))
    first = Publication.model_validate_json(case.post_bundle(content).content)
    again = Publication.model_validate_json(case.post_bundle(content).content)
    assert [record.record_id for record in again.records] == [record.record_id for record in first.records]
    assert [record.already_published for record in first.records] == [False] * len(first.records)
    assert all(record.already_published for record in again.records)
    assert again.state == "published"


def test_publish_grown_bundle_publishes_only_what_is_new(case):
    result, problem = observation(5.4), condition()
    case.post_bundle(bundle(case.number, result))
    grown = Publication.model_validate_json(case.post_bundle(bundle(case.number, result, problem)).content)
    by_category = {record.category: record.already_published for record in grown.records}
    assert by_category[Category.LABORATORY] is True
    assert by_category[Category.CONDITION] is False


def test_publish_another_patients_bundle_is_refused(case):
    answer = case.post_bundle(bundle("MRN-of-someone-else", observation(5.4)))
    assert answer.status_code == 422
    assert "someone-else" not in answer.text


def test_publish_for_an_unknown_identifier_is_not_found(case):
    answer = case.provider.call(
        "POST", "/staff/publications", bundle("1", observation(1)), staff=True, about=("urn:x", "1")
    )
    assert answer.status_code == 404


def test_publish_what_is_no_fhir_is_refused_with_its_place(case):
    answer = case.post_bundle(b'{"resourceType": "Bundle", "type": "nonsense"}')
    assert answer.status_code == 422
    assert "Bundle.type" in answer.json()["detail"]


def test_publish_leaves_no_plaintext_in_the_node_directory(case):
    case.publish(observation(5.4), condition("Xyzzyphobia"))
    for member in case.network.members:
        for path, content in files_of(member.directory):
            assert b"Xyzzyphobia" not in content, path
            assert b"Hwang-Sensitive" not in content, path


def test_read_with_consent_gives_the_exact_bytes_with_the_authors_signature_checked(case):
    publication = case.publish(observation(1.10), condition())
    reader = case.network.members[1]
    case.grant(reader)
    answer = case.read(reader)
    assert {record.reason for record in answer.records} == {Reason.PERMITTED}
    assert [record.failure for record in answer.records] == [None] * len(answer.records)
    assert {record.record_id for record in answer.records} == {r.record_id for r in publication.records}
    laboratory = next(record for record in answer.records if record.category is Category.LABORATORY)
    assert b'"value": 1.1' in laboratory.content
    assert json.loads(laboratory.content)["resourceType"] == "Bundle"
    assert laboratory.author == case.provider.address


def test_read_is_logged_with_a_person_that_the_member_can_open(case):
    case.publish()
    reader = case.network.members[1]
    case.grant(reader)
    (record,) = case.read(reader).records
    access = reader.node.ledger.access(case.patient.address, record.sequence)
    assert access.requester == reader.address
    auditor = case.network.member("Jeju Clinic")
    request = json.dumps({"patient": "0x" + case.patient.address.hex(), "sequence": record.sequence}).encode()
    opened = reader.call("POST", "/audit/openings", request, key=auditor.node.identity.request_key)
    assert opened.status_code == 200
    assert opened.json()["commitment"] == "0x" + access.person_commitment.hex()


def test_attack_author_seals_other_content_than_it_committed_to_is_named(case, monkeypatch):
    monkeypatch.setattr("node.sealing.commitment", lambda payload: bytes(32))
    case.publish()
    case.grant(case.network.members[1])
    (record,) = case.read(case.network.members[1]).records
    assert record.content is None
    assert "committed to on the ledger" in record.failure
    assert case.provider.address.hex() in record.failure


def test_attack_author_signs_other_bytes_than_it_sealed_is_named(case, monkeypatch):
    honest = sealing.sign_detached
    monkeypatch.setattr(
        sealing,
        "sign_detached",
        lambda key, content, *more, **named: honest(key, content + b" ", *more, **named),
    )
    case.publish()
    case.grant(case.network.members[1])
    (record,) = case.read(case.network.members[1]).records
    assert record.content is None
    assert record.failure is not None


def test_read_without_consent_is_denied_and_the_denial_is_logged(case):
    case.publish()
    (record,) = case.read(case.network.members[1]).records
    assert (record.reason, record.content) == (Reason.NO_CONSENT, None)
    case.network.wait_for_all()
    access = case.provider.node.ledger.access(case.patient.address, record.sequence)
    assert access.reason is Reason.NO_CONSENT


def test_read_after_revocation_is_denied(case):
    case.publish()
    reader = case.network.members[1]
    terms = case.grant(reader)
    assert case.read(reader).records[0].content is not None
    case.revoke(terms)
    (record,) = case.read(reader).records
    assert (record.reason, record.content) == (Reason.CONSENT_REVOKED, None)


def test_read_for_another_purpose_is_denied(case):
    case.publish()
    reader = case.network.members[1]
    case.grant(reader)
    (record,) = case.read(reader, purpose=Purpose.HPAYMT).records
    assert record.reason is Reason.PURPOSE_NOT_COVERED


def test_read_decide_only_logs_and_fetches_nothing(case):
    case.publish()
    reader = case.network.members[1]
    case.grant(reader)
    (record,) = case.read(reader, decide_only=True).records
    assert (record.reason, record.content, record.failure) == (Reason.PERMITTED, None, None)


def test_read_with_two_uses_left_of_three_records_opens_two(case):
    case.publish(observation(5.4), condition())
    case.publish(observation(6.1, "2024-04-01"))
    reader = case.network.members[1]
    case.grant(reader, max_uses=2)
    answer = case.read(reader)
    reasons = sorted(record.reason for record in answer.records)
    assert reasons.count(Reason.PERMITTED) == 2
    assert set(reasons) == {Reason.PERMITTED, Reason.USES_EXHAUSTED}
    assert sum(record.content is not None for record in answer.records) == 2


def test_read_without_the_patients_keys_says_so_and_names_no_custodian(case):
    case.publish()
    reader = case.network.members[1]
    case.grant(reader, deliver=False)
    (record,) = case.read(reader).records
    assert record.reason is Reason.PERMITTED
    assert record.content is None
    assert "wallet has not delivered" in record.failure


def test_read_one_record_by_id_and_by_category(case):
    publication = case.publish(observation(5.4), condition())
    reader = case.network.members[1]
    case.grant(reader)
    wanted = publication.records[0].record_id
    assert [record.record_id for record in case.read(reader, record_ids=(wanted,)).records] == [wanted]
    by_category = case.read(reader, categories=(Category.CONDITION,)).records
    assert {record.category for record in by_category} == {Category.CONDITION}


def test_read_record_of_another_patient_is_refused(case):
    publication = case.publish()
    other = Case.begin(case.network)
    answer = other.ask(case.network.members[1], record_ids=(publication.records[0].record_id,))
    assert answer.status_code == 400


def test_correct_supersedes_the_record_and_both_stay_readable(case):
    (record,) = case.publish().records
    reader = case.network.members[1]
    case.grant(reader)
    content = bundle(case.number, observation(5.9))
    answer = case.provider.call(
        "POST", f"/staff/records/0x{record.record_id.hex()}/correction", content, staff=True
    )
    assert answer.status_code == 200, answer.text
    (fresh,) = Publication.model_validate_json(answer.content).records
    case.network.wait_for_all()
    assert [one.record_id for one in case.read(reader).records] == [fresh.record_id]
    old, new = case.read(reader, record_ids=(record.record_id, fresh.record_id)).records
    assert b"5.4" in old.content
    assert b"5.9" in new.content


def test_correct_with_another_category_is_refused(case):
    (record,) = case.publish().records
    path = f"/staff/records/0x{record.record_id.hex()}/correction"
    answer = case.provider.call("POST", path, bundle(case.number, condition()), staff=True)
    assert answer.status_code == 422


def test_retract_denies_every_read_and_lets_the_same_content_be_published_anew(case):
    content = bundle(case.number, observation(5.4))
    (record,) = Publication.model_validate_json(case.post_bundle(content).content).records
    path = f"/staff/records/0x{record.record_id.hex()}/retraction"
    for _ in range(2):
        answer = case.provider.call("POST", path, staff=True)
        assert answer.status_code == 200
        assert answer.json()["retracted"] is True
    reader = case.network.members[1]
    case.grant(reader)
    (denied,) = case.read(reader, record_ids=(record.record_id,)).records
    assert denied.reason is Reason.RECORD_RETRACTED
    (fresh,) = Publication.model_validate_json(case.post_bundle(content).content).records
    assert fresh.record_id != record.record_id
    assert fresh.already_published is False


def test_retract_by_another_member_is_not_found(case):
    (record,) = case.publish().records
    path = f"/staff/records/0x{record.record_id.hex()}/retraction"
    assert case.network.members[1].call("POST", path, staff=True).status_code == 404


def test_records_of_a_patient_are_listed_by_identifier(case):
    publication = case.publish(observation(5.4), condition())
    answer = case.provider.call("GET", "/staff/records", staff=True, about=case.about)
    view = RecordsView.model_validate_json(answer.content)
    assert {record.record_id for record in view.records} == {r.record_id for r in publication.records}


def test_own_copy_opens_by_the_owner_key_alone_and_is_logged(case):
    (record,) = case.publish().records
    path = f"{case.patient.path}/records/0x{record.record_id.hex()}/own-copy"
    answer = case.provider.call("GET", path, key=case.patient.key)
    assert answer.status_code == 200, answer.text
    copy = OwnCopy.model_validate_json(answer.content)
    node = case.provider.node
    on_ledger = node.ledger.snapshot().state.records[record.record_id]
    identity = identity_of(node.ledger.scope, on_ledger)
    header = read_header(copy.header, on_ledger.header_digest, identity)

    class OwnBlocks:
        def get(self, cid: Cid) -> bytes:
            answer = case.provider.call("GET", f"/blocks/{cid}", key=case.patient.key)
            assert answer.status_code == 200, answer.text
            return answer.content

    ciphertext = b"".join(unixfs.cat(OwnBlocks(), Cid.parse(header.ciphertext_cid)))
    packed = open_with_owner_key(case.patient.keyring.owner, copy.owner_wrap, header, ciphertext, identity)
    assert b"5.4" in unpack(packed).content
    (read,) = node.records.own_copies.for_patient(case.patient.address)
    assert read.record_id == record.record_id


def test_own_copy_and_blocks_of_another_patient_are_refused(case):
    (record,) = case.publish().records
    other = Case.begin(case.network)
    path = f"{other.patient.path}/records/0x{record.record_id.hex()}/own-copy"
    assert case.provider.call("GET", path, key=other.patient.key).status_code == 403
    on_ledger = case.provider.node.ledger.snapshot().state.records[record.record_id]
    cid = Cid.from_parts(on_ledger.cid_codec, on_ledger.cid_digest)
    assert case.provider.call("GET", f"/blocks/{cid}", key=other.patient.key).status_code == 403


def test_publish_after_the_relationship_ended_is_refused(case):
    from ledger.messages import RelationshipEnd

    case.publish()
    end = RelationshipEnd(case.patient.address, case.provider.address, 77)
    case.network.relay(case.provider, case.patient, end)
    answer = case.post_bundle(bundle(case.number, observation(9.9)))
    assert answer.status_code == 409
    assert answer.json()["code"] == "patient-not-active"
