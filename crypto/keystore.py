"""A member's secrets in one file: the account key as Web3 secret storage v3, the others sealed beside it.

The file is JSON of two members: ``account`` is a version 3 key file as every Ethereum tool reads it; ``sealed``
(base64) holds, under the same passphrase, the encryption keys, old ones too, and the transport key.
"""

import base64
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from crypto import canonical
from crypto.account_file import open_account, seal_account
from crypto.errors import FormatError, KeyfileError, OpenError
from crypto.fields import ADDRESS_BYTES, SECRET_BYTES, require_octets
from crypto.hpke import EncryptionKey
from crypto.labels import Label
from crypto.passphrase import (
    DEFAULT_COST,
    PassphraseCost,
    open_with_passphrase,
    seal_with_passphrase,
)
from crypto.private_file import atomic_write_private, read_private
from crypto.signer import AccountKey

MAX_KEYSTORE_BYTES = 2**20
MAX_ENCRYPTION_KEYS = 4096


@dataclass(frozen=True, slots=True)
class MemberSecrets:
    """All that a member keeps secret.

    Attributes:
        account: signs for the member.
        encryption_keys: newest first; old ones stay, for what was sealed to them.
        transport_seed: the Ed25519 seed (32 bytes, RFC 8032) that signs requests to other members.
    """

    account: AccountKey
    encryption_keys: tuple[EncryptionKey, ...]
    transport_seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.encryption_keys) <= MAX_ENCRYPTION_KEYS:
            raise FormatError(f"secrets: expected 1 to {MAX_ENCRYPTION_KEYS} encryption keys; came others")
        require_octets("transport seed", self.transport_seed, SECRET_BYTES)

    def encryption_key(self, digest: bytes) -> EncryptionKey:
        """The key that a header names by its digest (32 bytes), current or old.

        Raises:
            OpenError: there is none of that digest.
        """
        for key in self.encryption_keys:
            if key.digest == digest:
                return key
        raise OpenError(
            f"expected a key of this member; came the digest 0x{digest.hex()}, which is none of its keys"
        )


def write_keystore(
    path: Path, secrets: MemberSecrets, passphrase: str, cost: PassphraseCost = DEFAULT_COST
) -> None:
    """Writes ``secrets`` at ``path``, mode 0600, whole or not at all, over an older keystore if there is one.

    Raises:
        FormatError: the passphrase is empty.
        KeyfileError: ``path`` is a symbolic link, or its directory is missing.
        OSError: the disk refused; what was at ``path`` still is.
    """
    inner = canonical.encode(
        Label.KEYSTORE_SECRETS,
        {
            "address": secrets.account.address,
            "encryptionSeeds": [{"seed": key.seed} for key in secrets.encryption_keys],
            "transportSeed": secrets.transport_seed,
        },
    )
    sealed = seal_with_passphrase(inner, passphrase, Label.KEYSTORE, cost)
    document = {
        "type": Label.KEYSTORE.value,
        "account": seal_account(secrets.account, passphrase, cost.scrypt_n),
        "sealed": base64.b64encode(sealed).decode("ascii"),
    }
    atomic_write_private(path, orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def read_keystore(path: Path, passphrase: str) -> MemberSecrets:
    """The secrets that ``write_keystore`` wrote.

    Raises:
        KeyfileError: the file is missing, not private, or no keystore; the message says what to do.
        PassphraseError: the passphrase is wrong, or the file was altered.
    """
    data = read_private(path, MAX_KEYSTORE_BYTES)
    try:
        # orjson limits the depth, whatever the interpreter's recursion limit is.
        document = orjson.loads(data)
        if document["type"] != Label.KEYSTORE.value:
            raise ValueError
        account_document, sealed = document["account"], base64.b64decode(document["sealed"], validate=True)
    except (ValueError, KeyError, TypeError):
        raise KeyfileError(f"{path}: expected a keystore of this program; came another file") from None
    try:
        inner = open_with_passphrase(sealed, passphrase, Label.KEYSTORE, MAX_KEYSTORE_BYTES)
        fields = canonical.decode(inner, Label.KEYSTORE_SECRETS, MAX_KEYSTORE_BYTES)
        address = fields.octets("address", ADDRESS_BYTES)
        entries = fields.maps("encryptionSeeds", MAX_ENCRYPTION_KEYS)
        keys = tuple(EncryptionKey.from_seed(entry.octets("seed", SECRET_BYTES)) for entry in entries)
        transport_seed = fields.octets("transportSeed", SECRET_BYTES)
        fields.done()
        account = open_account(account_document, passphrase)
    except FormatError as error:
        raise KeyfileError(f"{path}: {error}") from None
    if account.address != address:
        raise KeyfileError(
            f"{path}: expected the account 0x{address.hex()}; came another: the file was put together"
        )
    return MemberSecrets(account, keys, transport_seed)


__all__ = [
    "DEFAULT_COST",
    "MemberSecrets",
    "PassphraseCost",
    "atomic_write_private",
    "read_keystore",
    "read_private",
    "write_keystore",
]
