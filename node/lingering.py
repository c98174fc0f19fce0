"""Letting a refused sender finish: else it sees its connection reset instead of the refusal.

A server that answers and closes while bytes still come makes TCP throw the answer away on the other side (RFC 9112
section 9.6). So what still comes of a refused request's body is read and dropped, within bounds, before the answer.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_BYTES = 48 * 1024 * 1024
"""More than the largest body that any route takes."""
LINGER_SECONDS = 10.0
LINGER_IDLE_SECONDS = 1.0
"""A sender that pauses for so long has nothing more to send, or does not deserve an answer."""
REFUSED = 400


class Lingering:
    """ASGI middleware: reads the rest of a refused request's body before the answer goes out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI 3 has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        finished = False

        async def receive_noting_the_end() -> Message:
            nonlocal finished
            message = await receive()
            finished = not (message["type"] == "http.request" and message.get("more_body", False))
            return message

        async def send_after_lingering(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= REFUSED and not finished:
                await _drop_rest(receive_noting_the_end)
            await send(message)

        await self._app(scope, receive_noting_the_end, send_after_lingering)


async def _drop_rest(receive: Receive) -> None:
    dropped_bytes = 0
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while dropped_bytes <= LINGER_BYTES:
                async with asyncio.timeout(LINGER_IDLE_SECONDS):
                    message = await receive()
                dropped_bytes += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return
