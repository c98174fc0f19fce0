"""Who this node is: its member's account, encryption keys and transport key."""

from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crypto.hpke import EncryptionKey
from crypto.keystore import MemberSecrets, read_keystore
from crypto.signer import AccountKey
from wire.signing import RequestKey


class Identity:
    """The member's secrets, opened. Its repr shows the address only."""

    def __init__(self, secrets: MemberSecrets) -> None:
        self._secrets = secrets

    @classmethod
    def open(cls, keystore: Path, passphrase: str) -> "Identity":
        """The identity in a keystore file.

        Raises:
            crypto.KeyfileError: the file cannot be trusted, or the passphrase does not open it.
        """
        return cls(read_keystore(keystore, passphrase))

    @property
    def account(self) -> AccountKey:
        """The member's account: it signs transactions and statements."""
        return self._secrets.account

    @property
    def address(self) -> bytes:
        """The member's address, 20 bytes."""
        return self._secrets.account.address

    @property
    def current_encryption_key(self) -> EncryptionKey:
        """The HPKE key that new wraps for this member are sealed to."""
        return self._secrets.encryption_keys[0]

    def encryption_key(self, digest: bytes) -> EncryptionKey | None:
        """The HPKE key of a digest (32 bytes), old ones too; None when it is not this member's."""
        for key in self._secrets.encryption_keys:
            if key.digest == digest:
                return key
        return None

    @property
    def encryption_keys(self) -> tuple[EncryptionKey, ...]:
        """Every HPKE key of this member, the newest first."""
        return self._secrets.encryption_keys

    @cached_property
    def request_key(self) -> RequestKey:
        """What this member signs its requests with."""
        return RequestKey.of_member(self.address, self._secrets.transport_seed)

    @property
    def transport_public_key(self) -> bytes:
        """The Ed25519 public key, 32 bytes, by which others check this member's requests."""
        key = Ed25519PrivateKey.from_private_bytes(self._secrets.transport_seed)
        return key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"Identity({self.account.checksum_address})"
