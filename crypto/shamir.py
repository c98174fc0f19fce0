"""Secret sharing: t of n shares rebuild 32 bytes, fewer say nothing (Shamir 1979).

The arithmetic is pycryptodome's, in GF(2^128), so a secret is shared as two halves of 16 bytes; see
docs/adr/0020-shamir-by-a-library.md. Share i belongs to the point x = i, so i is 1..n.
"""

from collections.abc import Mapping

from Crypto.Protocol.SecretSharing import Shamir

from crypto.errors import FormatError
from crypto.fields import SECRET_BYTES, require_octets

SHARE_BYTES = 32
MIN_THRESHOLD = 2
"""One share of one would be no lock."""
MAX_SHARES = 32

_HALF_BYTES = 16


def split(secret: bytes, threshold: int, count: int) -> tuple[bytes, ...]:
    """``count`` shares of 32 bytes each; the share at position k has index k + 1.

    Raises:
        FormatError: ``secret`` is not 32 bytes, or not 2 <= threshold <= count <= 32.
    """
    require_octets("secret", secret, SECRET_BYTES)
    check_threshold(threshold, count)
    left = Shamir.split(threshold, count, secret[:_HALF_BYTES], False)
    right = Shamir.split(threshold, count, secret[_HALF_BYTES:], False)
    return tuple(first + second for (_, first), (_, second) in zip(left, right, strict=True))


def combine(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """The 32-byte secret of ``shares``, by index; of more than ``threshold`` the lowest indices are used.

    A wrong share gives a wrong secret and no error: check shares against their commitments first.

    Raises:
        FormatError: fewer than ``threshold`` came, or an index or a size is impossible.
    """
    check_threshold(threshold, MAX_SHARES)
    if len(shares) < threshold:
        raise FormatError(f"shares: expected at least {threshold}; came {len(shares)}")
    for index, share in shares.items():
        if not 1 <= index <= MAX_SHARES:
            raise FormatError(f"share index: expected 1 to {MAX_SHARES}; came {index}")
        require_octets(f"share {index}", share, SHARE_BYTES)
    used = sorted(shares.items())[:threshold]
    left = Shamir.combine([(index, share[:_HALF_BYTES]) for index, share in used], False)
    right = Shamir.combine([(index, share[_HALF_BYTES:]) for index, share in used], False)
    return bytes(left + right)


def check_threshold(threshold: int, count: int) -> None:
    """Refuses what no sharing can be.

    Raises:
        FormatError: not 2 <= threshold <= count <= 32.
    """
    if not MIN_THRESHOLD <= threshold <= count <= MAX_SHARES:
        raise FormatError(
            f"expected {MIN_THRESHOLD} <= threshold <= custodians <= {MAX_SHARES}; came {threshold} of {count}"
        )
