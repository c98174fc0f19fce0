"""Relaying: what patients signed lands, in order; what did not says why; nobody else's message passes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest
from node_fixtures import Member, Network, TestPatient

from crypto.signer import AccountKey
from ledger.messages import (
    NO_RECORD,
    DenyPolicy,
    Freeze,
    Grant,
    KeyringRotation,
    LedgerScope,
    RelationshipEnd,
    Revocation,
    SignedMessage,
    sign,
)
from vocabulary import LAST_DAY, Category, Purpose
from wire.patients import RelayRequest, RelayResponse


def terms(network: Network, patient: TestPatient, grantee: Member, nonce: int, **changes: Any) -> Grant:
    grant = Grant(
        patient=patient.address,
        grantee=grantee.address,
        record_id=NO_RECORD,
        categories=Category.LABORATORY.bit,
        purposes=Purpose.TREAT.bit,
        valid_from=0,
        valid_until=network.now() + 86_400,
        data_from=0,
        data_until=LAST_DAY,
        max_uses=0,
        flags=0,
        nonce=nonce,
        deadline=network.now() + 3000,
    )
    return replace(grant, **changes)


def post(node: Member, request: RelayRequest, patient: TestPatient) -> httpx.Response:
    return node.call("POST", "/relay", request, key=patient.key)


def request_of(network: Network, patient: TestPatient, *messages: SignedMessage) -> RelayRequest:
    return RelayRequest(messages=tuple(network.signed(patient, message) for message in messages))


@pytest.fixture(scope="module")
def patient(network: Network) -> TestPatient:
    return network.register(network.members[0])


def test_one_message_is_final_on_every_node(network: Network, patient: TestPatient) -> None:
    other = network.members[1]
    response = network.relay(network.members[2], patient, terms(network, patient, other, 1))
    assert [outcome.final for outcome in response.outcomes] == [True]
    assert response.transaction_hash is not None
    for member in network.members:
        consents = member.call("GET", patient.path + "/consents", key=patient.key).json()["consents"]
        assert [one["grantee"] for one in consents] == ["0x" + other.address.hex()]


def test_several_messages_land_in_one_transaction_and_a_refused_one_says_why(
    network: Network, patient: TestPatient
) -> None:
    grantee = network.members[1]
    stale = DenyPolicy(patient.address, 1, 0, 0)
    good, other = terms(network, patient, grantee, 11), terms(network, patient, grantee, 12)
    response = network.relay(network.members[0], patient, good, stale, other)
    assert [outcome.final for outcome in response.outcomes] == [True, False, True]
    assert "StalePolicyNonce" in (response.outcomes[1].refusal or "")


def test_single_refused_message_answers_with_the_contracts_reason(
    network: Network, patient: TestPatient
) -> None:
    response = network.relay(network.members[0], patient, DenyPolicy(patient.address, 1, 0, 0))
    assert (response.transaction_hash, response.outcomes[0].final) == (None, False)
    assert "StalePolicyNonce" in (response.outcomes[0].refusal or "")


def test_repeated_request_is_final_without_a_second_transaction(
    network: Network, patient: TestPatient
) -> None:
    messages = [
        terms(network, patient, network.members[1], 21),
        Revocation(patient.address, network.members[2].address, NO_RECORD, 22),
        DenyPolicy(patient.address, Category.GENOMICS.bit, 0, 5),
        KeyringRotation(patient.address, 2, b"\x05" * 32, 23),
    ]
    assert all(outcome.final for outcome in network.relay(network.members[0], patient, *messages).outcomes)
    again = network.relay(network.members[1], patient, *messages)
    assert (again.transaction_hash, [outcome.final for outcome in again.outcomes]) == (None, [True] * 4)


def test_same_message_through_two_nodes_at_once_is_final_at_both(
    network: Network, patient: TestPatient
) -> None:

    message = terms(network, patient, network.members[2], 31)
    with ThreadPoolExecutor(3) as pool:
        answers = list(
            pool.map(lambda node: post(node, request_of(network, patient, message), patient), network.members)
        )
    for answer in answers:
        assert RelayResponse.model_validate_json(answer.content).outcomes[0].final, answer.text


def test_grant_withheld_until_after_its_revocation_never_lands(
    network: Network, patient: TestPatient
) -> None:
    withheld = terms(network, patient, network.members[1], 41)
    revocation = Revocation(patient.address, withheld.grantee, NO_RECORD, 41)
    assert network.relay(network.members[0], patient, revocation).outcomes[0].final
    outcome = network.relay(network.members[1], patient, withheld).outcomes[0]
    assert (outcome.final, "GrantAlreadyUsed" in (outcome.refusal or "")) == (False, True)


def test_message_of_another_patient_is_refused_and_nothing_is_sent(
    network: Network, patient: TestPatient
) -> None:
    other = network.register(network.members[0])
    mixed = RelayRequest(
        messages=(
            network.signed(patient, terms(network, patient, network.members[1], 51)),
            network.signed(other, terms(network, other, network.members[1], 51)),
        )
    )
    answer = post(network.members[0], mixed, patient)
    assert (answer.status_code, answer.json()["code"]) == (403, "other-patient")
    consents = network.members[0].node.ledger.snapshot().consents_of(other.address)
    assert consents == ()


def test_message_signed_by_another_key_is_refused(network: Network, patient: TestPatient) -> None:
    thief = replace(patient, account=AccountKey.generate())
    forged = RelayRequest(messages=(network.signed(thief, Freeze(patient.address, 1)),))
    answer = post(network.members[0], forged, patient)
    assert (answer.status_code, answer.json()["code"]) == (403, "signature-invalid")


def test_message_signed_for_another_ledger_is_refused(network: Network, patient: TestPatient) -> None:
    message = Freeze(patient.address, 1)
    other_ledger = LedgerScope(network.deployment.chain_id, b"\x01" * 20)
    signature = sign(other_ledger, message, patient.account.sign_digest)
    signed = network.signed(patient, message).model_copy(update={"signature": signature})
    answer = post(network.members[0], RelayRequest(messages=(signed,)), patient)
    assert (answer.status_code, answer.json()["code"]) == (403, "signature-invalid")


@pytest.mark.parametrize("kind", ["Registration", "MemberKeys", "Nonsense"])
def test_kind_that_is_not_relayed_is_refused(network: Network, patient: TestPatient, kind: str) -> None:
    signed = network.signed(patient, Freeze(patient.address, 1)).model_copy(update={"kind": kind})
    answer = post(network.members[0], RelayRequest(messages=(signed,)), patient)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")


def test_end_and_freeze_are_final_again_when_repeated(network: Network) -> None:
    node = network.members[0]
    patient = network.register(node)
    end, freeze = RelationshipEnd(patient.address, node.address, 1), Freeze(patient.address, 2)
    for message in (end, end, freeze, freeze):
        assert network.relay(node, patient, message).outcomes[0].final
    state = node.call("GET", patient.path, key=patient.key).json()
    assert state["status"] == "frozen"
