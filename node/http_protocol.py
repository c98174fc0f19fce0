"""uvicorn's HTTP/1.1 protocol with an end to waiting: a connection that sends no whole request head is closed.

uvicorn itself waits for ever for a first request (its keep-alive time-out ends with the first byte): a few hundred
sockets that send a byte now and then would use up all connections of a node ("Slowloris").
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 20.0
"""How long a request's head may take to arrive; bodies have their own limit (``node.request_body``)."""
CONNECTIONS = 512
"""How many connections are open at once: a further one takes the place of the one that idles longest."""


class TimedH11Protocol(H11Protocol):
    """Closes connections between requests after ``HEAD_SECONDS``, whatever trickles in."""

    _head_timer: asyncio.TimerHandle | None = None

    waiting_since: float | None = None
    """When it last began to wait for a request's head, by the loop's clock."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first request; at the bound, the connection that waits longest makes room."""
        super().connection_made(transport)
        self._wait_for_head()
        if len(self.connections) > CONNECTIONS:
            waiting = [
                each for each in self.connections if isinstance(each, TimedH11Protocol) and each.is_waiting
            ]
            min(waiting, key=lambda each: each.waiting_since or 0.0, default=self).transport.close()

    @property
    def is_waiting(self) -> bool:
        """Whether no request is under way and none was ended by this side."""
        return (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing()

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
        self.waiting_since = self.loop.time()
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._close_between_requests)

    def _close_between_requests(self) -> None:
        if self.is_waiting:
            self.transport.close()
