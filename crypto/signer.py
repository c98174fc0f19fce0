"""Ethereum accounts: who signs, and how a signature says who signed.

Signatures are 65 bytes r (32), s (32), v (27 or 28), with s in the lower half of the order (EIP-2), over a
32-byte digest; nonces are RFC 6979's. The curve arithmetic is libsecp256k1's, through coincurve.
"""

import secrets
from typing import Protocol

from coincurve import PrivateKey, PublicKey
from Crypto.Hash import keccak

from crypto.errors import FormatError, SignatureError
from crypto.fields import ADDRESS_BYTES, DIGEST_BYTES, SECRET_BYTES, require_octets

SIGNATURE_BYTES = 65
PUBLIC_KEY_BYTES = 64

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_HALF_ORDER = _ORDER // 2
_V_OFFSET = 27


class Signer(Protocol):
    """An account that signs: a key in memory here, hardware or a key service elsewhere."""

    @property
    def address(self) -> bytes:
        """The account, 20 bytes."""

    @property
    def public_key(self) -> bytes:
        """The point x, y, 64 bytes; its Keccak-256 ends in the address."""

    def sign_digest(self, digest: bytes) -> bytes:
        """A 65-byte signature r, s, v of a 32-byte digest, low-s."""


class AccountKey:
    """A secp256k1 secret key of an Ethereum account. Its repr shows the address only."""

    def __init__(self, secret: bytes) -> None:
        require_octets("account key", secret, SECRET_BYTES)
        if not 0 < int.from_bytes(secret) < _ORDER:
            raise FormatError(
                "account key: expected a secret between 1 and the curve's order; came one outside"
            )
        self._key = PrivateKey(secret)
        self._public = self._key.public_key.format(compressed=False)[1:]
        self._address = address_of(self._public)

    @classmethod
    def generate(cls) -> "AccountKey":
        """A fresh random account."""
        while not 0 < int.from_bytes(secret := secrets.token_bytes(SECRET_BYTES)) < _ORDER:
            continue
        return cls(secret)

    @classmethod
    def from_bytes(cls, secret: bytes) -> "AccountKey":
        """The account of a 32-byte secret.

        Raises:
            FormatError: it has another size, or is zero or beyond the curve's order.
        """
        return cls(secret)

    @property
    def secret(self) -> bytes:
        """The secret itself, 32 bytes."""
        return self._key.secret

    @property
    def public_key(self) -> bytes:
        """The point x, y, 64 bytes."""
        return self._public

    @property
    def address(self) -> bytes:
        """The account, 20 bytes."""
        return self._address

    @property
    def checksum_address(self) -> str:
        """The account as people see it (EIP-55)."""
        return checksum_address(self._address)

    def sign_digest(self, digest: bytes) -> bytes:
        """A 65-byte signature r, s, v of a 32-byte digest; the same digest gives the same signature.

        Raises:
            FormatError: ``digest`` is not 32 bytes.
        """
        require_octets("digest", digest, DIGEST_BYTES)
        signature = self._key.sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes((signature[64] + _V_OFFSET,))

    def __repr__(self) -> str:
        return f"AccountKey(address={self.checksum_address})"


def recover_address(digest: bytes, signature: bytes) -> bytes:
    """The account (20 bytes) whose signature this is.

    Raises:
        SignatureError: it is not 65 bytes r, s, v with v 27 or 28 and low s, or belongs to no account.
    """
    require_octets("digest", digest, DIGEST_BYTES)
    if len(signature) != SIGNATURE_BYTES:
        raise SignatureError(f"signature: expected {SIGNATURE_BYTES} bytes r, s, v; came {len(signature)}")
    recovery = signature[64] - _V_OFFSET
    if recovery not in (0, 1):
        raise SignatureError(f"signature: expected v of 27 or 28; came {signature[64]}")
    if int.from_bytes(signature[32:64]) > _HALF_ORDER:
        raise SignatureError("signature: expected s in the lower half of the order (EIP-2); came its mirror")
    try:
        point = PublicKey.from_signature_and_message(signature[:64] + bytes((recovery,)), digest, hasher=None)
    except Exception as error:  # coincurve raises both ValueError and bare Exception here
        raise SignatureError(
            "signature: expected one that an account can have made; came bytes that are none"
        ) from error
    return address_of(point.format(compressed=False)[1:])


def address_of(public_key: bytes) -> bytes:
    """The account of a 64-byte point x, y: the last 20 bytes of its Keccak-256."""
    return keccak256(require_octets("public key", public_key, PUBLIC_KEY_BYTES))[-ADDRESS_BYTES:]


def checksum_address(address: bytes) -> str:
    """A 20-byte account in EIP-55's mixed case."""
    plain = require_octets("address", address, ADDRESS_BYTES).hex()
    digest = keccak256(plain.encode("ascii")).hex()
    cased = (
        char.upper() if int(nibble, 16) >= 8 else char for char, nibble in zip(plain, digest, strict=False)
    )
    return "0x" + "".join(cased)


def keccak256(data: bytes) -> bytes:
    """Keccak-256, as Ethereum uses it (not SHA3-256)."""
    return keccak.new(data=data, digest_bits=256).digest()
