"""Registration: the code, who may use it, and which identifiers a pseudonym gets."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from node_fixtures import HOSPITAL, Member, Network, TestPatient

from crypto.signer import AccountKey
from ledger.messages import Freeze, Registration, RelationshipEnd, from_json
from node.errors import NotFound
from node.registration import Registrations
from wire.patients import PendingRegistration, RegistrationRequest
from wire.staff import PatientIdentifierValue


def ask(node: Member, request: RegistrationRequest, patient: TestPatient) -> httpx.Response:
    return node.call("POST", "/registrations", request, key=patient.key)


def code_of(network: Network, node: Member, patient: TestPatient) -> str:
    answer = ask(node, network.registration(patient, node), patient)
    return PendingRegistration.model_validate_json(answer.content).code


def approve(node: Member, code: str, *identifiers: tuple[str, str]) -> httpx.Response:
    named = [{"system": system, "value": value} for system, value in identifiers]
    body = json.dumps({"code": code, "identifiers": named}).encode()
    return node.call("POST", "/staff/registrations", body, staff=True)


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_code_has_eight_digits_in_two_groups_and_expires_within_an_hour(network: Network) -> None:
    node, patient = network.members[0], network.new_patient()
    answer = ask(node, network.registration(patient, node), patient)
    pending = PendingRegistration.model_validate_json(answer.content)
    assert [len(group) for group in pending.code.split("-")] == [4, 4]
    assert 0 < pending.expires_at - network.now() <= 3600


def test_approval_registers_the_keyring_and_identifiers(network: Network) -> None:
    node, patient = network.members[0], network.new_patient()
    answer = approve(node, code_of(network, node, patient), ("urn:a", "1"), ("urn:b", "2"))
    assert answer.json() == {
        "patient": "0x" + patient.address.hex(),
        "identifiers": [{"system": "urn:a", "value": "1"}, {"system": "urn:b", "value": "2"}],
    }
    known = node.node.ledger.snapshot().patient(patient.address)
    assert known is not None
    assert known.keyring_digest == patient.keyring.public().digest
    stored = node.call("GET", f"{patient.path}/keyrings/1", key=patient.key)
    assert stored.content == patient.keyring.public().to_bytes()


def test_code_is_taken_however_it_is_typed_and_only_once(network: Network) -> None:
    node, patient = network.members[0], network.new_patient()
    code = code_of(network, node, patient)
    assert approve(node, f" {code.replace('-', ' ')} ", ("urn:c", "1")).status_code == 200
    assert approve(node, code, ("urn:c", "1")).status_code == 404


def test_second_request_of_a_waiting_pseudonym_voids_the_first_code(network: Network) -> None:
    node, patient = network.members[0], network.new_patient()
    first, second = code_of(network, node, patient), code_of(network, node, patient)
    assert approve(node, first, ("urn:d", "1")).status_code == 404
    assert approve(node, second, ("urn:d", "1")).status_code == 200


def test_request_of_a_registered_pseudonym_is_refused(network: Network) -> None:
    node = network.members[0]
    patient = network.register(node)
    answer = ask(node, network.registration(patient, node), patient)
    assert problem(answer) == (409, "patient-already-registered")


def test_identifier_of_a_live_patient_is_refused_and_the_code_stays_good(network: Network) -> None:
    node, second = network.members[0], network.new_patient()
    network.register(node, (("urn:e", "1"),))
    code = code_of(network, node, second)
    assert problem(approve(node, code, ("urn:e", "1"))) == (409, "identifier-taken")
    assert node.node.ledger.snapshot().patient(second.address) is None
    assert approve(node, code, ("urn:e", "2")).status_code == 200


@pytest.mark.parametrize("closing", ["freeze", "end"])
def test_identifier_of_a_closed_pseudonym_goes_to_the_new_one(network: Network, closing: str) -> None:
    node = network.members[0]
    first = network.register(node, (("urn:" + closing, "1"),))
    message: Any = (
        Freeze(first.address, 1) if closing == "freeze" else RelationshipEnd(first.address, node.address, 1)
    )
    network.relay(node, first, message)
    second = network.register(node, (("urn:" + closing, "1"),))
    assert node.node.patients.patient_by_identifier("urn:" + closing, "1") == second.address
    assert len(node.node.patients.identifiers_of(first.address)) == 1


def test_wrong_codes_are_counted_and_stopped(network: Network) -> None:
    node, patient = network.members[1], network.new_patient()
    code = code_of(network, node, patient)
    wrong = "0000-0000" if code != "0000-0000" else "1111-1111"
    for _ in range(10):
        assert approve(node, wrong, ("urn:f", "1")).status_code == 404
    assert problem(approve(node, code, ("urn:f", "1"))) == (429, "too-many")


def test_registration_with_another_provider_is_refused(network: Network) -> None:
    node, other, patient = network.members[0], network.members[1], network.new_patient()
    assert problem(ask(node, network.registration(patient, other), patient)) == (400, "invalid-request")


def test_registration_signed_by_another_key_is_refused(network: Network) -> None:
    node, patient = network.members[0], network.new_patient()
    thief = replace(patient, account=AccountKey.generate())
    request = network.registration(patient, node)
    forged = request.model_copy(
        update={"registration": network.signed(thief, from_json(Registration, request.registration.message))}
    )
    assert problem(ask(node, forged, patient)) == (403, "not-allowed")
    assert problem(ask(node, request, thief)) == (403, "not-allowed")


@pytest.mark.parametrize("seconds", [-1, 3700])
def test_registration_with_a_past_or_far_deadline_is_refused(network: Network, seconds: int) -> None:
    node, patient = network.members[0], network.new_patient()
    request = network.registration(patient, node, deadline=network.now() + seconds)
    assert problem(ask(node, request, patient)) == (400, "invalid-request")


def test_registration_with_a_swapped_keyring_is_refused(network: Network) -> None:
    node, patient = network.members[0], network.new_patient()
    other = network.new_patient()
    request = network.registration(patient, node)
    swapped = request.model_copy(update={"keyring": other.keyring.public().to_bytes()})
    assert problem(ask(node, swapped, patient)) == (400, "invalid-request")
    another = request.model_copy(
        update={"keyring": network.new_patient_like(patient).keyring.public().to_bytes()}
    )
    assert problem(ask(node, another, patient)) == (400, "invalid-request")


def test_patients_are_listed_and_found_by_identifier(network: Network) -> None:
    node = network.members[2]
    first, second = network.register(node, (("urn:g", "1"),)), network.register(node, (("urn:g", "2"),))
    listed = node.call("GET", "/staff/patients", staff=True).json()
    assert [one["patient"] for one in listed] == ["0x" + one.address.hex() for one in (first, second)]
    found = node.call("GET", "/staff/patients", staff=True, about=("urn:g", "2")).json()
    assert [one["patient"] for one in found] == ["0x" + second.address.hex()]
    assert node.call("GET", "/staff/patients", staff=True, about=("urn:g", "3")).json() == []
    for malformed in ("urn:g", "urn:g|", "|" + "1" * 300, "urn:g|%ff", "x" * 600 + "|1"):
        named = {"PHR-Patient-Identifier": malformed}
        assert problem(node.call("GET", "/staff/patients", staff=True, headers=named)) == (
            400,
            "invalid-request",
        )


def test_registration_that_landed_while_the_node_died_is_finished_by_the_same_code(network: Network) -> None:
    """The node dies between the transaction and its own note: staff repeat the code, and find the patient."""
    node, patient = network.members[0], network.new_patient()
    code = code_of(network, node, patient)
    service = node.node.registrations
    row = service._pending("clerk", code)
    message = from_json(Registration, json.loads(row.message))
    service._bind(row.patient, (PatientIdentifierValue(system="urn:h", value="1"),))
    service._send(message, row.signature)
    node.restart()
    answer = approve(node, code, ("urn:h", "1"))
    assert (answer.status_code, answer.json()["identifiers"]) == (200, [{"system": "urn:h", "value": "1"}])


def test_binding_of_a_registration_that_never_landed_does_not_count_and_ends_with_its_deadline(
    new_network: Callable[..., Network],
) -> None:
    network = new_network({"Seoul Hospital": HOSPITAL})
    (node,) = network.members
    patient, service = network.new_patient(), node.node.registrations
    row = service._pending("clerk", code_of(network, node, patient))
    service._bind(row.patient, (PatientIdentifierValue(system="urn:i", value="1"),))
    assert node.call("GET", "/staff/patients", staff=True, about=("urn:i", "1")).json() == []
    assert node.call("GET", "/staff/patients", staff=True).json() == []
    second = code_of(network, node, network.new_patient())
    assert problem(approve(node, second, ("urn:i", "1"))) == (409, "identifier-taken")
    service.prune()
    assert problem(approve(node, second, ("urn:i", "1"))) == (409, "identifier-taken")
    # Chain time passes the deadline: from then on the first one can never land.
    network.anvil.set_next_block_time(network.now() + 3100)
    network.anvil.mine()
    network.wait_for_all()
    service.prune()
    third = network.register(node, (("urn:i", "1"),))
    assert node.node.patients.patient_by_identifier("urn:i", "1") == third.address


def test_waiting_registration_expires_by_the_nodes_clock(network: Network) -> None:
    node, patient = network.members[0].node, network.new_patient()
    later = Registrations(
        node.database,
        node.ledger,
        node.identity,
        node.sender,
        node.keyrings,
        node.patients,
        clock=lambda: network.now() + 3601.0,
    )
    code = code_of(network, network.members[0], patient)
    with pytest.raises(NotFound):
        later._pending("clerk", code)
    later.prune()
    assert approve(network.members[0], code, ("urn:j", "1")).status_code == 404


def test_pseudonym_that_went_to_another_provider_is_no_patient_here(network: Network) -> None:
    """The same pseudonym signs for two providers: the second one's binding never counts."""
    first, second = network.members[0], network.members[1]
    patient = network.new_patient()
    service = second.node.registrations
    row = service._pending("clerk", code_of(network, second, patient))
    service._bind(row.patient, (PatientIdentifierValue(system="urn:k", value="1"),))
    network.register(first, (("urn:k", "9"),), patient)
    assert second.call("GET", "/staff/patients", staff=True, about=("urn:k", "1")).json() == []
    assert "0x" + patient.address.hex() not in second.call("GET", "/staff/patients", staff=True).text


@pytest.mark.parametrize("value", ["1\0", "\U0001f600" * 256])
def test_identifier_that_some_database_cannot_keep_is_refused_by_all(network: Network, value: str) -> None:
    node = network.members[0]
    code = code_of(network, node, network.new_patient())
    assert problem(approve(node, code, ("urn:" + "\U0001f600" * 400, value))) == (400, "invalid-request")
    with pytest.raises(NotFound):
        node.node.patients.patient_by_identifier("urn:j", value)
