"""Follows the chain: final blocks in, events out, each exactly once, and the state after them.

The store gets events, checkpoint and (now and then) a snapshot in one atomic commit. After a restart the state comes
from the last snapshot and the chain's events since; what the store has already is not committed again.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cbor2

from ledger import snapshot
from ledger.addresses import to_text
from ledger.blocks import Block, Position
from ledger.chain import Chain
from ledger.contract import ConsentLedger
from ledger.deploy import Deployment, check_deployment
from ledger.errors import (
    AnswerTooLarge,
    BlockUnknown,
    ChainAnswerInvalid,
    ChainReplaced,
    ChainUnreachable,
    NotFinal,
    RpcRefused,
    SnapshotInvalid,
)
from ledger.events import Event, decode
from ledger.state import LedgerState, fold

SNAPSHOT_EVENTS = 5_000
"""After how many events a snapshot is written: so many a restart reads again at most, a second's work."""

PAGE_LOGS = 5_000
FIRST_BLOCKS = 100
"""How many blocks the first page has: the next ones are larger or smaller by what came."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The last block that was taken in; ``block_time`` is POSIX seconds of chain time."""

    block_number: int
    block_hash: bytes
    block_time: int


class FollowStore(Protocol):
    """Where a follower keeps what it took in."""

    def load(self) -> tuple[bytes | None, Checkpoint | None]:
        """The last snapshot and the last checkpoint that were committed."""

    def last_event(self) -> Position | None:
        """Where the last event that was committed stands; None before the first."""

    def commit(self, events: Sequence[Event], checkpoint: Checkpoint, snapshot: bytes | None) -> None:
        """Keeps new events, the checkpoint, and the snapshot where there is one: all or nothing, durably."""


@dataclass
class MemoryFollowStore:
    """A store that a restart empties: for tools that read a chain once, and for tests."""

    events: list[Event] = field(default_factory=list)
    checkpoint: Checkpoint | None = None
    snapshot: bytes | None = None

    def load(self) -> tuple[bytes | None, Checkpoint | None]:
        """The last snapshot and the last checkpoint."""
        return self.snapshot, self.checkpoint

    def last_event(self) -> Position | None:
        """Where the last event stands."""
        return self.events[-1].position if self.events else None

    def commit(self, events: Sequence[Event], checkpoint: Checkpoint, snapshot: bytes | None) -> None:
        """Keeps new events, the checkpoint, and the snapshot where there is one."""
        self.events.extend(events)
        self.checkpoint = checkpoint
        if snapshot is not None:
            self.snapshot = snapshot


@dataclass(frozen=True, slots=True)
class View:
    """The state after a block, undisturbed by later ones.

    ``advanced_at_seconds`` is this process's monotonic clock when it last saw the chain's final head move; minus
    infinity while it never did: a chain that stands still must not look alive after a restart.
    """

    state: LedgerState
    checkpoint: Checkpoint
    advanced_at_seconds: float


class Follower:
    """Follows one deployment on one chain. Any thread may call any method; one at a time advances."""

    def __init__(
        self,
        chain: Chain,
        deployment: Deployment,
        store: FollowStore,
        *,
        snapshot_events: int = SNAPSHOT_EVENTS,
    ) -> None:
        self.chain = chain
        self.deployment = deployment
        self._store = store
        self._snapshot_events = snapshot_events
        self._contract = ConsentLedger(chain, deployment.address)
        self._advancing = threading.Lock()
        self._view: View | None = None
        self._events_since_snapshot = 0
        self._head_seen: int | None = None
        self._advanced_at_seconds = float("-inf")
        self._span_blocks = min(FIRST_BLOCKS, chain.engine.max_log_blocks)

    @property
    def view(self) -> View:
        """The state after the last block taken in; the first use reads what the store and the chain have.

        Raises:
            ChainReplaced, ChainUnreachable: as :meth:`advance`.
        """
        if self._view is None:
            self.advance()
        assert self._view is not None
        return self._view

    @property
    def state(self) -> LedgerState:
        """The state of :attr:`view`: do not change it."""
        return self.view.state

    def seconds_since_advance(self) -> float:
        """How long ago, by this process's clock, it last saw the final head move; infinite before it ever did."""
        return float("inf") if self._view is None else time.monotonic() - self._view.advanced_at_seconds

    def advance(self) -> int:
        """Takes in all final blocks since the checkpoint; how many events they had.

        What was committed before an error stays, and the next call goes on there.

        Raises:
            ChainReplaced: the checkpoint's block is not on this chain any more, or chain or contract are others.
            EventUnknown, StateInconsistent: the contract's history is not what this version understands.
            ChainUnreachable, ChainAnswerInvalid, RpcRefused: the endpoint fails.
        """
        with self._advancing:
            view = self._view or self._restore()
            final = self.chain.final_block()
            self._require_continuity(view.checkpoint, final)
            if self._head_seen is not None and final.number > self._head_seen:
                self._advanced_at_seconds = time.monotonic()
            self._head_seen = final.number
            taken = 0
            while view.checkpoint.block_number < final.number:
                events, checkpoint = self._read(view.checkpoint.block_number + 1, final)
                state = fold(view.state, events) if events else view.state
                since = self._events_since_snapshot + len(events)
                due = self._is_snapshot_due(since, state, checkpoint.block_number == final.number)
                self._store.commit(events, checkpoint, _pack(state, checkpoint) if due else None)
                self.chain.hold(checkpoint.block_number, checkpoint.block_hash)
                self._events_since_snapshot = 0 if due else since
                view = self._view = View(state, checkpoint, self._advanced_at_seconds)
                taken += len(events)
            self._view = view
            return taken

    def advance_to(self, block_number: int, timeout_seconds: float = 30.0) -> View:
        """Advances until a block is taken in: after a receipt, so that the state has what it says.

        Raises:
            NotFinal: the chain did not get there in time; else as :meth:`advance`.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            self.advance()
            if self.view.checkpoint.block_number >= block_number:
                return self.view
            if time.monotonic() > deadline:
                at = self.view.checkpoint.block_number
                raise NotFinal(f"the chain's final block is {at}, and {block_number} did not come in time")
            time.sleep(self.chain.engine.poll_seconds)

    def _is_snapshot_due(self, events: int, state: LedgerState, at_the_head: bool) -> bool:
        """A snapshot is as large as the state: far behind the head it waits for a share of it, or catching up with
        a long history would take the square of its length."""
        least = self._snapshot_events
        if not at_the_head:
            least = max(least, (len(state.records) + len(state.consents)) // 4)
        return events >= least

    def _restore(self) -> View:
        stored, checkpoint = self._store.load()
        if checkpoint is not None:
            self.chain.hold(checkpoint.block_number, checkpoint.block_hash)
        check_deployment(self.chain, self.deployment)
        self._events_since_snapshot = 0
        started = self._started(stored)
        if checkpoint is not None:
            checkpoint = self._still_on_chain(checkpoint)
        if checkpoint is None:
            return started
        if started.checkpoint.block_number > checkpoint.block_number:
            # No atomic store has this; going on from there would skip the events in between.
            started = self._started(None)
        while started.checkpoint.block_number < checkpoint.block_number:
            self._require_on_chain(started.checkpoint)
            until = self._require_on_chain(checkpoint)
            events, reached = self._read(started.checkpoint.block_number + 1, until)
            self._events_since_snapshot += len(events)
            started = View(fold(started.state, events), reached, self._advanced_at_seconds)
        return started

    def _still_on_chain(self, checkpoint: Checkpoint) -> Checkpoint | None:
        """The checkpoint, or the last event's block where the chain has lost nothing but idle blocks after it.

        Where an engine loses those in a power cut, its history is the same. None: no event was taken in yet. Another
        block in the place of one that cannot be lost is a fork, which is for people to look at.
        """
        try:
            self._require_on_chain(checkpoint)
            return checkpoint
        except ChainReplaced as error:
            if not self.chain.engine.loses_newest_blocks:
                if isinstance(error.__cause__, BlockUnknown):
                    raise ChainUnreachable(
                        f"the chain at {self.chain.place} has no block {checkpoint.block_number} yet, which was taken "
                        "in before: its node is behind; wait until it has caught up"
                    ) from error
                raise
            position = self._store.last_event()
            if position is None:
                return None
            try:
                block = self.chain.block(position.block_number)
            except ChainAnswerInvalid:
                block = None
            if block is None or block.hash != position.block_hash:
                raise
            return _checkpoint(block)

    def _started(self, stored: bytes | None) -> View:
        """The state of a snapshot, or that before the deployment where there is none that can be read."""
        if stored is not None:
            try:
                state, checkpoint = _unpack(stored)
                if state.scope == self.deployment.scope:
                    return View(state, checkpoint, self._advanced_at_seconds)
            except SnapshotInvalid:
                # Derived data: the chain itself has everything. Fall through to reading it from the start.
                pass
        before = self.chain.block(max(self.deployment.block_number - 1, self.chain.engine.first_block))
        return View(LedgerState(self.deployment.scope), _checkpoint(before), self._advanced_at_seconds)

    def _require_continuity(self, checkpoint: Checkpoint, final: Block) -> None:
        if final.number > checkpoint.block_number:
            self._require_on_chain(checkpoint)
        elif final.hash != checkpoint.block_hash:
            raise self._replaced(checkpoint, f"its final block is {final.number}, 0x{final.hash.hex()}")

    def _require_on_chain(self, checkpoint: Checkpoint) -> Block:
        try:
            found = self.chain.block(checkpoint.block_number)
        except ChainAnswerInvalid as error:
            raise self._replaced(checkpoint, str(error)) from error
        if found.hash != checkpoint.block_hash:
            raise self._replaced(checkpoint, f"it has 0x{found.hash.hex()} there")
        return found

    def _replaced(self, checkpoint: Checkpoint, came: str) -> ChainReplaced:
        return ChainReplaced(
            f"block {checkpoint.block_number}, 0x{checkpoint.block_hash.hex()}, was taken in before and is not on "
            f"the chain at {self.chain.place}: {came}. The chain was replaced, or its node is behind: ask its "
            "operator, and follow a replaced chain anew with an empty store"
        )

    def _next_span(self, blocks: int, logs: int) -> int:
        """How many blocks to read next: a page of some ``PAGE_LOGS`` bounds memory and what one commit writes."""
        wanted = blocks * PAGE_LOGS // max(logs, 1)
        return max(1, min(wanted, 4 * blocks, self.chain.engine.max_log_blocks))

    def _read(self, start: int, final: Block) -> tuple[list[Event], Checkpoint]:
        while True:
            end = min(start + self._span_blocks - 1, final.number)
            try:
                logs = self._contract.logs(start, end)
                break
            except (AnswerTooLarge, RpcRefused):
                if end == start:
                    raise
                self._span_blocks = max((end - start + 1) // 2, 1)
        self._span_blocks = self._next_span(end - start + 1, len(logs))
        last = final if end == final.number else self.chain.block(end)
        if (
            logs
            and logs[-1].position.block_number == last.number
            and logs[-1].position.block_hash != last.hash
        ):
            raise ChainReplaced(
                f"block {last.number} changed while it was read: the chain at {self.chain.place} does not keep its "
                f"final blocks (contract {to_text(self.deployment.address)})"
            )
        return [decode(log) for log in logs], _checkpoint(last)


def _checkpoint(block: Block) -> Checkpoint:
    return Checkpoint(block.number, block.hash, block.time)


def _pack(state: LedgerState, checkpoint: Checkpoint) -> bytes:
    at = [checkpoint.block_number, checkpoint.block_hash, checkpoint.block_time]
    return cbor2.dumps([at, snapshot.to_bytes(state)])


def _unpack(stored: bytes) -> tuple[LedgerState, Checkpoint]:
    try:
        (number, hash_, time_), state = cbor2.loads(stored)
        if not isinstance(state, bytes) or not isinstance(hash_, bytes):
            raise SnapshotInvalid("the stored snapshot is no snapshot")
        return snapshot.from_bytes(state), Checkpoint(int(number), hash_, int(time_))
    except (cbor2.CBORDecodeError, ValueError, TypeError) as error:
        raise SnapshotInvalid(f"the stored snapshot cannot be read: {error}") from error
