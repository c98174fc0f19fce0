"""Padding that hides a size: Padmé, at most 12% more bytes, and O(log log n) bits of the size left visible.

Source: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", section 4.
"""

from crypto.errors import FormatError

LENGTH_BYTES = 8
"""The big-endian length that starts a padded string."""


def padme_size(size_bytes: int) -> int:
    """The size to which Padmé pads ``size_bytes`` bytes: floating point with a short mantissa, rounded up."""
    if size_bytes < 2:
        return size_bytes
    exponent = size_bytes.bit_length() - 1
    mantissa_bits = exponent.bit_length()
    mask = (1 << (exponent - mantissa_bits)) - 1
    return (size_bytes + mask) & ~mask


def pad(content: bytes) -> bytes:
    """``content`` behind its 8-byte length, filled with zeros to a Padmé size."""
    size_bytes = LENGTH_BYTES + len(content)
    return b"".join(
        (len(content).to_bytes(LENGTH_BYTES), content, bytes(padme_size(size_bytes) - size_bytes))
    )


def unpad(padded: bytes) -> memoryview:
    """What ``pad`` was given, without a copy.

    Raises:
        FormatError: the bytes are not exactly what ``pad`` makes of any content.
    """
    view = memoryview(padded)
    if len(view) < LENGTH_BYTES:
        raise FormatError(f"padding: expected at least {LENGTH_BYTES} bytes; came {len(view)}")
    size_bytes = int.from_bytes(view[:LENGTH_BYTES])
    end = LENGTH_BYTES + size_bytes
    if end > len(view) or padme_size(end) != len(view):
        raise FormatError("padding: expected the length that its prefix says, padded; came another")
    if any(view[end:]):
        raise FormatError("padding: expected zeros after the content; came other bytes")
    return view[LENGTH_BYTES:end]
