"""A member's secrets in one file: the account key as Web3 secret storage v3, the others sealed beside it.

The file is JSON of two members: ``account`` is a version 3 key file as every Ethereum tool reads it; ``sealed``
(base64) holds, under the same passphrase, the encryption keys, old ones too, and the transport key.
"""

import base64
import binascii
import json
from dataclasses import dataclass, field
from pathlib import Path

from crypto import canonical
from crypto.errors import FormatError, KeyfileError, OpenError, PassphraseError
from crypto.fields import ADDRESS_BYTES, SECRET_BYTES, require_octets
from crypto.hpke import EncryptionKey
from crypto.labels import Label
from crypto.passphrase import (
    DEFAULT_COST,
    MAX_SCRYPT_N,
    PassphraseCost,
    open_with_passphrase,
    passphrase_bytes,
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
    # Imported here: it takes most of a second, which commands that touch no keystore should not wait for.
    from eth_keyfile.keyfile import create_keyfile_json

    account = create_keyfile_json(
        secrets.account.secret, passphrase_bytes(passphrase), kdf="scrypt", iterations=cost.scrypt_n
    )
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
        "account": account,
        "sealed": base64.b64encode(sealed).decode("ascii"),
    }
    atomic_write_private(path, json.dumps(document, indent=2).encode() + b"\n")


def read_keystore(path: Path, passphrase: str) -> MemberSecrets:
    """The secrets that ``write_keystore`` wrote.

    Raises:
        KeyfileError: the file is missing, not private, or no keystore; the message says what to do.
        PassphraseError: the passphrase is wrong, or the file was altered.
    """
    data = read_private(path, MAX_KEYSTORE_BYTES)
    try:
        document = json.loads(data)
        if document["type"] != Label.KEYSTORE.value:
            raise ValueError
        account_json, sealed = document["account"], base64.b64decode(document["sealed"], validate=True)
        if account_json["version"] != 3 or not 2 <= account_json["crypto"]["kdfparams"]["n"] <= MAX_SCRYPT_N:
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        raise KeyfileError(f"{path}: expected a keystore of this program; came another file") from None
    try:
        fields = canonical.decode(
            open_with_passphrase(sealed, passphrase, Label.KEYSTORE, MAX_KEYSTORE_BYTES),
            Label.KEYSTORE_SECRETS,
            MAX_KEYSTORE_BYTES,
        )
        address = fields.octets("address", ADDRESS_BYTES)
        seeds = [
            entry.octets("seed", SECRET_BYTES)
            for entry in fields.maps("encryptionSeeds", MAX_ENCRYPTION_KEYS)
        ]
        transport_seed = fields.octets("transportSeed", SECRET_BYTES)
        fields.done()
    except FormatError as error:
        raise KeyfileError(f"{path}: {error}") from None
    account = _open_account(account_json, passphrase, path)
    if account.address != address:
        raise KeyfileError(
            f"{path}: expected the account 0x{address.hex()}; came another: the file was put together"
        )
    return MemberSecrets(account, tuple(EncryptionKey.from_seed(seed) for seed in seeds), transport_seed)


def _open_account(account_json: dict[str, object], passphrase: str, path: Path) -> AccountKey:
    from eth_keyfile.keyfile import decode_keyfile_json

    try:
        return AccountKey.from_bytes(decode_keyfile_json(account_json, passphrase_bytes(passphrase)))
    except ValueError:
        raise PassphraseError(
            f"{path}: the passphrase does not open the account key, or the file was altered"
        ) from None
    except (KeyError, TypeError, NotImplementedError, AttributeError):
        raise KeyfileError(
            f"{path}: expected a version 3 key file in 'account'; came something else"
        ) from None


__all__ = [
    "DEFAULT_COST",
    "MemberSecrets",
    "PassphraseCost",
    "atomic_write_private",
    "read_keystore",
    "read_private",
    "write_keystore",
]
