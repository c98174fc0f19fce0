"""Rows of bytes of one length, as arrays: from the endpoint's hexadecimal texts, to numbers and to ``bytes``."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ledger.errors import ChainAnswerInvalid, EventUnknown

Bytes2D = npt.NDArray[np.uint8]
"""Rows of bytes, shaped (rows, bytes)."""
Integers = npt.NDArray[np.int64]


def hex_rows(texts: Sequence[str], size_bytes: int, what: str) -> Bytes2D:
    """Texts of 0x and twice ``size_bytes`` hexadecimal digits each, as rows of bytes.

    Raises:
        EventUnknown: a text has another length.
        ChainAnswerInvalid: a text is not hexadecimal.
    """
    digits = 2 + 2 * size_bytes
    if any(len(text) != digits for text in texts):
        raise EventUnknown(f"{what}: expected {size_bytes} bytes in each log; some have another size")
    problem = f"{what}: the endpoint sent something that is not 0x and hexadecimal digits"
    if any(not text.startswith("0x") for text in texts):
        raise ChainAnswerInvalid(problem)
    try:
        joined = bytes.fromhex("".join([text[2:] for text in texts]))
    except ValueError as error:
        raise ChainAnswerInvalid(problem) from error
    # bytes.fromhex passes over blanks, so that too few bytes came of them.
    if len(joined) != len(texts) * size_bytes:
        raise ChainAnswerInvalid(problem)
    return np.frombuffer(joined, dtype=np.uint8).reshape(len(texts), size_bytes)


def unsigned(octets: Bytes2D) -> npt.NDArray[np.uint64]:
    """Rows of 8 bytes as big-endian numbers."""
    return np.ascontiguousarray(octets).view(">u8").reshape(-1).astype(np.uint64)


def slices(octets: Bytes2D) -> list[bytes]:
    """Each row as ``bytes``."""
    count, size = octets.shape
    joined = np.ascontiguousarray(octets).tobytes()
    return [joined[start : start + size] for start in range(0, count * size, size)]
