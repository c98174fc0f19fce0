"""Keyrings: of the current or the next epoch, as the ledger says, and found at other members."""

from collections.abc import Sequence

import pytest
from node_fixtures import Network, TestPatient
from sqlalchemy import delete, func, select

from crypto.keyring import Keyring, KeyringSecrets
from ledger.messages import KeyringRotation
from node.errors import NotFound, Unavailable
from node.tables import keyrings
from vocabulary import Category


def rotation(patient: TestPatient, secrets: KeyringSecrets) -> KeyringRotation:
    public = secrets.public()
    return KeyringRotation(patient.address, public.epoch, public.digest, 1)


def count(network: Network, patient: TestPatient, epoch: int) -> int:
    statement = select(func.count()).select_from(keyrings)
    with network.members[0].node.database.read() as connection:
        of_epoch = statement.where(keyrings.c.patient == patient.address, keyrings.c.epoch == epoch)
        return connection.execute(of_epoch).scalar_one()


def put(network: Network, patient: TestPatient, keyring: Keyring | bytes) -> tuple[int, str]:
    document = keyring if isinstance(keyring, bytes) else keyring.to_bytes()
    answer = network.members[0].call("PUT", patient.path + "/keyring", document, key=patient.key)
    return answer.status_code, "" if answer.status_code == 204 else answer.json()["code"]


@pytest.fixture
def patient(network: Network) -> TestPatient:
    return network.register(network.members[0])


def test_next_epoch_is_kept_and_served_once_the_ledger_has_it(network: Network, patient: TestPatient) -> None:
    node, rotated = network.members[0], patient.keyring.rotate((Category.LABORATORY,))
    assert put(network, patient, rotated.public()) == (204, "")
    assert node.call("GET", patient.path + "/keyrings/2", key=patient.key).status_code == 404
    network.relay(node, patient, rotation(patient, rotated))
    assert (
        node.call("GET", patient.path + "/keyrings/2", key=patient.key).content == rotated.public().to_bytes()
    )
    assert node.node.keyrings.current_keyring(patient.address).epoch == 2


def test_keyring_of_another_digest_than_the_ledgers_is_refused(
    network: Network, patient: TestPatient
) -> None:
    assert put(network, patient, patient.keyring.public()) == (204, "")
    assert put(network, patient, network.new_patient_like(patient).keyring.public()) == (409, "conflict")


def test_keyring_of_a_far_epoch_is_refused(network: Network, patient: TestPatient) -> None:
    far = patient.keyring.rotate((Category.LABORATORY,)).rotate((Category.LABORATORY,))
    assert put(network, patient, far.public()) == (400, "invalid-request")


def test_keyring_of_another_patient_is_refused(network: Network, patient: TestPatient) -> None:
    assert put(network, patient, network.new_patient().keyring.public()) == (400, "invalid-request")


def test_bytes_that_are_no_keyring_are_refused(network: Network, patient: TestPatient) -> None:
    assert put(network, patient, b"\xa0") == (400, "invalid-document")
    assert put(network, patient, bytes(64 * 1024 + 1)) == (413, "too-large")


def test_candidates_are_bounded_and_losers_dropped_once_one_lands(
    network: Network, patient: TestPatient
) -> None:
    candidates: Sequence[KeyringSecrets] = [patient.keyring.rotate((Category.LABORATORY,)) for _ in range(9)]
    answers = [put(network, patient, one.public()) for one in candidates]
    assert answers == [(204, "")] * 8 + [(429, "too-many")]
    network.relay(network.members[0], patient, rotation(patient, candidates[3]))
    assert put(network, patient, candidates[3].public()) == (204, "")
    assert count(network, patient, 2) == 1


def test_keyring_that_is_missing_is_fetched_from_a_member_that_has_it(
    network: Network, patient: TestPatient
) -> None:
    other = network.members[1].node.keyrings
    with pytest.raises(NotFound):
        other.document(patient.address, 1)
    assert other.current_keyring(patient.address).digest == patient.keyring.public().digest
    assert other.document(patient.address, 1) == patient.keyring.public().to_bytes()


def test_attack_keyring_that_breaks_its_parser_is_passed_over_for_the_next_members(
    network: Network, patient: TestPatient, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, other, asking = network.members
    document = patient.keyring.public().to_bytes()
    assert other.call("PUT", patient.path + "/keyring", document, key=patient.key).status_code == 204
    keyrings = asking.node.keyrings
    fetch, parse = keyrings._fetch, keyrings._parsed
    monkeypatch.setattr(
        keyrings,
        "_fetch",
        lambda member, *what: b"poison" if member == provider.address else fetch(member, *what),
    )

    def break_at_poison(patient: bytes, document: bytes) -> Keyring:
        if document == b"poison":
            raise RecursionError("secret words")
        return parse(patient, document)

    monkeypatch.setattr(keyrings, "_parsed", break_at_poison)
    assert keyrings.current_keyring(patient.address).digest == patient.keyring.public().digest
    assert asking.node.unforeseen.by_place()["keyrings"] == 1


def test_keyring_that_no_member_has_is_reported_as_missing(network: Network, patient: TestPatient) -> None:
    for member in network.members:
        with member.node.database.begin() as connection:
            connection.execute(delete(keyrings).where(keyrings.c.patient == patient.address))
    with pytest.raises(Unavailable, match="no member gave"):
        network.members[0].node.keyrings.current_keyring(patient.address)


def test_lying_member_cannot_pass_off_another_keyring(network: Network, patient: TestPatient) -> None:
    forged = network.new_patient_like(patient).keyring.public()
    liar, asking = network.members[0].node, network.members[1].node
    with liar.database.begin() as connection:
        connection.execute(
            keyrings.update().where(keyrings.c.patient == patient.address).values(document=forged.to_bytes())
        )
    with pytest.raises(Unavailable):
        asking.keyrings.current_keyring(patient.address)
