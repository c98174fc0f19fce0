"""uvicorn's HTTP/1.1 protocol with an end to waiting: for a request's head, and for whoever does not read its answer.

uvicorn itself waits for ever for a first request (its keep-alive time-out ends with the first byte), and for ever for a
client to take its answer: a few hundred sockets that send or read a byte now and then would use up all connections of a
node ("Slowloris", "slow read").
"""

import asyncio
from collections import Counter

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 20.0
"""How long a request's head may take to arrive; bodies have their own limit (``node.request_body``)."""
LEAST_BYTES_PER_SECOND = 8 * 1024
PATIENCE_SECONDS = 30.0
"""How long a client may take nothing, or less than ``LEAST_BYTES_PER_SECOND``: buffers empty in leaps, so that a slow
line looks like none for a while."""
SEND_BUFFER_BYTES = 256 * 1024
"""How much the kernel holds of what was sent (it takes twice that, for its own needs). Left to itself it would hold
megabytes, and their leaps would last for minutes on a slow line."""
LOOK_SECONDS = 1.0
CONNECTIONS = 512
"""How many connections are open at once: a further one takes the place of another (``_make_room``)."""


class TimedH11Protocol(H11Protocol):
    """Closes connections that wait for longer than ``HEAD_SECONDS`` between requests, whatever trickles in, and aborts
    those whose client does not take what it asked for."""

    _timer: asyncio.TimerHandle | None = None

    waiting_since = 0.0
    """When it last began to wait for a request's head, by the loop's clock."""
    patience_seconds = 0.0
    """For how long the client may go on taking nothing; what it takes earns some again."""
    _stalled_at: float | None = None
    """Since when, or since which look, bytes wait for the client."""
    _unsent_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first request; at the bound, another connection makes room."""
        super().connection_made(transport)
        self.waiting_since, self.patience_seconds = self.loop.time(), PATIENCE_SECONDS
        self._timer = self.loop.call_later(LOOK_SECONDS, self._look)
        if len(self.connections) > CONNECTIONS:
            self._make_room()

    @property
    def is_waiting(self) -> bool:
        """Whether no request is under way, nothing is left to be sent, and none was ended by this side."""
        return (
            (self.cycle is None or self.cycle.response_complete)
            and not self.transport.is_closing()
            and not self.transport.get_write_buffer_size()
        )

    def on_response_complete(self) -> None:
        """Begins to wait for the next request."""
        self.waiting_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """More is to be sent than the client took: its patience runs."""
        super().pause_writing()
        self._begin_stall()

    def resume_writing(self) -> None:
        """The client took most of it."""
        super().resume_writing()
        self._count_stall()
        self._stalled_at = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Looks no more."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        if self.is_waiting and self.loop.time() - self.waiting_since >= HEAD_SECONDS:
            self.transport.close()
        if self.transport.is_closing() and self._stalled_at is None:
            # Closing waits for the client, too, without end.
            self._begin_stall()
        self._count_stall()
        if self.patience_seconds <= 0:
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(LOOK_SECONDS, self._look)

    def _begin_stall(self) -> None:
        self._stalled_at, self._unsent_bytes = self.loop.time(), self.transport.get_write_buffer_size()

    def _count_stall(self) -> None:
        if self._stalled_at is None:
            return
        before, unsent_bytes = self._stalled_at, self._unsent_bytes
        self._begin_stall()
        earned_seconds = (unsent_bytes - self._unsent_bytes) / LEAST_BYTES_PER_SECOND
        self.patience_seconds += earned_seconds - (self._stalled_at - before)
        self.patience_seconds = min(self.patience_seconds, PATIENCE_SECONDS)

    def _make_room(self) -> None:
        """Ends the connection that idles longest; else the one whose client has taken least lately; else one of an
        address that has most of all connections; else this one."""
        others = [
            each for each in self.connections if isinstance(each, TimedH11Protocol) and each is not self
        ]
        if waiting := [each for each in others if each.is_waiting]:
            min(waiting, key=lambda each: each.waiting_since).transport.close()
            return
        if stalled := [each for each in others if each._stalled_at is not None]:
            min(stalled, key=lambda each: each.patience_seconds).transport.abort()
            return
        (crowd, count), *_ = Counter(each._address for each in others).most_common(1)
        if crowd != self._address and count > CONNECTIONS // 2:
            of_crowd = (each for each in others if each._address == crowd)
            min(of_crowd, key=lambda each: each.waiting_since).transport.abort()
        else:
            self.transport.abort()

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""
