"""Checks of single values: sizes of byte strings, widths of integers, lengths of texts."""

from crypto.errors import FormatError

ADDRESS_BYTES = 20
DIGEST_BYTES = 32
SECRET_BYTES = 32
CHAIN_ID_BITS = 64
EPOCH_BITS = 16
GENERATION_BITS = 32
SEQUENCE_BITS = 32


def require_octets(name: str, value: object, size_bytes: int) -> bytes:
    """``value``, if it is a byte string of exactly ``size_bytes``; its content is never shown.

    Raises:
        FormatError: it is anything else.
    """
    if not isinstance(value, bytes):
        raise FormatError(f"{name}: expected {size_bytes} bytes; came {type(value).__name__}")
    if len(value) != size_bytes:
        raise FormatError(f"{name}: expected {size_bytes} bytes; came {len(value)}")
    return value


def require_uint(name: str, value: object, bits: int) -> int:
    """``value``, if it is an unsigned integer of at most ``bits`` bits.

    Raises:
        FormatError: it is anything else, a bool included.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise FormatError(f"{name}: expected an integer of {bits} bits; came {type(value).__name__}")
    if not 0 <= value < 1 << bits:
        raise FormatError(
            f"{name}: expected 0 to 2^{bits} - 1; came {value if abs(value) < 1 << 64 else 'more'}"
        )
    return value


def require_text(name: str, value: object, max_bytes: int) -> str:
    """``value``, if it is a text of 1 to ``max_bytes`` bytes in UTF-8 without control characters.

    Raises:
        FormatError: it is anything else.
    """
    if not isinstance(value, str):
        raise FormatError(f"{name}: expected text; came {type(value).__name__}")
    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError:
        raise FormatError(f"{name}: expected text that UTF-8 can carry; came a lone surrogate") from None
    if not 1 <= size_bytes <= max_bytes:
        raise FormatError(f"{name}: expected 1 to {max_bytes} bytes of text; came {size_bytes}")
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in value):
        raise FormatError(f"{name}: expected text without control characters; came some")
    return value
