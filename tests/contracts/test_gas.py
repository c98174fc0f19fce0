"""Gas of whole transactions, base fee and calldata included, each alone in a block of a real chain.

The committed snapshot makes a change of cost visible in the change that causes it. After an intended change run
``PHR_UPDATE_GAS=1 .venv/bin/pytest tests/contracts/test_gas.py`` and commit the new snapshot.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from web3 import Web3
from web3.logs import DISCARD

SNAPSHOT = Path(__file__).parents[2] / "contracts/gas-snapshot.json"

PROVIDER, CONSUMER = 1, 2
TREAT = 0
_KEY_DIGEST = bytes(Web3.keccak(text="response key"))
_PERSON_COMMITMENT = bytes(Web3.keccak(text="person"))
LIMITS = {
    "grant": 68_000,
    "grant, each of 20 relayed together": 46_000,
    "revoke": 38_000,
    "publish": 66_000,
    "publish, each of a batch of 20": 36_000,
    "access": 46_000,
    "access, each of 20 patients x 10 records": 6_500,
    "access, each of one patient x 200 records": 5_000,
}
"""The most that these may cost, whatever the snapshot says."""


@pytest.fixture
def gas(chain: Any) -> dict[str, int]:
    """The cost of everything, in the steady state of a consortium: author and members are not new."""
    measured: dict[str, int] = {}

    def measure(name: str, sender: Any, call: Any, each: int = 1) -> Any:
        receipt = chain.send(sender, call)
        measured[name] = -(-receipt["gasUsed"] // each)
        assert not chain.ledger.events.RelayItemSkipped().process_receipt(receipt, errors=DISCARD)
        return receipt

    functions = chain.ledger.functions
    hospital = chain.enrol("Seoul Hospital", PROVIDER)
    clinic = chain.enrol("Busan Clinic", PROVIDER | CONSUMER)
    patients = [chain.register(f"patient {number}", hospital) for number in range(20)]
    first = patients[0]

    measure("publish, an author's first", hospital, functions.publish(chain.publication(first, "first")))
    publication = chain.publication(first, "second")
    measure("publish", hospital, functions.publish(publication))
    record = chain.record_id(hospital, publication)
    batch = [chain.publication(first, f"batch {number}") for number in range(20)]
    measure("publish, each of a batch of 20", hospital, functions.publishBatch(batch), each=20)
    correction = chain.publication(first, "correction")
    measure("correct", hospital, functions.correct(correction, chain.record_id(hospital, batch[0])))
    measure("retract", hospital, functions.retract(chain.record_id(hospital, batch[1])))

    terms = chain.terms(first, clinic, "limited")
    measure("grant", clinic, chain.signed("grant", first, "Grant", terms))
    named = chain.terms(first, clinic, "of one record", recordId=record)
    measure("grant of one record", clinic, chain.signed("grant", first, "Grant", named))
    unlimited = chain.terms(first, clinic, "unlimited", maxUses=0)
    chain.send(clinic, chain.signed("grant", first, "Grant", unlimited))
    relayed = []
    consents = {}
    for number, patient in enumerate(patients):
        consents[patient.address] = chain.terms(patient, clinic, f"relayed {number}")
        call = chain.signed("grant", patient, "Grant", consents[patient.address])
        relayed.append(call._encode_transaction_data())
    measure("grant, each of 20 relayed together", clinic, functions.relay(relayed), each=20)

    def request(name: str, consent: tuple[Any, ...], record_scope: bool = False, reason: int = 0) -> None:
        call = functions.requestAccess(
            (record, consent[11], record_scope, TREAT, _KEY_DIGEST, _PERSON_COMMITMENT)
        )
        assert call.call({"from": clinic.address}) == reason
        measure(name, clinic, call)

    request("access", unlimited)
    request("access under a use limit", terms)
    request("access to a named record under a use limit", named, record_scope=True)
    request("access denied", (*unlimited[:11], 1, 0), reason=8)

    own_records = []
    for patient in patients:
        batch = [chain.publication(patient, f"{patient.address} {number}") for number in range(10)]
        chain.send(hospital, functions.publishBatch(batch))
        own_records.append([chain.record_id(hospital, publication) for publication in batch])
    groups = [
        _group(consents[patient.address][11], records)
        for patient, records in zip(patients, own_records, strict=True)
    ]

    def request_batch(name: str, groups: list[bytes], each: int) -> None:
        call = functions.requestAccessBatch(TREAT, _KEY_DIGEST, _PERSON_COMMITMENT, b"".join(groups))
        receipt = measure(name, clinic, call, each)
        events = chain.ledger.events.AccessBatchDecided().process_receipt(receipt)
        reasons = b"".join(event["args"]["decisions"][32::33] for event in events)
        assert reasons == bytes(each)

    request_batch("access, each of 20 patients x 10 records", groups, 200)
    groups = [
        _group(consents[patient.address][11], records[:1])
        for patient, records in zip(patients, own_records, strict=True)
    ]
    request_batch("access, each of 20 patients x one record", groups, 20)

    many = [chain.publication(first, f"many {number}") for number in range(200)]
    for start in range(0, 200, 50):
        chain.send(hospital, functions.publishBatch(many[start : start + 50]))
    records = [chain.record_id(hospital, publication) for publication in many]
    request_batch("access, each of one patient x 200 records", [_group(terms[11], records)], 200)

    revocation = (first.address, clinic.address, bytes(32), terms[11])
    measure("revoke", clinic, chain.signed("revoke", first, "Revocation", revocation))
    withheld = (first.address, clinic.address, bytes(32), 1)
    measure("revoke before the grant landed", clinic, chain.signed("revoke", first, "Revocation", withheld))
    policy = (first.address, 1 << 15, 1 << 6, 1)
    measure("change deny policy", clinic, chain.signed("changeDenyPolicy", first, "DenyPolicy", policy))
    restriction = (first.address, record, True, 1)
    measure("restrict record", clinic, chain.signed("restrictRecord", first, "Restriction", restriction))
    rotation = (first.address, 2, _KEY_DIGEST, 1)
    measure("rotate keyring", clinic, chain.signed("rotateKeyring", first, "KeyringRotation", rotation))
    end = (first.address, hospital.address, 1)
    measure("end relationship", clinic, chain.signed("endRelationship", first, "RelationshipEnd", end))
    measure("freeze patient", clinic, chain.signed("freezePatient", first, "Freeze", (first.address, 1)))
    return measured


def test_spend_gas_on_each_flow_matches_the_snapshot_and_its_limits(gas: dict[str, int]) -> None:
    if os.environ.get("PHR_UPDATE_GAS"):
        SNAPSHOT.write_text(json.dumps(gas, indent=2, sort_keys=True) + "\n")
    assert gas == json.loads(SNAPSHOT.read_text())
    beyond = {name: (gas[name], limit) for name, limit in LIMITS.items() if gas[name] > limit}
    assert not beyond


def _group(consent_nonce: int, records: list[bytes]) -> bytes:
    return consent_nonce.to_bytes(8) + b"\0" + len(records).to_bytes(2) + b"".join(records)
