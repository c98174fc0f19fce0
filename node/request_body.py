"""Reading a request's body within its limit, before anything of it is parsed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from node.errors import InvalidRequest, TooLarge
from node.lanes import ticket_of
from wire.types import Message

BODY_SECONDS = 60.0
"""How long a body may take to arrive."""
GRACE_SECONDS = 10.0
LEAST_BYTES_PER_SECOND = 8 * 1024
"""A sender that dribbles, beyond its first ``GRACE_SECONDS``, is cut off: it has a place that others wait for."""
_Message = TypeVar("_Message", bound=Message)


def body_reader(limit_bytes: int) -> Callable[[Request], Awaitable[bytes]]:
    """A FastAPI dependency that reads the body, of at most ``limit_bytes`` bytes.

    Raises (the dependency):
        TooLarge: the declared or the actual size is beyond the limit; the rest is not read.
        InvalidRequest: the body did not arrive in time, or not whole.
        Busy: too much of its kind is under way (``node.lanes``).
    """

    async def read(request: Request) -> bytes:
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit_bytes:
            raise TooLarge(f"expected a body of at most {limit_bytes} bytes; {declared[:20]} were announced")
        body, ticket = bytearray(), ticket_of(request)
        started = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(GRACE_SECONDS) as time_limit:
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit_bytes:
                        raise TooLarge(f"expected a body of at most {limit_bytes} bytes; more came")
                    if ticket is not None:
                        ticket.take_bytes(len(chunk))
                    earned_seconds = GRACE_SECONDS + len(body) / LEAST_BYTES_PER_SECOND
                    time_limit.reschedule(started + min(earned_seconds, BODY_SECONDS))
        except TimeoutError:
            raise InvalidRequest(
                f"expected the whole body within {BODY_SECONDS:.0f} s, and at least {LEAST_BYTES_PER_SECOND} bytes a "
                "second",
                code="body-too-slow",
            ) from None
        except ClientDisconnect:
            raise InvalidRequest("the connection ended before the whole body had come") from None
        if ticket is not None:
            await ticket.begin_work()
        return bytes(body)

    return read


def parse_message(message_type: type[_Message], body: bytes) -> _Message:
    """The message that a JSON body is.

    Raises:
        InvalidRequest: it is none; the fields at fault are named, what they held is not repeated.
    """
    try:
        return message_type.model_validate_json(body)
    except ValidationError as error:
        raise InvalidRequest(f"expected {message_type.__name__}: {faults(error.errors())}") from None


def faults(errors: object, limit: int = 5) -> str:
    """The faults that pydantic found, by place and kind, without the values at fault."""
    found = list(errors) if isinstance(errors, list | tuple) else []
    shown = [
        f"{'.'.join(str(part) for part in fault['loc']) or 'body'}: {str(fault['msg'])[:200]}"
        for fault in found
    ]
    more = f" (and {len(shown) - limit} more)" if len(shown) > limit else ""
    return "; ".join(shown[:limit]) + more
