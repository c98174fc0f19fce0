"""Back-pressure: how many requests of each kind are worked on, how many wait, and what is said to the rest.

Each kind has a lane of its own, so that a flood of one leaves the others as they were: what strangers may send
(registrations, backups) cannot hold up staff, and staff cannot hold up the release of shares to other members.
Whatever is beyond a lane's bounds is refused at once with 429 (RFC 6585) and Retry-After, before its body is kept.
The lanes together use fewer threads than there are (``REQUEST_THREADS``), and whoever has no turn yet waits for the
database in none of them (``node.request_auth``).
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from node.errors import TooMany

MIB = 1024 * 1024
TICKET = "phr.ticket"
"""Under which name a request's place lies in its ASGI scope."""
_LONGEST_RETRY_AFTER_SECONDS = 30


class Busy(TooMany):
    """More of a kind is under way than this node takes at once; a little later there is room."""

    default_code, title = "busy", "Too much at once"


@dataclass(frozen=True, slots=True)
class LaneBounds:
    """How much of one kind of request is taken at once."""

    name: str
    pattern: str
    """What "METHOD path" of its requests looks like, from the start."""
    at_once: int
    """How many are worked on: each may hold a thread."""
    waiting: int
    """How many more send their bodies or wait for their turn."""
    wait_seconds: float
    body_bytes: int = 64 * MIB
    """The most that all their bodies together take."""
    from_start: bool = False
    """Whether the work begins before the body has come: there is none, or it is dealt with as it comes."""
    until_sent: bool = False
    """Whether the work goes on while the answer is sent; else it is done when the answer begins."""
    per_address: int | None = None
    """How many of them one network address may have under way."""
    per_person: int | None = None
    """How many of them one member of staff may have under way."""


LANES = (
    LaneBounds("operator", r"GET /(metrics|staff/status)$", 4, 16, 5.0, from_start=True),
    LaneBounds("publish", r"POST /staff/(publications|records/)", 8, 56, 45.0, 256 * MIB),
    LaneBounds("files", r"PUT /staff/files/", 4, 12, 10.0, from_start=True, per_person=2),
    LaneBounds("downloads", r"GET /staff/downloads/[^/]+$", 8, 16, 10.0, until_sent=True, per_person=2),
    LaneBounds("reads", r"POST /staff/reads", 24, 104, 30.0, per_person=64),
    LaneBounds("staff", r"\w+ /staff/", 8, 32, 10.0),
    LaneBounds("releases", r"POST /custody/releases$", 24, 104, 10.0, per_address=64),
    LaneBounds("deposits", r"POST /custody/|PUT /blocks/", 16, 48, 10.0, 192 * MIB, per_address=32),
    LaneBounds("blocks", r"GET /blocks/|GET /patients/[^/]+/keyrings/", 12, 116, 10.0),
    LaneBounds("patients", r"\w+ /(patients|relay|grants|audit)", 16, 48, 10.0, per_address=32),
    LaneBounds("strangers", r"\w+ /(registrations|backups)", 4, 20, 3.0, per_address=12),
    LaneBounds("public", r"", 6, 58, 5.0, from_start=True, per_address=32),
)
"""The first pattern that fits counts; the last one fits everything."""
REQUEST_THREADS = 160
"""More than all lanes work on at once: those that wait for a block hold a thread and little else."""


class Lane:
    """One lane, in one event loop."""

    def __init__(self, bounds: LaneBounds, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.bounds = bounds
        self.working = 0
        self.entered = 0
        self.refused = 0
        self._body_bytes = 0
        self._by_holder: Counter[str] = Counter()
        self._turns = asyncio.Semaphore(bounds.at_once)
        self._monotonic = monotonic
        self._usual_seconds = 0.1

    def enter(self, address: str) -> "Ticket":
        """A request has come.

        Raises:
            Busy: too many are here, or of this address.
        """
        most = self.bounds.at_once + self.bounds.waiting
        if self.entered >= most:
            raise self._busy(f"{most} requests of this kind are under way")
        ticket = Ticket(self)
        if self.bounds.per_address is not None:
            ticket.count_for(f"address {address}", self.bounds.per_address, "this address")
        self.entered += 1
        return ticket

    def leave(self) -> None:
        """A request needs its place no more."""
        self.entered -= 1

    def count(self, holder: str, most: int, whom: str) -> None:
        """Counts a request for who sent it.

        Raises:
            Busy: ``most`` are counted already.
        """
        if self._by_holder[holder] >= most:
            raise self._busy(f"{most} requests of this kind are under way from {whom}")
        self._by_holder[holder] += 1

    def discount(self, holder: str) -> None:
        """Takes a count back."""
        self._by_holder[holder] -= 1
        if not self._by_holder[holder]:
            del self._by_holder[holder]

    def take_bytes(self, size_bytes: int) -> None:
        """A part of a body has come.

        Raises:
            Busy: the bodies of this lane take too much together.
        """
        if self._body_bytes + size_bytes > self.bounds.body_bytes:
            raise self._busy(f"bodies of {self.bounds.body_bytes} bytes are being dealt with")
        self._body_bytes += size_bytes

    def free_bytes(self, size_bytes: int) -> None:
        """A body is kept no more."""
        self._body_bytes -= size_bytes

    async def begin(self) -> float:
        """Waits for a turn to work; returns when it began.

        Raises:
            Busy: there was none in time.
        """
        try:
            async with asyncio.timeout(self.bounds.wait_seconds):
                await self._turns.acquire()
        except TimeoutError:
            raise self._busy(f"there was no turn within {self.bounds.wait_seconds:.0f} seconds") from None
        self.working += 1
        return self._monotonic()

    def end(self, began_at: float) -> None:
        """The work is done."""
        self.working -= 1
        self._turns.release()
        self._usual_seconds += 0.1 * (self._monotonic() - began_at - self._usual_seconds)

    def _busy(self, words: str) -> Busy:
        self.refused += 1
        # By when those who are here will be done, if they take what others took lately.
        seconds = math.ceil(self._usual_seconds * self.entered / self.bounds.at_once)
        after_seconds = min(max(seconds, 1), _LONGEST_RETRY_AFTER_SECONDS)
        return Busy(f"{words}: ask again in {after_seconds} seconds", retry_after_seconds=after_seconds)


class Ticket:
    """One request's place in its lane."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._holders: list[str] = []
        self._body_bytes = 0
        self._began_at: float | None = None
        self._is_inside = True

    def count_for(self, holder: str, most: int, whom: str) -> None:
        """As ``Lane.count``, for this request, until it is over."""
        self._lane.count(holder, most, whom)
        self._holders.append(holder)

    def count_for_person(self, staff_id: str) -> None:
        """The request proved to be of this member of staff.

        Raises:
            Busy: as many of this person are under way as this lane takes.
        """
        if (most := self._lane.bounds.per_person) is not None:
            self.count_for(f"person {staff_id}", most, "this person")

    def take_bytes(self, size_bytes: int) -> None:
        """As ``Lane.take_bytes``, for this request."""
        self._lane.take_bytes(size_bytes)
        self._body_bytes += size_bytes

    async def begin_work(self) -> None:
        """As ``Lane.begin``; again is no error."""
        if self._began_at is None:
            self._began_at = await self._lane.begin()

    def give_back(self) -> None:
        """The work is done: others may have place and turn, while a body may still be kept. Again is no error."""
        if not self._is_inside:
            return
        self._is_inside = False
        self._lane.leave()
        if self._began_at is not None:
            self._lane.end(self._began_at)

    def leave(self) -> None:
        """The request is over."""
        self.give_back()
        self._lane.free_bytes(self._body_bytes)
        while self._holders:
            self._lane.discount(self._holders.pop())


def ticket_of(request: Request) -> Ticket | None:
    """The request's place in its lane; None in an application without lanes."""
    ticket = request.scope.get(TICKET)
    return ticket if isinstance(ticket, Ticket) else None
