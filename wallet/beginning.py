"""Making, opening and recovering a wallet: what comes before there is a session to work on."""

import secrets
from collections.abc import Sequence
from pathlib import Path

import httpx

from crypto.passphrase import PassphraseCost
from crypto.recovery import BackupKeys, RecoveryPhrase
from wallet import recovery
from wallet.backup import store_backup
from wallet.bootstrap import clients_of, meet
from wallet.content import BackupAccess, VaultContent
from wallet.errors import VaultError
from wallet.pseudonyms import SEED_BYTES
from wallet.recovery import Recovery
from wallet.session import Progress, Session
from wallet.store import VaultStore


def create_session(
    path: Path,
    passphrase: str,
    node_urls: Sequence[str],
    http: httpx.Client,
    cost: PassphraseCost,
    progress: Progress,
) -> tuple[Session, RecoveryPhrase]:
    """A new vault with its first backup at two nodes; when this raises, nothing is left at ``path``."""
    network = meet(node_urls, http)
    phrase = RecoveryPhrase.generate()
    content = VaultContent(
        seed=secrets.token_bytes(SEED_BYTES),
        chain_id=network.pin.chain_id,
        contract=network.pin.contract,
        genesis_hash=network.pin.genesis_hash,
        deployment_block=network.pin.deployment_block,
        nodes=network.nodes,
        backup=backup_access(phrase.backup_keys()),
    )
    store = VaultStore.create(path, passphrase, content, cost)
    session = Session(store, http, progress)
    try:
        session.directory()
        store_backup(session)
    except BaseException:
        store.discard()
        raise
    return session, phrase


def recover_session(
    path: Path,
    passphrase: str,
    phrase: RecoveryPhrase,
    node_urls: Sequence[str],
    http: httpx.Client,
    cost: PassphraseCost,
    progress: Progress,
) -> tuple[Session, Recovery]:
    """A vault from the newest backup, compared with the ledger; when this raises, nothing is left at ``path``."""
    if path.exists():
        raise VaultError(f"expected no file at {path}; there is one: a wallet is never overwritten")
    keys = phrase.backup_keys()
    network = meet(node_urls, http)
    clients = clients_of(network, http)
    found = recovery.fetch_newest_backup(keys, clients, network.pin)
    content = recovery.restored_content(found, keys, clients)
    store = VaultStore.create(path, passphrase, content, cost)
    session = Session(store, http, progress)
    try:
        report = recovery.compare_with_ledger(session, found)
        store_backup(session)
    except BaseException:
        store.discard()
        raise
    return session, report


def replace_phrase(session: Session) -> RecoveryPhrase:
    """A new recovery phrase, with a backup of its own; the vault keeps the old one when no two nodes take that."""
    phrase = RecoveryPhrase.generate()
    before = session.content
    session.save(before.replaced(backup=backup_access(phrase.backup_keys())))
    try:
        store_backup(session)
    except BaseException:
        session.save(before)
        raise
    return phrase


def backup_access(keys: BackupKeys) -> BackupAccess:
    """What the vault keeps of a phrase that has no backup yet."""
    return BackupAccess(
        locator=keys.locator,
        encryption_key=keys.encryption_key,
        signing_seed=keys.signing_seed,
        version=0,
    )
