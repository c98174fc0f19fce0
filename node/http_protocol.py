"""uvicorn's HTTP/1.1 protocol with an end to waiting: a connection that sends no whole request head is closed.

uvicorn itself waits for ever for a first request (its keep-alive time-out ends with the first byte): a few hundred
sockets that send a byte now and then would use up all connections of a node ("Slowloris").
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 20.0
"""How long a request's head may take to arrive; bodies have their own limit (``node.request_body``)."""


class TimedH11Protocol(H11Protocol):
    """Closes connections between requests after ``HEAD_SECONDS``, whatever trickles in."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def on_response_complete(self) -> None:
        """Begins to wait for the next request."""
        super().on_response_complete()
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no more."""
        if self._head_timer is not None:
            self._head_timer.cancel()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._close_between_requests)

    def _close_between_requests(self) -> None:
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()
