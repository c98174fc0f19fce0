"""Accounts of pseudonyms: one for each care relationship, from one seed, unlinkable to each other."""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from crypto import CryptoError
from crypto.signer import AccountKey

SEED_BYTES = 32
_LABEL = b"phr/v1/pseudonym\x00"
_MAX_ATTEMPTS = 255


def pseudonym_key(seed: bytes, index: int) -> AccountKey:
    """The account of pseudonym ``index``, the same for the same seed, for ever.

    The secret is HKDF-Expand (RFC 5869, SHA-256) of the seed with info label | index (4 bytes) | attempt (1 byte).
    The seed is uniformly random, therefore needs no extraction. An output that is no secret of secp256k1 (chance
    2^-128) takes the next attempt.

    Args:
        seed: 32 random bytes of the vault.
        index: 0 to 2^32 - 1.

    Raises:
        ValueError: the seed or the index has another size.
    """
    if len(seed) != SEED_BYTES:
        raise ValueError(f"expected a seed of {SEED_BYTES} bytes; came {len(seed)}")
    if not 0 <= index < 2**32:
        raise ValueError(f"expected a pseudonym index of 32 bits; came {index}")
    for attempt in range(_MAX_ATTEMPTS):
        info = _LABEL + index.to_bytes(4, "big") + bytes([attempt])
        try:
            return AccountKey.from_bytes(HKDFExpand(SHA256(), 32, info).derive(seed))
        except CryptoError:
            continue
    raise ValueError("the seed gives no account: it is not random")
