"""Attacks on the room for backups, which anyone may use: those who are here already must never lose theirs."""

import json
from pathlib import Path

import pytest
from lying_proxy import put_before
from node_fixtures import Network
from wallet_flow import Person

from crypto.recovery import BackupKeys, RecoveryPhrase
from crypto.vault import open_backup, seal_backup
from node.backups import Backups, QuotaReached
from node.database import Database
from vocabulary import Category
from wire.signing import RequestKey


def store(backups: Backups, keys: BackupKeys, version: int, content: bytes) -> None:
    signing_key = RequestKey.of_backup(keys.signing_seed).caller.identifier
    backups.store(signing_key, keys.locator, seal_backup(content, keys, version))


def newest(backups: Backups, keys: BackupKeys) -> bytes:
    signing_key = RequestKey.of_backup(keys.signing_seed).caller.identifier
    return open_backup(backups.newest(signing_key, keys.locator), keys).content


def new_keys() -> BackupKeys:
    return RecoveryPhrase.generate().backup_keys()


def fill(backups: Backups) -> int:
    """A stranger stores made-up backups under keys of its own until nothing more goes in; how many went."""
    for count in range(10_000):
        try:
            store(backups, new_keys(), 1, b"")
        except QuotaReached:
            return count
    raise AssertionError("the quota has no end")


@pytest.fixture
def backups(new_database: Database) -> Backups:
    return Backups(new_database, 20_000)


@pytest.mark.parametrize("versions_before", [1, 2, 3, 5])
def test_attack_stranger_fills_the_quota_and_a_patient_still_stores_the_next_version(
    backups: Backups, versions_before: int
) -> None:
    patient = new_keys()
    for version in range(1, versions_before + 1):
        store(backups, patient, version, b"vault %d" % version)
    assert fill(backups) > 10
    for version in range(versions_before + 1, versions_before + 8):
        store(backups, patient, version, b"vault %d" % version)
        assert newest(backups, patient) == b"vault %d" % version


def test_attack_stranger_grows_many_small_backups_and_gets_no_more_than_the_quota(backups: Backups) -> None:
    thieves = [new_keys() for _ in range(10)]
    for thief in thieves:
        store(backups, thief, 1, b"")
    refused = 0
    for thief in thieves:
        try:
            store(backups, thief, 2, bytes(15_000))
        except QuotaReached:
            refused += 1
            assert newest(backups, thief) == b""
    assert refused >= 9


def test_attack_nodes_without_room_for_backups_do_not_keep_a_revocation_from_landing(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = Person.begin(network, tmp_path)
    grantee = network.members[2]
    consent_id = person.grant(grantee, Category.LABORATORY)
    for member in network.members:
        monkeypatch.setattr(member.node.backups, "_quota_bytes", 0)
    receipt = person.wallet.revoke(consent_id)
    assert "keys were not changed" in receipt.keyring_detail
    network.wait_for_all()
    consents = grantee.node.ledger.snapshot().state.consents
    assert consents[consent_id].revoked_block is not None
    person.wallet.close()


def test_attack_grantee_that_claims_a_newer_backup_does_not_keep_its_keys_in_force(
    network: Network, tmp_path: Path
) -> None:
    """The revoked member's own node answers that the wallet is behind; it has nothing to show for it."""
    liar = put_before(network, network.members[2])
    try:
        person = Person.begin(network, tmp_path)
        grantee = network.members[2]
        consent_id = person.grant(grantee, Category.LABORATORY)
        problem = {
            "title": "x",
            "status": 409,
            "code": "backup-outdated",
            "detail": "expected a version above 9",
        }
        liar.rules["PUT /backups/"] = lambda _body, _honest: (409, json.dumps(problem).encode())
        receipt = person.wallet.revoke(consent_id)
        assert receipt.keyring_detail == ""
        assert receipt.rotated == (Category.LABORATORY,)
        person.wallet.close()
    finally:
        liar.stop()
