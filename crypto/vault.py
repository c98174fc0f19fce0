"""The patient's vault: an encrypted file under a passphrase, and its backup under the recovery phrase."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from crypto import canonical
from crypto.errors import FormatError, HeaderError, KeyfileError, OpenError, SignatureError
from crypto.fields import DIGEST_BYTES, SECRET_BYTES, require_octets, require_uint
from crypto.labels import Label
from crypto.padding import pad, unpad
from crypto.passphrase import DEFAULT_COST, PassphraseCost, open_with_passphrase, seal_with_passphrase
from crypto.private_file import atomic_write_private, read_private
from crypto.recovery import BackupKeys, RecoveryPhrase, backup_locator

MAX_VAULT_BYTES = 64 * 2**20

_VERSION_BITS = 64
_ED25519_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Backup:
    """An opened backup: its version, and the content that was sealed."""

    version: int
    content: bytes = field(repr=False)


def seal_vault(content: bytes, passphrase: str, cost: PassphraseCost = DEFAULT_COST) -> bytes:
    """``content`` under ``passphrase``, padded so that its size says little.

    Raises:
        FormatError: the passphrase is empty, or the content over 64 MiB.
    """
    _require_size(content)
    return seal_with_passphrase(pad(content), passphrase, Label.VAULT, cost)


def open_vault(sealed: bytes, passphrase: str) -> bytes:
    """What ``seal_vault`` was given.

    Raises:
        FormatError: the bytes are no vault.
        PassphraseError: the passphrase is wrong, or the bytes were altered.
    """
    return bytes(unpad(open_with_passphrase(sealed, passphrase, Label.VAULT, 2 * MAX_VAULT_BYTES)))


def write_vault(path: Path, content: bytes, passphrase: str, cost: PassphraseCost = DEFAULT_COST) -> None:
    """Seals ``content`` and puts it at ``path``, mode 0600, whole or not at all.

    Raises:
        KeyfileError: ``path`` is a symbolic link, or its directory is missing.
        OSError: the disk refused; what was at ``path`` still is.
    """
    atomic_write_private(path, seal_vault(content, passphrase, cost))


def read_vault(path: Path, passphrase: str) -> bytes:
    """The content of the vault at ``path``.

    Raises:
        KeyfileError: the file is missing, not private, or no vault; the message says what to do.
        PassphraseError: the passphrase is wrong, or the file was altered.
    """
    sealed = read_private(path, 2 * MAX_VAULT_BYTES)
    try:
        return open_vault(sealed, passphrase)
    except FormatError as error:
        raise KeyfileError(f"{path}: {error}") from None


def seal_backup(content: bytes, keys: BackupKeys, version: int) -> bytes:
    """``content`` for storage at nodes: padded, encrypted, bound to locator and version, signed.

    Args:
        version: 64 bits, higher with each backup; nodes keep the highest.

    Raises:
        FormatError: the content is over 64 MiB.
    """
    _require_size(content)
    require_uint("backup version", version, _VERSION_BITS)
    encryptor = Cobblestone256Encryptor(keys.encryption_key, _backup_context(keys.locator, version))
    ciphertext = encryptor.update(pad(content)) + encryptor.finalize()
    signing = Ed25519PrivateKey.from_private_bytes(keys.signing_seed)
    return canonical.encode(
        Label.BACKUP,
        {
            "version": version,
            "publicKey": signing.public_key().public_bytes_raw(),
            "ciphertext": ciphertext,
            "signature": signing.sign(_signed_bytes(keys.locator, version, ciphertext)),
        },
    )


def check_backup(sealed: bytes, locator: bytes) -> int:
    """What a node checks before it stores a backup under ``locator`` (32 bytes).

    Returns:
        The backup's version: store it only above the one that is there.

    Raises:
        FormatError: the bytes are no backup, or too large.
        HeaderError: it belongs under another locator.
        SignatureError: the locator's owner did not sign it.
    """
    return _read_backup(sealed, locator)[0]


def open_backup(sealed: bytes, keys: BackupKeys) -> Backup:
    """The content of a backup, by the keys of its recovery phrase.

    Raises:
        FormatError: the bytes are no backup.
        HeaderError: it is another phrase's backup.
        SignatureError: it was altered.
        OpenError: it does not open.
    """
    version, ciphertext = _read_backup(sealed, keys.locator)
    decryptor = Cobblestone256Decryptor(keys.encryption_key, _backup_context(keys.locator, version))
    try:
        content = decryptor.update(ciphertext) + decryptor.finalize()
    except (InvalidTag, ValueError):
        raise OpenError("the backup does not open with this recovery phrase") from None
    return Backup(version, bytes(unpad(content)))


def _read_backup(sealed: bytes, locator: bytes) -> tuple[int, bytes]:
    require_octets("locator", locator, DIGEST_BYTES)
    fields = canonical.decode(sealed, Label.BACKUP, 2 * MAX_VAULT_BYTES)
    version = fields.uint("version", _VERSION_BITS)
    public = fields.octets("publicKey", SECRET_BYTES)
    ciphertext = fields.octets_up_to("ciphertext", 2 * MAX_VAULT_BYTES)
    signature = fields.octets("signature", _ED25519_SIGNATURE_BYTES)
    fields.done()
    if backup_locator(public) != locator:
        raise HeaderError("backup: expected one of this locator; came another's")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(
            signature, _signed_bytes(locator, version, ciphertext)
        )
    except (InvalidSignature, ValueError):
        raise SignatureError(
            "backup: expected the signature of the locator's key; came another, or other bytes"
        ) from None
    return version, ciphertext


def _backup_context(locator: bytes, version: int) -> bytes:
    return Label.BACKUP.prefix + locator + version.to_bytes(8)


def _signed_bytes(locator: bytes, version: int, ciphertext: bytes) -> bytes:
    return _backup_context(locator, version) + hashlib.sha256(ciphertext).digest()


def _require_size(content: bytes) -> None:
    if len(content) > MAX_VAULT_BYTES:
        raise FormatError(f"vault: expected at most {MAX_VAULT_BYTES} bytes; came {len(content)}")


__all__ = [
    "MAX_VAULT_BYTES",
    "Backup",
    "BackupKeys",
    "RecoveryPhrase",
    "check_backup",
    "open_backup",
    "open_vault",
    "read_vault",
    "seal_backup",
    "seal_vault",
    "write_vault",
]
