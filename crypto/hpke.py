"""Sealing to a public key: HPKE (RFC 9180), base mode, single shot.

Suite: KEM MLKEM768_X25519 (X-Wing, 0x647a), KDF HKDF-SHA256 (0x0001), AEAD AES-256-GCM (0x0002).
A sealed message is the 1120-byte encapsulation, the ciphertext and its 16-byte tag.
Sources: RFC 9180; draft-connolly-cfrg-xwing-kem sections 5.2 to 5.5; draft-ietf-hpke-pq.
"""

import hashlib
import secrets
from functools import cached_property

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from crypto.errors import FormatError, OpenError
from crypto.fields import require_octets

SEED_BYTES = 32
PUBLIC_KEY_BYTES = 1216
ENCAPSULATION_BYTES = 1120
OVERHEAD_BYTES = ENCAPSULATION_BYTES + 16
"""What sealing adds to a plaintext."""

_MLKEM_PUBLIC_BYTES = 1184
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def key_digest(public: bytes) -> bytes:
    """SHA-256 of a 1216-byte public key: how a key is named on the ledger and in every wrap's binding."""
    return hashlib.sha256(require_octets("public encryption key", public, PUBLIC_KEY_BYTES)).digest()


def seal(plaintext: bytes, public: bytes, info: bytes) -> bytes:
    """Seals ``plaintext`` to the holder of ``public`` (1216 bytes), bound to ``info``.

    Base mode: whoever opens it learns nothing about who sealed it.

    Returns:
        ``len(plaintext) + OVERHEAD_BYTES`` bytes, others at each call.

    Raises:
        FormatError: ``public`` is not a valid key.
    """
    require_octets("public encryption key", public, PUBLIC_KEY_BYTES)
    try:
        recipient = hpke.MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_BYTES]),
            X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_BYTES:]),
        )
        return _SUITE.encrypt(plaintext, recipient, info)
    except ValueError:
        raise FormatError(
            "public encryption key: expected an X-Wing public key; came bytes that are none"
        ) from None


class EncryptionKey:
    """A secret X-Wing key: a 32-byte seed, and all that follows from it. Its repr shows the digest only."""

    def __init__(self, seed: bytes) -> None:
        self._seed = require_octets("seed of an encryption key", seed, SEED_BYTES)

    @classmethod
    def generate(cls) -> "EncryptionKey":
        """A fresh random key."""
        return cls(secrets.token_bytes(SEED_BYTES))

    @classmethod
    def from_seed(cls, seed: bytes) -> "EncryptionKey":
        """The key of a 32-byte seed.

        Raises:
            FormatError: ``seed`` has another size.
        """
        return cls(seed)

    @property
    def seed(self) -> bytes:
        """The secret itself, 32 bytes."""
        return self._seed

    @cached_property
    def _private(self) -> hpke.MLKEM768X25519PrivateKey:
        mlkem, x25519 = self._parts
        return hpke.MLKEM768X25519PrivateKey(mlkem, x25519)

    @cached_property
    def _parts(self) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        # draft-connolly-cfrg-xwing-kem, expandDecapsulationKey: SHAKE256(seed, 96) = d || z || x25519 secret.
        expanded = hashlib.shake_256(self._seed).digest(96)
        return MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(
            expanded[64:]
        )

    @cached_property
    def public(self) -> bytes:
        """The public key, 1216 bytes: ML-KEM-768 encapsulation key (1184), X25519 public key (32)."""
        mlkem, x25519 = self._parts
        return mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the public key, 32 bytes."""
        return key_digest(self.public)

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """What was sealed to this key under ``info``.

        Raises:
            OpenError: it was sealed to another key, under another ``info``, or was altered.
        """
        if len(sealed) < OVERHEAD_BYTES:
            raise OpenError(f"expected at least {OVERHEAD_BYTES} sealed bytes; came {len(sealed)}")
        try:
            return _SUITE.decrypt(sealed, self._private, info)
        except (InvalidTag, ValueError):
            raise OpenError(
                "the sealed bytes do not open: they are for another key, bound to something else, or altered"
            ) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EncryptionKey) and secrets.compare_digest(self._seed, other._seed)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"EncryptionKey(digest={self.digest.hex()})"
