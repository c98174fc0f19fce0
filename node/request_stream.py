"""Reading a body that is too large for memory: in pieces, each of which is dealt with before more is read.

While nobody asks for more, the server stops reading the connection, and TCP slows the sender down.
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.requests import ClientDisconnect

from node.errors import InvalidRequest, TooLarge

PIECE_BYTES = 1024 * 1024
IDLE_SECONDS = 30.0
"""How long a sender may be silent."""
GRACE_SECONDS = 30.0
LEAST_BYTES_PER_SECOND = 64 * 1024
"""A sender whom this node waited for longer than its bytes have earned, beyond ``GRACE_SECONDS``, is cut off."""
TRANSFER_SECONDS = 1800.0
"""How long a whole body may take: less than blocks wait for what needs them (``node.blocks``)."""


async def pieces(request: Request, content_bytes: int) -> AsyncIterator[bytes]:
    """The body in pieces of ``PIECE_BYTES``, the last one shorter.

    Raises:
        TooLarge: more than ``content_bytes`` come, or are announced; the rest is not read.
        InvalidRequest: fewer came, or not in time.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > content_bytes:
        raise _too_large(content_bytes)
    gathered, received_bytes, waited_seconds = bytearray(), 0, 0.0
    stream, now = aiter(request.stream()), asyncio.get_running_loop().time
    deadline = now() + TRANSFER_SECONDS
    while True:
        # Only the time that the sender takes counts against it, not what the work on a piece takes.
        patience_seconds = GRACE_SECONDS + received_bytes / LEAST_BYTES_PER_SECOND - waited_seconds
        began_at = now()
        try:
            async with asyncio.timeout(max(0.0, min(IDLE_SECONDS, patience_seconds, deadline - began_at))):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise InvalidRequest(
                f"expected a body without pauses of {IDLE_SECONDS:.0f} s, with {LEAST_BYTES_PER_SECOND} bytes a second "
                f"and within {TRANSFER_SECONDS:.0f} s",
                code="body-too-slow",
            ) from None
        except ClientDisconnect:
            raise InvalidRequest("the connection ended before the whole body had come") from None
        waited_seconds += now() - began_at
        if chunk is None:
            break
        received_bytes += len(chunk)
        if received_bytes > content_bytes:
            raise _too_large(content_bytes)
        gathered += chunk
        if len(gathered) >= PIECE_BYTES:
            yield bytes(gathered[:PIECE_BYTES])
            del gathered[:PIECE_BYTES]
    if received_bytes < content_bytes:
        raise InvalidRequest(f"expected {content_bytes} bytes, as announced; came {received_bytes}")
    if gathered:
        yield bytes(gathered)


def _too_large(content_bytes: int) -> TooLarge:
    return TooLarge(f"expected the {content_bytes} bytes that were announced; more came")
