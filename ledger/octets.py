"""Rows of bytes of one length, as arrays: from the endpoint's hexadecimal texts, to numbers and to ``bytes``."""

from binascii import unhexlify
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ledger.blocks import quantity
from ledger.errors import ChainAnswerInvalid, EventUnknown

Bytes2D = npt.NDArray[np.uint8]
"""Rows of bytes, shaped (rows, bytes)."""
Integers = npt.NDArray[np.int64]
_PREFIX = np.frombuffer(b"0x", dtype=np.uint8)


def hex_rows(texts: Sequence[str], size_bytes: int, what: str) -> Bytes2D:
    """Texts of 0x and twice ``size_bytes`` hexadecimal digits each, as rows of bytes.

    Raises:
        EventUnknown: a text has another length.
        ChainAnswerInvalid: a text is not hexadecimal.
    """
    digits = 2 + 2 * size_bytes
    if not {digits}.issuperset(map(len, texts)):
        raise EventUnknown(f"{what}: expected {size_bytes} bytes in each log; some have another size")
    try:
        joined = np.frombuffer("".join(texts).encode("ascii"), dtype=np.uint8).reshape(len(texts), digits)
        if (joined[:, :2] != _PREFIX).any():
            raise ValueError("a text does not start with 0x")
        octets = unhexlify(joined[:, 2:].tobytes())
    except ValueError as error:
        raise ChainAnswerInvalid(
            f"{what}: the endpoint sent no 0x and hexadecimal digits: {error}"
        ) from error
    return np.frombuffer(octets, dtype=np.uint8).reshape(len(texts), size_bytes)


def quantities(texts: Sequence[str]) -> Integers:
    """Numbers of JSON-RPC below 2^63; few of them differ, so each text is parsed once. Raises ChainAnswerInvalid."""
    known = {text: quantity(text) for text in set(texts)}
    return np.array([known[text] for text in texts], dtype=np.int64)


def unsigned(octets: Bytes2D) -> npt.NDArray[np.uint64]:
    """Rows of 8 bytes as big-endian numbers."""
    return np.ascontiguousarray(octets).view(">u8").reshape(-1).astype(np.uint64)


def slices(octets: Bytes2D) -> list[bytes]:
    """Each row as ``bytes``."""
    count, size = octets.shape
    joined = np.ascontiguousarray(octets).tobytes()
    return [joined[start : start + size] for start in range(0, count * size, size)]
