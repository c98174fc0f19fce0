"""Attacks with a stolen pseudonym's key, and by guessing the codes that are shown at a desk."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from node_fixtures import Member, Network
from records_flow import Case

from ledger.messages import Freeze
from node.registration import WRONG_CODES
from wire.patients import PendingRegistration


def test_attack_thief_of_the_key_reads_no_own_copy_from_any_node_after_the_freeze(network: Network) -> None:
    case = Case.begin(network)
    (record,) = case.publish().records
    path = f"{case.patient.path}/records/0x{record.record_id.hex()}/own-copy"
    assert network.members[2].call("GET", path, key=case.patient.key).status_code == 200
    network.relay(network.members[0], case.patient, Freeze(case.patient.address, 1))
    for custodian in network.members:
        answer = custodian.call("GET", path, key=case.patient.key)
        assert (answer.status_code, answer.json()["code"]) == (403, "patient-frozen")


def test_attack_codes_guessed_all_at_once_are_no_more_than_guessed_in_turn(network: Network) -> None:
    desk = network.members[0]
    assert network.register(desk)

    def guess(number: int) -> int:
        approval = {"code": f"{number:08}", "identifiers": [{"system": "s", "value": "v"}]}
        return desk.call(
            "POST", "/staff/registrations", json.dumps(approval).encode(), staff=True
        ).status_code

    with ThreadPoolExecutor(40) as pool:
        answers = Counter(pool.map(guess, range(120)))
    assert answers == {404: WRONG_CODES, 429: 120 - WRONG_CODES}


def test_attack_pseudonym_taken_to_two_desks_at_once_binds_its_number_at_one_only(network: Network) -> None:
    """Both staff confirm; the ledger takes one. The other desk must not believe that the patient is its own."""
    desks, patient = network.members[:2], network.new_patient()
    codes = []
    for desk in desks:
        answer = desk.call("POST", "/registrations", network.registration(patient, desk), key=patient.key)
        codes.append(PendingRegistration.model_validate_json(answer.content).code)

    def approve(desk: Member, code: str) -> int:
        approval = {"code": code, "identifiers": [{"system": "urn:two", "value": code}]}
        return desk.call(
            "POST", "/staff/registrations", json.dumps(approval).encode(), staff=True
        ).status_code

    for desk in desks:
        desk.node.registrations._wrong_codes.clear()
    with ThreadPoolExecutor(2) as pool:
        statuses = list(pool.map(approve, desks, codes))
    network.wait_for_all()
    provider = desks[0].node.ledger.snapshot().patient(patient.address).provider
    for desk, status in zip(desks, statuses, strict=True):
        own = desk.address == provider
        listed = [one["patient"] for one in desk.call("GET", "/staff/patients", staff=True).json()]
        assert (status == 200, "0x" + patient.address.hex() in listed) == (own, own)
