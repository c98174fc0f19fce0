"""Attacks on what a member keeps for patients: one pseudonym must never touch what another one handed over."""

from dataclasses import replace

from node_fixtures import Network, TestPatient
from records_flow import Case

from crypto.grant import GrantBundle, GrantScope, make_grant_bundle
from ledger.messages import NO_RECORD, consent_id
from vocabulary import Category
from wire.patients import GrantDelivery


def bundle_naming(
    network: Network, signer: TestPatient, grantee, named: bytes, epoch: int, keys: int = 1
) -> GrantBundle:
    """A well-made bundle of ``signer`` that names a consent id of its choice."""
    scope = network.deployment.scope
    secrets = signer.keyring.category_secrets(Category.LABORATORY)[:keys]
    return make_grant_bundle(
        signer.account,
        GrantScope(scope.chain_id, scope.contract, signer.address, named, grantee.address, epoch),
        grantee.node.identity.current_encryption_key.public,
        category_secrets=[replace(one, epoch_until=None) for one in secrets],
    )


def deliver(grantee, signer: TestPatient, bundle: GrantBundle) -> int:
    delivery = GrantDelivery(bundle=bundle.to_bytes(), introduction="")
    return grantee.call("POST", "/grants", delivery, key=signer.key).status_code


def test_attack_bundles_under_anothers_consent_do_not_push_out_its_keys(network: Network) -> None:
    victim, thief = Case.begin(network), Case.begin(network)
    grantee = network.members[1]
    (record,) = victim.publish().records
    terms = victim.grant(grantee)
    named = consent_id(network.deployment.scope, terms.patient, terms.grantee, terms.record_id, terms.nonce)
    answers = [
        deliver(grantee, thief.patient, bundle_naming(network, thief.patient, grantee, named, 1000 + number))
        for number in range(6)
    ]
    assert set(answers) == {403}
    (read,) = victim.read(grantee, record_ids=(record.record_id,)).records
    assert read.failure is None
    assert read.content is not None


def test_attack_bundles_sent_ahead_of_anothers_consent_do_not_push_out_its_keys(network: Network) -> None:
    """The consent is not on the ledger yet, so nobody can tell whose it is; each keeps its own."""
    victim, thief = Case.begin(network), Case.begin(network)
    grantee = network.members[1]
    (record,) = victim.publish().records
    named = consent_id(network.deployment.scope, victim.patient.address, grantee.address, NO_RECORD, 77)
    assert deliver(grantee, victim.patient, bundle_naming(network, victim.patient, grantee, named, 1)) == 200
    for number in range(6):
        deliver(grantee, thief.patient, bundle_naming(network, thief.patient, grantee, named, 1000 + number))
    victim.grant(grantee, deliver=False, nonce=77)
    (read,) = victim.read(grantee, record_ids=(record.record_id,)).records
    assert read.failure is None
    assert read.content is not None
