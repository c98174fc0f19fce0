"""The state as bytes: read back the same, and damage noticed."""

import cbor2
import pytest
from chain_fixtures import LedgerWorld
from hypothesis import given
from hypothesis import strategies as st
from raw_ledger import RawLedger

from ledger import calls, snapshot
from ledger.errors import SnapshotInvalid
from ledger.messages import LedgerScope, Revocation
from ledger.state import LedgerState
from vocabulary import Role

EMPTY = snapshot.to_bytes(LedgerState(LedgerScope(1, b"\x0c" * 20)))


def test_snapshot_read_back_is_the_same_state(ledger_world: LedgerWorld) -> None:
    provider = ledger_world.enrol(Role.PROVIDER)
    ledger_world.enrol(Role.CONSUMER, name="부산 의원")
    patient = ledger_world.register(provider)
    ledger_world.publish(provider, patient)
    ledger_world.grant(patient, provider)
    revocation = Revocation(patient.address, provider.address, bytes(32), 77)
    ledger_world.transact(provider, calls.revoke(revocation, ledger_world.sign(patient, revocation)))
    state = ledger_world.state()
    stored = snapshot.to_bytes(state)
    again = snapshot.from_bytes(stored)
    assert again == state
    assert [type(one.status) for one in again.consents.values()] == [
        type(one.status) for one in state.consents.values()
    ]
    assert snapshot.to_bytes(again) == stored


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(stored: bytes) -> None:
    with pytest.raises(SnapshotInvalid):
        snapshot.from_bytes(stored)


@given(st.integers(0, len(EMPTY) - 1), st.integers(1, 255))
def test_any_byte_altered_is_noticed(index: int, change: int) -> None:
    damaged = EMPTY[:index] + bytes([EMPTY[index] ^ change]) + EMPTY[index + 1 :]
    with pytest.raises(SnapshotInvalid):
        snapshot.from_bytes(damaged)


def test_snapshot_of_another_version_is_refused() -> None:
    label, version, digest, body = cbor2.loads(EMPTY)
    with pytest.raises(SnapshotInvalid, match="version"):
        snapshot.from_bytes(cbor2.dumps([label, version + 1, digest, body]))


def test_records_and_consents_of_a_patient_are_found_in_order_live_and_read_back(
    raw_ledger: RawLedger,
) -> None:
    state = raw_ledger.world.state()
    for one in (state, state.copy(), snapshot.from_bytes(snapshot.to_bytes(state))):
        for patient in (raw_ledger.patient.address, raw_ledger.other.address, b"\x01" * 20):
            records = tuple(record for record in state.records.values() if record.patient == patient)
            consents = tuple(consent for consent in state.consents.values() if consent.patient == patient)
            assert one.records_of(patient) == records
            assert one.consents_of(patient) == consents
    assert state.records_of(raw_ledger.patient.address)
    assert state.consents_of(raw_ledger.patient.address)
