"""Other members' nodes, as custodians and as sources of blocks: one interface for the own node and for theirs."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Protocol, TypeVar

import httpx

from ledger.entities import Member
from node.blocks import BlockService
from node.breaker import BreakerState, CircuitBreaker
from node.collaborators import Ledger, OwnKeys
from node.custody import CustodyService
from node.errors import NodeError, PeerFailed, Unavailable
from node.peer_node import CALL_SECONDS, PROBE_SECONDS, PeerNode
from node.peer_threads import PROBES_AT_ONCE, BoundedThreads, PeerThreads
from node.release import ReleaseService
from node.unforeseen import UnforeseenFailures
from storage import BlockNotFoundError, Cid, check_block
from storage.deadlines import DeadlineTransport
from vocabulary import Role
from wire.custody import (
    DepositBatch,
    DepositReceipts,
    ReleaseRequest,
    ReleaseResponse,
)
from wire.signing import RequestKey

PROBE_AGAIN_SECONDS = 10.0

_Result = TypeVar("_Result")


class Custodian(Protocol):
    """A custodian: this node itself, or another member's."""

    @property
    def address(self) -> bytes:
        """The member's account, 20 bytes."""

    @property
    def name(self) -> str:
        """The member's name on the ledger."""

    @property
    def pool(self) -> BoundedThreads | None:
        """Threads for calls to it, where they may take long."""

    def put_block(self, cid: Cid, block: bytes) -> None:
        """The block is durable there when this returns."""

    def get(self, cid: Cid) -> bytes:
        """A block, checked (a ``storage.BlockSource``)."""

    def deposit(self, batch: DepositBatch, ciphertext_bytes: int) -> DepositReceipts:
        """It holds all that it must of these records, durably, when this returns; the caller checks the receipts.

        Args:
            ciphertext_bytes: of all these records together; the custodian reads and hashes so much before it answers.
        """

    def release(self, request: ReleaseRequest) -> ReleaseResponse:
        """Shares against permits; every share is checked by the caller."""


class OwnCustodian:
    """This node's own custody, by the same interface and under the same rules."""

    def __init__(
        self, keys: OwnKeys, blocks: BlockService, custody: CustodyService, release: ReleaseService
    ) -> None:
        self.address = keys.address
        self.name = "this node"
        self.pool = None
        self._blocks = blocks
        self._custody = custody
        self._release = release

    def put_block(self, cid: Cid, block: bytes) -> None:
        """As ``Custodian.put_block``."""
        self._blocks.put(self.address, block, cid.codec)

    def get(self, cid: Cid) -> bytes:
        """As ``Custodian.get``."""
        try:
            return check_block(cid, self._blocks.fetch(str(cid)))
        except NodeError as error:
            raise BlockNotFoundError(str(error)) from error

    def deposit(self, batch: DepositBatch, ciphertext_bytes: int) -> DepositReceipts:
        """As ``Custodian.deposit``."""
        return self._custody.deposit(self.address, batch)

    def release(self, request: ReleaseRequest) -> ReleaseResponse:
        """As ``Custodian.release``."""
        return self._release.release(self.address, request)


@dataclass(frozen=True, slots=True)
class PeerState:
    """How another custodian is, as seen from here."""

    member: Member
    breaker: BreakerState
    ready: bool
    """What it said of itself when it was last asked; True when it was not asked yet."""

    @property
    def healthy(self) -> bool:
        """Whether work may be given to it."""
        return self.ready and self.breaker is not BreakerState.OPEN


class Peers:
    """Finds custodians and sources of blocks among the members on the ledger, and keeps how they are.

    Each peer has threads of its own for calls to it (a bulkhead), and one circuit breaker. Whether peers are ready is
    asked in other threads, so that what a peer has to do does not hide how it is.
    """

    def __init__(
        self,
        ledger: Ledger,
        key: RequestKey,
        own: OwnCustodian,
        *,
        call_seconds: float = CALL_SECONDS,
        unforeseen: UnforeseenFailures | None = None,
    ) -> None:
        """``unforeseen``: where failures are noted that no peer's answer should cause."""
        self.unforeseen = unforeseen or UnforeseenFailures()
        self._ledger = ledger
        self._key = key
        self.own = own
        self._call_seconds = call_seconds
        self._lock = threading.Lock()
        self._breakers: dict[bytes, CircuitBreaker] = {}
        self._threads: dict[bytes, PeerThreads] = {}
        self._probes = BoundedThreads(PROBES_AT_ONCE, "probes", most_waiting=10_000)
        self._ready: dict[bytes, bool] = {}
        self._probing: dict[bytes, Future[bool]] = {}
        self._probe_all_at = 0.0
        self._monotonic = time.monotonic
        transport = DeadlineTransport(max_connections=256, max_keepalive_connections=64)
        # No cookies: one peer's would be sent to others of its domain, and a malformed one fails every call to them.
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        self._client = httpx.Client(
            transport=transport, follow_redirects=False, trust_env=False, cookies=no_cookies
        )

    def custodian(self, address: bytes, *, insist: bool = False) -> Custodian:
        """The custodian of an account; raises PeerFailed when no such member was ever enrolled.

        Args:
            insist: whether it is called even though it failed lately: for whoever can do without no one.
        """
        return self.own if address == self.own.address else self.node(address, insist=insist)

    def node(self, address: bytes, *, insist: bool = False) -> PeerNode:
        """Another member's node, by its account; raises PeerFailed when no such member was ever enrolled."""
        return PeerNode(
            self._member(address),
            self._key,
            self._client,
            breaker=self._breaker(address),
            pool=self._threads_of(address).calls,
            insist=insist,
            call_seconds=self._call_seconds,
            unforeseen=self.unforeseen,
        )

    def start(self, address: bytes, call: Callable[[], _Result]) -> Future[_Result]:
        """Runs a call to a member, or to this node itself, in the threads that are kept for it; raises PeerFailed."""
        if address != self.own.address:
            self._member(address)  # A header may name anyone: no threads are kept for who is no member.
        return self._threads_of(address).calls.submit(call)

    def start_deposit(self, address: bytes, call: Callable[[], _Result]) -> Future[_Result]:
        """As ``start``, in the threads for deposits."""
        return self._threads_of(address).deposits.submit(call)

    def called(self, address: bytes) -> str:
        """A member by name and account, for messages."""
        member = self._ledger.snapshot().state.members.get(address)
        name = "custodian" if member is None or not member.keys else member.name
        return f"{name} (0x{address.hex()})"

    def is_resting(self, address: bytes) -> bool:
        """Whether calls to it fail at once, since it failed lately."""
        return address != self.own.address and self._breaker(address).state is BreakerState.OPEN

    def is_healthy(self, address: bytes) -> bool:
        """Whether it answered lately, as far as is known here, said that it can do its work, and keeps up with it."""
        if address == self.own.address:
            return True
        with self._lock:
            ready = self._ready.get(address, True)
        if not ready or self._threads_of(address).deposits.is_full:
            return False
        return self._breaker(address).state is not BreakerState.OPEN

    def states(self) -> tuple[PeerState, ...]:
        """How the other active custodians are, in the order of their enrolment; none before the ledger was read."""
        try:
            members = self._ledger.snapshot().state.members
            others = self._others()
        except Unavailable:
            return ()
        with self._lock:
            ready = dict(self._ready)
        return tuple(
            PeerState(members[address], self._breaker(address).state, ready.get(address, True))
            for address in others
            if address in members
        )

    def probe(self, wait_seconds: float = PROBE_SECONDS + 1.0) -> int:
        """Asks other active custodians whether they are ready, all at once; returns how many are not, as known then.

        Whoever is not healthy is asked each time, the others every ``PROBE_AGAIN_SECONDS``. An answer that does not
        come within ``wait_seconds`` is noted when it comes.
        """
        try:
            self._ledger.snapshot()
        except Unavailable:
            return 0
        everyone = self._monotonic() >= self._probe_all_at
        if everyone or wait_seconds >= PROBE_SECONDS:
            self._probe_all_at = self._monotonic() + PROBE_AGAIN_SECONDS
            asked = self._others()
        else:
            asked = [address for address in self._others() if not self.is_healthy(address)]
        wait([self._probe_one(address) for address in asked], timeout=wait_seconds)
        return sum(not self.is_healthy(address) for address in self._others())

    def _probe_one(self, address: bytes) -> Future[bool]:
        with self._lock:
            running = self._probing.get(address)
        if running is not None and not running.done():
            return running
        peer = self.node(address)

        def ask() -> bool:
            # Noted before the future is done: whoever waits for it reads what it found.
            ready = False
            try:
                ready = peer.is_ready()
            finally:
                with self._lock:
                    self._ready[address] = ready
            return ready

        future = self._probes.submit(ask)
        with self._lock:
            self._probing[address] = future
        return future

    def close(self) -> None:
        """Waits for the calls that are under way, starts no new ones, and closes idle connections."""
        with self._lock:
            everyone: list[PeerThreads | BoundedThreads] = [*self._threads.values(), self._probes]
        for wait_for_calls in (False, True):
            for each in everyone:
                each.close(wait=wait_for_calls)
        self._client.close()

    def _member(self, address: bytes) -> Member:
        member = self._ledger.snapshot().state.members.get(address)
        if member is None:
            raise PeerFailed(f"0x{address.hex()} is no member on the ledger")
        return member

    def _others(self) -> list[bytes]:
        members = self._ledger.snapshot().state.members
        return [
            address
            for address, each in members.items()
            if each.active and each.keys and each.roles & Role.CUSTODIAN.bit and address != self.own.address
        ]

    def _breaker(self, address: bytes) -> CircuitBreaker:
        with self._lock:
            return self._breakers.setdefault(address, CircuitBreaker())

    def _threads_of(self, address: bytes) -> PeerThreads:
        with self._lock:
            threads = self._threads.get(address)
            if threads is None:
                threads = self._threads[address] = PeerThreads(address)
            return threads
