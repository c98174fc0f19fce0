"""Backups: by the holder of the phrase only, never to an older version, the last three kept."""

from collections.abc import Callable

import pytest
from node_fixtures import Network

from crypto.errors import CryptoError
from crypto.recovery import RecoveryPhrase
from crypto.vault import open_backup, seal_backup
from node.backups import Backups, QuotaReached
from node.database import Database
from node.errors import Conflict, NotAllowed, NotFound
from wire.signing import RequestKey

KEYS = RecoveryPhrase.generate().backup_keys()
OTHER = RecoveryPhrase.generate().backup_keys()
SIGNING = RequestKey.of_backup(KEYS.signing_seed).caller.identifier
OTHER_SIGNING = RequestKey.of_backup(OTHER.signing_seed).caller.identifier


@pytest.fixture
def backups(new_database: Database) -> Backups:
    return Backups(new_database, 10**7)


def test_newest_backup_comes_back_after_reopening(
    database_url: str, open_database: Callable[[str], Database]
) -> None:
    for version in (1, 2, 3, 7):
        Backups(open_database(database_url), 10**7).store(
            SIGNING, KEYS.locator, seal_backup(b"content %d" % version, KEYS, version)
        )
    newest = open_backup(Backups(open_database(database_url), 10**7).newest(SIGNING, KEYS.locator), KEYS)
    assert (newest.version, newest.content) == (7, b"content 7")


def test_rollback_to_an_older_version_is_refused(backups: Backups) -> None:
    backups.store(SIGNING, KEYS.locator, seal_backup(b"new", KEYS, 5))
    with pytest.raises(Conflict, match="above 5; came 4"):
        backups.store(SIGNING, KEYS.locator, seal_backup(b"old", KEYS, 4))


def test_same_backup_again_is_accepted_and_another_of_its_version_refused(backups: Backups) -> None:
    sealed = seal_backup(b"one", KEYS, 5)
    backups.store(SIGNING, KEYS.locator, sealed)
    backups.store(SIGNING, KEYS.locator, sealed)
    with pytest.raises(Conflict):
        backups.store(SIGNING, KEYS.locator, seal_backup(b"two", KEYS, 5))


def test_squatting_on_anothers_locator_is_refused(backups: Backups) -> None:
    with pytest.raises(NotAllowed):
        backups.store(OTHER_SIGNING, KEYS.locator, seal_backup(b"x", KEYS, 1))
    with pytest.raises(CryptoError):
        backups.store(SIGNING, KEYS.locator, seal_backup(b"x", OTHER, 1))
    with pytest.raises(NotAllowed):
        backups.newest(OTHER_SIGNING, KEYS.locator)
    with pytest.raises(NotFound):
        backups.newest(SIGNING, KEYS.locator)


def test_backup_beyond_the_quota_is_refused_and_the_former_stays(new_database: Database) -> None:
    first = seal_backup(b"first", KEYS, 1)
    backups = Backups(new_database, len(first) + 10)
    backups.store(SIGNING, KEYS.locator, first)
    with pytest.raises(QuotaReached):
        backups.store(SIGNING, KEYS.locator, seal_backup(b"second" * 1000, KEYS, 2))
    assert backups.newest(SIGNING, KEYS.locator) == first


def test_backup_goes_and_comes_over_http(network: Network) -> None:
    node, key = network.members[0], RequestKey.of_backup(KEYS.signing_seed)
    path, sealed = f"/backups/0x{KEYS.locator.hex()}", seal_backup(b"vault", KEYS, 1)
    assert node.call("GET", path, key=key).status_code == 404
    assert node.call("PUT", path, sealed, key=key).status_code == 204
    assert node.call("GET", path, key=key).content == sealed
    assert node.call("PUT", path, sealed[:-1], key=key).json()["code"] == "invalid-document"
