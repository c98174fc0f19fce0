"""Who asked: the history that a node tells, and the person behind an access, opened to auditors."""

import secrets

import httpx
import pytest
from node_fixtures import Member, Network, TestPatient
from sqlalchemy import select

from crypto.person import person_commitment
from ledger import calls
from ledger.messages import AccessRequest, Publication, record_id
from node.tables import opening_log
from vocabulary import Category, Purpose, Reason
from wire.audit import Opening, OpeningRequest
from wire.patients import HistoryView


@pytest.fixture(scope="module")
def patient(network: Network) -> TestPatient:
    """A patient whose one record Busan Hospital asked for, in vain, and named the person for."""
    provider, requester = network.members[0], network.members[1]
    patient = network.register(provider)
    publication = Publication(
        patient.address, Category.LABORATORY, 1, 2, 1, 7, network.now() + 3000, 0x55, *(b"\x02" * 32,) * 3
    )
    provider.node.sender.send(network.deployment.address, calls.publish(publication))
    record = record_id(network.deployment.scope, provider.address, patient.address, 7)
    salt = secrets.token_bytes(32)
    commitment = person_commitment(salt, requester.address, "dr-park", "physician")
    requester.node.openings.remember(commitment, salt, "dr-park", "physician")
    request = AccessRequest(record, 1, False, Purpose.TREAT, secrets.token_bytes(32), commitment)
    requester.node.sender.send(network.deployment.address, calls.request_access(request))
    network.wait_for_all()
    return patient


def opening(network: Network, asked: Member, patient: TestPatient, sequence: int = 1) -> httpx.Response:
    auditor = network.members[2].node.identity.request_key
    request = OpeningRequest(patient=patient.address, sequence=sequence)
    return asked.call("POST", "/audit/openings", request, key=auditor)


def test_history_is_the_same_for_the_patient_an_auditor_and_staff(
    network: Network, patient: TestPatient
) -> None:
    node, auditor = network.members[0], network.members[2].node.identity.request_key
    views = [
        HistoryView.model_validate_json(answer.content)
        for answer in (
            node.call("GET", patient.path + "/history", key=patient.key),
            node.call("GET", patient.path + "/history", key=auditor),
            node.call("GET", f"/staff/history?patient=0x{patient.address.hex()}", staff=True),
        )
    ]
    assert views[0].accesses == views[1].accesses == views[2].accesses
    (access,) = views[0].accesses
    assert (access.sequence, access.reason, access.requester) == (
        1,
        Reason.NO_CONSENT,
        network.members[1].address,
    )


def test_history_of_an_unknown_patient_is_not_found(network: Network) -> None:
    answer = network.members[0].call("GET", "/staff/history?patient=0x" + "01" * 20, staff=True)
    assert answer.status_code == 404


def test_opening_names_the_person_and_recomputes_to_the_ledgers_commitment(
    network: Network, patient: TestPatient
) -> None:
    opened = Opening.model_validate_json(opening(network, network.members[1], patient).content)
    assert (opened.staff_id, opened.role, opened.member) == (
        "dr-park",
        "physician",
        network.members[1].address,
    )
    access = network.members[0].node.ledger.access(patient.address, 1)
    assert access is not None
    assert (
        person_commitment(opened.salt, opened.member, opened.staff_id, opened.role)
        == access.person_commitment
    )


def test_each_opening_is_on_record_before_it_is_answered(network: Network, patient: TestPatient) -> None:
    def logged() -> int:
        with network.members[1].node.database.read() as connection:
            rows = connection.execute(
                select(opening_log).where(opening_log.c.patient == patient.address)
            ).all()
        assert {row.auditor for row in rows} <= {network.members[2].address}
        return len(rows)

    before = logged()
    assert opening(network, network.members[1], patient).status_code == 200
    assert logged() == before + 1


@pytest.mark.parametrize(("asked", "sequence"), [(0, 1), (1, 2)])
def test_access_of_another_member_or_of_no_one_is_not_opened(
    network: Network, patient: TestPatient, asked: int, sequence: int
) -> None:
    assert opening(network, network.members[asked], patient, sequence).status_code == 404
