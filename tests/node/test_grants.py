"""Grant bundles: kept when they are this member's and open, before or after the grant; newest last."""

from dataclasses import replace

import httpx
import pytest
from node_fixtures import Member, Network, TestPatient
from sqlalchemy import func, select

from crypto.grant import GrantBundle, GrantScope, make_grant_bundle
from crypto.hpke import EncryptionKey
from crypto.keyring import KeyringSecrets
from crypto.signer import AccountKey
from ledger import calls
from ledger.messages import NO_RECORD, Grant, Publication, Restriction, Revocation, consent_id
from node.tables import grants
from vocabulary import LAST_DAY, Category, Purpose
from wire.patients import GrantDelivery
from wire.staff import ConsentedPatient


def grant_terms(network: Network, patient: TestPatient, grantee: Member, nonce: int) -> Grant:
    now = network.now()
    return Grant(
        patient.address,
        grantee.address,
        NO_RECORD,
        Category.LABORATORY.bit,
        Purpose.TREAT.bit,
        0,
        now + 86_400,
        0,
        LAST_DAY,
        0,
        0,
        nonce,
        now + 3000,
    )


def bundle_of(
    network: Network,
    patient: TestPatient,
    grantee: Member,
    nonce: int,
    *,
    keyring: KeyringSecrets | None = None,
    recipient: bytes | None = None,
    **changes: object,
) -> GrantBundle:
    scope, secrets = network.deployment.scope, keyring or patient.keyring
    identifier = consent_id(scope, patient.address, grantee.address, NO_RECORD, nonce)
    named = GrantScope(
        scope.chain_id, scope.contract, patient.address, identifier, grantee.address, secrets.public().epoch
    )
    return make_grant_bundle(
        patient.account,
        replace(named, **changes),  # type: ignore[arg-type]
        recipient or grantee.node.identity.current_encryption_key.public,
        category_secrets=secrets.category_secrets(Category.LABORATORY),
    )


def deliver(
    node: Member, patient: TestPatient, bundle: GrantBundle | bytes, introduction: str = ""
) -> httpx.Response:
    data = bundle if isinstance(bundle, bytes) else bundle.to_bytes()
    return node.call(
        "POST", "/grants", GrantDelivery(bundle=data, introduction=introduction), key=patient.key
    )


def consented(node: Member, patient: TestPatient) -> ConsentedPatient | None:
    listed = node.call("GET", "/staff/consents", staff=True).json()
    found = [ConsentedPatient.model_validate(one) for one in listed]
    return next((one for one in found if one.patient == patient.address), None)


@pytest.fixture
def patient(network: Network) -> TestPatient:
    return network.register(network.members[0])


def test_bundle_before_its_grant_is_acknowledged_and_opens(network: Network, patient: TestPatient) -> None:
    grantee = network.members[1]
    answer = deliver(grantee, patient, bundle_of(network, patient, grantee, 1))
    assert answer.json()["member"] == "0x" + grantee.address.hex()
    (opened,) = grantee.node.grants.for_patient(patient.address)
    assert opened.category_secrets == patient.keyring.category_secrets(Category.LABORATORY)


def test_bundles_of_one_consent_come_newest_epoch_last_and_are_bounded(
    network: Network, patient: TestPatient
) -> None:
    grantee, keyring = network.members[1], patient.keyring
    for _ in range(6):
        keyring = keyring.rotate((Category.LABORATORY,))
        answer = deliver(grantee, patient, bundle_of(network, patient, grantee, 1, keyring=keyring))
        assert answer.status_code == 200, answer.text
    opened = grantee.node.grants.for_patient(patient.address)
    assert [one.scope.epoch for one in opened] == [4, 5, 6, 7]


def test_same_bundle_again_is_acknowledged_and_kept_once(network: Network, patient: TestPatient) -> None:
    grantee = network.members[1]
    bundle = bundle_of(network, patient, grantee, 1)
    assert deliver(grantee, patient, bundle, "Kim").status_code == 200
    assert deliver(grantee, patient, bundle, "Kim Min-ji").status_code == 200
    assert len(grantee.node.grants.for_patient(patient.address)) == 1


def test_consented_patient_is_shown_with_introduction_and_what_opens_now(
    network: Network, patient: TestPatient
) -> None:
    provider, grantee = network.members[0], network.members[1]
    deliver(grantee, patient, bundle_of(network, patient, grantee, 1), "Kim, seen in March")
    assert consented(grantee, patient) is None
    network.relay(provider, patient, grant_terms(network, patient, grantee, 1))
    publications = [
        Publication(
            patient.address, category, 1, 2, 1, nonce, network.now() + 3000, 0x55, *(b"\x01" * 32,) * 3
        )
        for nonce, category in (
            (101, Category.LABORATORY),
            (102, Category.IMAGING),
            (103, Category.LABORATORY),
        )
    ]
    provider.node.sender.send(network.deployment.address, calls.publish_batch(publications))
    network.wait_for_all()
    shown = consented(grantee, patient)
    assert shown is not None
    assert (shown.introduction, shown.provider) == ("Kim, seen in March", provider.address)
    assert [record.category for record in shown.records] == [Category.LABORATORY, Category.LABORATORY]
    network.relay(provider, patient, Restriction(patient.address, shown.records[0].record_id, True, 1))
    shown_later = consented(grantee, patient)
    assert shown_later is not None
    assert shown_later.records == shown.records[1:]
    network.relay(provider, patient, Revocation(patient.address, grantee.address, NO_RECORD, 1))
    assert consented(grantee, patient) is None


def test_bundle_for_another_member_is_refused(network: Network, patient: TestPatient) -> None:
    asked, other = network.members[1], network.members[2]
    own_key = asked.node.identity.current_encryption_key.public
    assert deliver(asked, patient, bundle_of(network, patient, other, 1)).status_code == 409
    answer = deliver(asked, patient, bundle_of(network, patient, other, 1, recipient=own_key))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-document")


def test_bundle_for_another_ledger_is_refused(network: Network, patient: TestPatient) -> None:
    grantee = network.members[1]
    answer = deliver(grantee, patient, bundle_of(network, patient, grantee, 1, contract=b"\x01" * 20))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-document")


def test_bundle_sealed_to_an_unknown_key_is_refused_by_name(network: Network, patient: TestPatient) -> None:
    grantee = network.members[1]
    stranger = EncryptionKey.generate().public
    answer = deliver(grantee, patient, bundle_of(network, patient, grantee, 1, recipient=stranger))
    assert (answer.status_code, answer.json()["code"]) == (409, "unknown-key")


def test_bundle_signed_by_or_about_another_patient_is_refused(network: Network, patient: TestPatient) -> None:
    grantee, other = network.members[1], network.register(network.members[0])
    assert deliver(grantee, other, bundle_of(network, patient, grantee, 1)).json()["code"] == "other-patient"
    thief = TestPatient(AccountKey.generate(), patient.keyring)
    signature = bundle_of(network, thief, grantee, 1).signature
    forged = replace(bundle_of(network, patient, grantee, 1), signature=signature)
    assert deliver(grantee, patient, forged).json()["code"] == "invalid-document"


def test_bundle_that_was_altered_is_refused(network: Network, patient: TestPatient) -> None:
    grantee = network.members[1]
    data = bytearray(bundle_of(network, patient, grantee, 1).to_bytes())
    data[len(data) // 2] ^= 1
    assert deliver(grantee, patient, bytes(data)).status_code == 400


def test_bundles_without_consents_are_bounded(network: Network, patient: TestPatient) -> None:
    grantee = network.members[1]
    answers = [
        deliver(grantee, patient, bundle_of(network, patient, grantee, nonce)).status_code
        for nonce in range(51)
    ]
    assert answers == [200] * 50 + [429]
    with grantee.node.database.read() as connection:
        statement = select(func.count()).select_from(grants).where(grants.c.patient == patient.address)
        assert connection.execute(statement).scalar_one() == 50


def test_introduction_with_control_characters_is_refused(network: Network, patient: TestPatient) -> None:
    grantee = network.members[1]
    answer = deliver(grantee, patient, bundle_of(network, patient, grantee, 1), "Kim\x1b[2J")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")
