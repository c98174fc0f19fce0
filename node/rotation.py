"""A member's new keys and endpoint: made beside the old ones, put on the ledger by the member, then taken into use.

The node must not run meanwhile. Each step can be repeated after a crash: the new keys are on disk before the ledger
hears of them, and the keystore in use is replaced only when the ledger names them. Old encryption keys stay in the
keystore for what was sealed to them; the old transport key goes.
"""

import json
import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crypto.hpke import EncryptionKey
from crypto.keystore import MemberSecrets, read_keystore, write_keystore
from crypto.passphrase import DEFAULT_COST, PassphraseCost
from crypto.private_file import atomic_write_private, read_private
from ledger import calls
from ledger.chain import Chain
from ledger.contract import ConsentLedger
from ledger.deploy import Deployment, check_deployment
from ledger.endpoints import connect
from ledger.engine import ENGINES
from ledger.errors import ContractRefused, TransactionLost
from ledger.events import profile_digest
from ledger.messages import MemberKeys
from ledger.sender import Sender
from node.config import CONFIG_FILE, NodeConfig
from node.database import Database
from node.errors import ConfigurationError
from node.identity import Identity
from node.initialise import read_deployment
from node.outbox import DatabaseOutbox
from node.process_lock import locked

NEXT_KEYSTORE = "keystore.next"
"""Keys that the ledger does not name yet."""
_ENDPOINT_LINE = re.compile(r"^endpoint\s*=.*$", re.MULTILINE)
_KEYSTORE_BYTES = 2**20
_PASSPHRASE_BYTES = 64 * 1024
_VERSION_SHIFT = 17
"""Where a member's packed word has the version of its keys (``ledger.entities.Member.word``)."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """What the ledger names now: the version of the keys, and the endpoint."""

    version: int
    endpoint: str
    keys_changed: bool


def rotate(
    directory: Path,
    *,
    new_keys: bool = True,
    endpoint: str | None = None,
    cost: PassphraseCost = DEFAULT_COST,
    reached: Callable[[str], None] = lambda _: None,
) -> Rotated:
    """Changes a member's encryption and transport keys, its endpoint, or both; repeating it finishes what began.

    Args:
        new_keys: make new keys; False changes the endpoint alone.
        endpoint: the URL under which others reach the node from now on; as before, when absent.
        reached: told each step when it is done, for tests that kill.

    Raises:
        ConfigurationError: the node runs, the member is not enrolled, or the endpoint is no URL.
        ledger.LedgerError: the ledger does not take it, or not in time: repeat it.
        crypto.KeyfileError: the keystore cannot be opened.
    """
    settings = NodeConfig.load(directory)
    with locked(settings.directory):
        if endpoint is not None:
            settings = _with_endpoint(settings, endpoint)
        reached("settings")
        passphrase = _passphrase(settings)
        keystore = settings.path(settings.keystore)
        current, upcoming = read_keystore(keystore, passphrase), keystore.with_name(NEXT_KEYSTORE)
        if new_keys and not upcoming.exists():
            write_keystore(upcoming, _with_new_keys(current), passphrase, cost)
        reached("made")
        wanted = read_keystore(upcoming, passphrase) if upcoming.exists() else current
        version = _put_on_ledger(settings, Identity(wanted))
        reached("on the ledger")
        if upcoming.exists():
            atomic_write_private(keystore, read_private(upcoming, _KEYSTORE_BYTES))
            reached("in use")
            upcoming.unlink()
            _sync_directory(keystore.parent)
        return Rotated(version, settings.endpoint, wanted is not current)


def _with_endpoint(settings: NodeConfig, endpoint: str) -> NodeConfig:
    """The settings with another endpoint, on disk: were the ledger told first, a crash would leave the old one here.

    Only that line of the file is changed: what the environment overrides must not get into it.
    """
    path = settings.directory / CONFIG_FILE
    try:
        if not endpoint.isprintable():
            raise ValueError(endpoint)
        changed = NodeConfig(**settings.model_dump() | {"endpoint": endpoint})
    except ValueError as error:
        raise ConfigurationError(
            f"expected an endpoint that starts with http:// or https://; came {endpoint!r}"
        ) from error
    line = f"endpoint = {json.dumps(changed.endpoint)}"
    text, found = _ENDPOINT_LINE.subn(lambda _: line, path.read_text(), count=1)
    if not found:
        raise ConfigurationError(f"expected a line with the endpoint in {path}; there is none")
    atomic_write_private(path, text.encode())
    return changed


def _passphrase(settings: NodeConfig) -> str:
    return read_private(settings.path(settings.passphrase_file), _PASSPHRASE_BYTES).decode().rstrip("\r\n")


def _with_new_keys(current: MemberSecrets) -> MemberSecrets:
    keys = (EncryptionKey.generate(), *current.encryption_keys)
    return MemberSecrets(current.account, keys, secrets.token_bytes(32))


def _put_on_ledger(settings: NodeConfig, identity: Identity) -> int:
    """Lets the ledger name these keys, unless it does already; their version."""
    deployment = read_deployment(settings.path(settings.deployment))
    database = Database(settings.database)
    try:
        # On a database server no lock of a directory tells of a node that runs on another machine.
        database.take_over()
        engine = ENGINES[settings.engine]
        with connect(settings.chain_urls, engine, deployment, settings.rpc_confirmations) as chain:
            check_deployment(chain, deployment)
            return _change_keys(chain, deployment, settings, identity, database)
    finally:
        database.close()


def _change_keys(
    chain: Chain, deployment: Deployment, settings: NodeConfig, identity: Identity, database: Database
) -> int:
    contract = ConsentLedger(chain, deployment.address)
    sender = Sender(
        chain,
        identity.address,
        identity.account.sign_digest,
        DatabaseOutbox(database),
        chain_id=deployment.chain_id,
    )
    for unmined in sender.resume():
        # An earlier attempt's own transaction may be among them: then there is nothing left to send.
        with suppress(ContractRefused, TransactionLost):
            sender.wait(unmined)
    [word] = contract.member_words([identity.address])
    if word == 0:
        raise ConfigurationError(
            "expected an enrolled member; this one is not yet: give enrolment.json to the administrator first"
        )
    version = word >> _VERSION_SHIFT
    keys = MemberKeys(
        member=identity.address,
        name=settings.name,
        endpoint=settings.endpoint,
        encryption_key=identity.current_encryption_key.public,
        transport_key=identity.transport_public_key,
        nonce=version + 1,
        deadline=0,
    )
    named = contract.member_key_digests(identity.address)
    profile = profile_digest(keys.name.encode(), keys.endpoint.encode())
    wanted = (identity.current_encryption_key.digest, identity.transport_public_key, profile)
    if (named.encryption_key_digest, named.transport_key, named.profile_digest) == wanted:
        return version
    sender.send(deployment.address, calls.change_member_keys(keys))
    return version + 1


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
