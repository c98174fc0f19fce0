"""Making a node's directory: keys, database, settings, and the enrolment that the administrator needs.

Every step leaves alone what an earlier, interrupted run made; the settings are written last, and a directory that has
them is refused.
"""

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from crypto.hpke import EncryptionKey
from crypto.keystore import MemberSecrets, write_keystore
from crypto.passphrase import DEFAULT_COST, PassphraseCost
from crypto.private_file import atomic_write_private, read_private
from crypto.signer import AccountKey
from ledger.deploy import Deployment
from ledger.errors import InvalidMessage
from ledger.messages import MemberKeys, sign, to_json
from node.config import CONFIG_FILE, NodeConfig
from node.database import Database
from node.errors import ConfigurationError, Conflict
from node.identity import Identity
from node.request_body import faults
from node.staff import StaffRegister
from wire.patients import SignedMessage

ENROLMENT_FILE = "enrolment.json"
STAFF_TOKEN_FILE = "staff-token"  # noqa: S105 - the name of a file
ENROLMENT_SECONDS = 7 * 24 * 3600
"""How long the administrator has to enrol the member."""
FIRST_STAFF = ("node-administrator", "node administrator")
_SMALL_FILE_BYTES = 64 * 1024


def initialise_node(
    directory: Path,
    *,
    name: str,
    endpoint: str,
    rpc_url: str = "",
    rpc_urls: Sequence[str] = (),
    deployment: Path,
    host: str = "127.0.0.1",
    port: int,
    engine: str = "anvil",
    passphrase_file: Path | None = None,
    cost: PassphraseCost = DEFAULT_COST,
    further: Mapping[str, Any] | None = None,
) -> SignedMessage:
    """Makes a node in ``directory`` and returns its enrolment, which is also written to ``enrolment.json``.

    Args:
        name: the organisation's name, 1 to 256 bytes of UTF-8.
        endpoint: the URL under which others reach the node.
        rpc_url, rpc_urls: the chain's JSON-RPC endpoint, or those of several of its validators.
        deployment: a JSON file that names the ledger; it is copied.
        passphrase_file: an existing file (0600) with the keystore's passphrase; one is made with a random
            passphrase, in the directory, when absent.
        cost: how hard the keystore's passphrase is to guess.
        further: other settings of ``NodeConfig`` by name, such as those of its store and its database.

    Raises:
        ConfigurationError: there is a node already, or a setting cannot be used.
        crypto.KeyfileError: the passphrase file cannot be trusted.
    """
    directory = directory.absolute()
    if (directory / CONFIG_FILE).exists():
        raise ConfigurationError(f"{directory} has a node already: nothing was changed")
    scope_of = read_deployment(deployment)
    try:
        settings = NodeConfig(
            directory=directory,
            name=name,
            endpoint=endpoint,
            host=host,
            port=port,
            rpc_url=rpc_url,
            rpc_urls=tuple(rpc_urls),
            engine=engine,
            passphrase_file=Path("passphrase") if passphrase_file is None else passphrase_file.absolute(),
            **(further or {}),
        )
    except ValidationError as error:
        raise ConfigurationError(f"the node cannot be made so: {faults(error.errors())}") from None
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    identity = _make_keys(settings.path(settings.passphrase_file), settings.path(settings.keystore), cost)
    _write(directory / settings.deployment, json.dumps(scope_of.to_json(), indent=2) + "\n")
    _make_database(settings)
    enrolment = _enrolment(settings, identity, scope_of)
    _write(directory / ENROLMENT_FILE, enrolment.model_dump_json(indent=2) + "\n")
    _write(directory / CONFIG_FILE, settings.to_toml())
    return enrolment


def make_keys(directory: Path, cost: PassphraseCost = DEFAULT_COST) -> bytes:
    """Makes only the keys of a node to be, or finds those of an earlier run; its account's address (20 bytes).

    A chain that admits members alone must know their accounts before the contract can be deployed on it, and only
    then can ``initialise_node`` make the rest.

    Raises:
        crypto.KeyfileError: a file that is there cannot be trusted.
    """
    directory = directory.absolute()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    defaults = NodeConfig.model_fields
    passphrase_file, keystore = (
        directory / defaults[name].default for name in ("passphrase_file", "keystore")
    )
    return _make_keys(passphrase_file, keystore, cost).address


def renew_enrolment(directory: Path) -> Path:
    """Signs a node's enrolment anew, with a later deadline, and returns its file.

    Raises:
        ConfigurationError: there is no node in ``directory``.
    """
    settings = NodeConfig.load(directory)
    enrolment = _enrolment(
        settings, open_identity(settings), read_deployment(settings.path(settings.deployment))
    )
    path = settings.directory / ENROLMENT_FILE
    _write(path, enrolment.model_dump_json(indent=2) + "\n")
    return path


def add_staff(directory: Path, staff_id: str, role: str) -> str:
    """Adds a person to a node's staff and returns the token, which cannot be shown again; the node may run.

    Raises:
        ConfigurationError: there is no node in ``directory``.
        InvalidRequest, Conflict: as ``StaffRegister.add``.
    """
    database = _open_database(NodeConfig.load(directory))
    try:
        return StaffRegister(database).add(staff_id, role)
    finally:
        database.close()


def end_staff(directory: Path, staff_id: str) -> None:
    """Ends a person's token; the node may run.

    Raises:
        ConfigurationError: there is no node in ``directory``.
        NotFound: nobody has that name.
    """
    database = _open_database(NodeConfig.load(directory))
    try:
        StaffRegister(database).end(staff_id)
    finally:
        database.close()


def open_identity(settings: NodeConfig) -> Identity:
    """The member's secrets, opened with the passphrase file.

    Raises:
        crypto.KeyfileError: a file cannot be trusted, or the passphrase does not fit.
    """
    return _open_keys(settings.path(settings.passphrase_file), settings.path(settings.keystore))


def _open_keys(passphrase_file: Path, keystore: Path) -> Identity:
    passphrase = read_private(passphrase_file, _SMALL_FILE_BYTES)
    return Identity.open(keystore, passphrase.decode().rstrip("\r\n"))


def read_deployment(path: Path) -> Deployment:
    """The ledger's deployment from a JSON file.

    Raises:
        ConfigurationError: it cannot be read, or is no deployment.
    """
    try:
        with path.open("rb") as file:
            return Deployment.from_json(json.loads(file.read(_SMALL_FILE_BYTES)))
    except (OSError, ValueError, RecursionError, InvalidMessage) as error:
        raise ConfigurationError(f"{path}: expected a ledger's deployment as JSON: {error}") from error


def _make_keys(passphrase_file: Path, keystore: Path, cost: PassphraseCost) -> Identity:
    if not passphrase_file.exists():
        atomic_write_private(passphrase_file, secrets.token_urlsafe(32).encode() + b"\n")
    if not keystore.exists():
        passphrase = read_private(passphrase_file, _SMALL_FILE_BYTES).decode().rstrip("\r\n")
        made = MemberSecrets(AccountKey.generate(), (EncryptionKey.generate(),), secrets.token_bytes(32))
        write_keystore(keystore, made, passphrase, cost)
    return _open_keys(passphrase_file, keystore)


def _make_database(settings: NodeConfig) -> None:
    database = _open_database(settings)
    try:
        token_file = settings.directory / STAFF_TOKEN_FILE
        if not token_file.exists():
            atomic_write_private(token_file, _first_token(StaffRegister(database)).encode() + b"\n")
    finally:
        database.close()


def _first_token(staff: StaffRegister) -> str:
    try:
        return staff.add(*FIRST_STAFF)
    except Conflict:
        # An interrupted run added this person without writing the token down.
        return staff.renew(FIRST_STAFF[0])


def _open_database(settings: NodeConfig) -> Database:
    database = Database(settings.database)
    database.migrate()
    return database


def _enrolment(settings: NodeConfig, identity: Identity, deployment: Deployment) -> SignedMessage:
    keys = MemberKeys(
        member=identity.address,
        name=settings.name,
        endpoint=settings.endpoint,
        encryption_key=identity.current_encryption_key.public,
        transport_key=identity.transport_public_key,
        nonce=1,
        deadline=int(time.time()) + ENROLMENT_SECONDS,
    )
    signature = sign(deployment.scope, keys, identity.account.sign_digest)
    return SignedMessage(kind=MemberKeys.__name__, message=to_json(keys), signature=signature)


def _write(path: Path, text: str) -> None:
    atomic_write_private(path, text.encode())
