"""What every service sees of the ledger: one consistent state at a final block, and the events behind it."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Row, select

from ledger.blocks import Block
from ledger.entities import Consent, Member, Patient, Record
from ledger.errors import ChainHalted
from ledger.events import ConsentGranted, Event, RecordPublished
from ledger.messages import LedgerScope
from ledger.state import LedgerState
from node.database import Database
from node.errors import NotInTime, Unavailable
from node.event_codec import decode
from node.tables import accesses, block_times, events
from vocabulary import Purpose, Reason

HALTED_SECONDS = 30.0
"""How long the final head may stand still before nothing new is begun: no custodian would answer then."""


@dataclass(frozen=True, slots=True)
class FinalBlock:
    """A final block: its number, its hash (32 bytes) and its time (POSIX seconds of chain time)."""

    number: int
    hash: bytes
    time: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The replayed state at one final block. The state is never changed afterwards: read it, do not write to it.

    ``age_seconds`` counts by this node's own clock since the final head was last seen to advance. Before it ever was,
    it is infinite for ``HALTED_SECONDS`` after the start, and then what is certain: since the start at least, or since
    the head's own time.
    """

    state: LedgerState
    final: FinalBlock
    age_seconds: float

    def member(self, address: bytes) -> Member | None:
        """The member of an address (20 bytes), whether active or not."""
        return self.state.members.get(address)

    def patient(self, address: bytes) -> Patient | None:
        """The patient of a pseudonym (20 bytes)."""
        return self.state.patients.get(address)

    def records_of(self, patient: bytes) -> tuple[Record, ...]:
        """A patient's records, in the order in which they were published."""
        return self.state.records_of(patient)

    def consents_of(self, patient: bytes) -> tuple[Consent, ...]:
        """A patient's consents, in the order in which they reached the ledger, revoked ones too."""
        return self.state.consents_of(patient)

    def consents_for(self, grantee: bytes) -> tuple[Consent, ...]:
        """The consents of all patients for one member, in the order in which they reached the ledger."""
        return tuple(consent for consent in self.state.consents.values() if consent.grantee == grantee)


@dataclass(frozen=True, slots=True)
class FinalAccess:
    """One decision of the access log: one link of the patient's chain. Times are POSIX seconds of chain time."""

    patient: bytes
    sequence: int
    record_id: bytes
    requester: bytes
    consent_id: bytes
    purpose: Purpose
    reason: Reason
    time: int
    response_key_digest: bytes
    person_commitment: bytes
    block_number: int
    block_hash: bytes
    transaction_hash: bytes
    log_index: int


def require_advancing(age_seconds: float) -> None:
    """Refuses, before anything is begun, what needs a chain that makes blocks.

    Args:
        age_seconds: Since when the final head has not advanced; infinite shortly after a start, when nobody knows.

    Raises:
        ledger.ChainHalted: the head stands still for longer than custodians accept.
    """
    if HALTED_SECONDS < age_seconds < float("inf"):
        raise ChainHalted(
            f"the chain has made no block for {age_seconds:.0f} seconds, so nothing was begun: ask again when its "
            "validators work"
        )


class LedgerView:
    """The latest final state, and questions about the events before it. Safe between threads."""

    def __init__(
        self,
        database: Database,
        scope: LedgerScope,
        fetch_block: Callable[[int], Block],
        *,
        wake: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """A view that shows nothing until the first :meth:`publish`.

        Args:
            fetch_block: the chain's block of a number, for times that no stored event carries.
            wake: makes whoever publishes look at the chain at once; called when somebody waits.
            clock: seconds that never go back.
            wall_clock: this machine's, in POSIX seconds.
        """
        self.scope = scope
        self._database = database
        self._fetch_block = fetch_block
        self._wake = wake
        self._clock, self._wall_clock = clock, wall_clock
        self._made_at = clock()
        self._changed = threading.Condition()
        self._current: tuple[LedgerState, FinalBlock] | None = None
        self._advanced_at = 0.0

    def publish(self, state: LedgerState, final: FinalBlock, advanced_at: float | None = None) -> None:
        """Shows a later state; ``state`` must be a copy that nobody changes any more.

        Args:
            advanced_at: when the head advanced, by the view's clock; now, when absent.
        """
        with self._changed:
            if self._current is None or final.number > self._current[1].number:
                self._advanced_at = self._clock() if advanced_at is None else advanced_at
            self._current = (state, final)
            self._changed.notify_all()

    def snapshot(self) -> Snapshot:
        """The latest final state, as one consistent read.

        Raises:
            Unavailable: the node has not read the ledger yet.
        """
        with self._changed:
            return self._snapshot()

    def wait_until_read(self, timeout_seconds: float) -> bool:
        """Whether the ledger was read at all, after waiting for it for some seconds at most."""
        with self._changed:
            return self._changed.wait_for(lambda: self._current is not None, timeout_seconds)

    def wait_for_block(self, number: int, timeout_seconds: float) -> Snapshot:
        """The state once it contains block ``number``.

        Raises:
            NotInTime: it did not within the time given.
        """
        self._wake()
        with self._changed:
            reached = self._changed.wait_for(
                lambda: self._current is not None and self._current[1].number >= number, timeout_seconds
            )
            if not reached:
                raise NotInTime(
                    f"expected block {number} to be final here within {timeout_seconds:.0f} s: "
                    "look whether the node still reaches the chain, then ask again"
                )
            return self._snapshot()

    @property
    def minimum_threshold(self) -> int:
        """The network's smallest allowed t of t-of-n custody."""
        return self.snapshot().state.minimum_threshold

    def publication(self, record_id: bytes) -> RecordPublished | None:
        """The event that published a record (id of 32 bytes)."""
        event = self._one_event("RecordPublished", events.c.record_id == record_id)
        return event if isinstance(event, RecordPublished) else None

    def grant(self, consent_id: bytes) -> ConsentGranted | None:
        """The event that granted a consent (id of 32 bytes)."""
        event = self._one_event("ConsentGranted", events.c.consent_id == consent_id)
        return event if isinstance(event, ConsentGranted) else None

    def access(self, patient: bytes, sequence: int) -> FinalAccess | None:
        """One decision of a patient's access chain; sequences start at 1."""
        return next(
            iter(self._accesses(accesses.c.patient == patient, accesses.c.sequence == sequence)), None
        )

    def accesses_of(self, patient: bytes, *, from_sequence: int = 1) -> tuple[FinalAccess, ...]:
        """The decisions on a patient's records, in order of their sequence."""
        return self._accesses(accesses.c.patient == patient, accesses.c.sequence >= from_sequence)

    def accesses_in(self, transaction_hash: bytes) -> tuple[FinalAccess, ...]:
        """The decisions of one transaction, in the order of its log."""
        return self._accesses(accesses.c.transaction_hash == transaction_hash)

    def accesses_under(self, consent_id: bytes) -> tuple[FinalAccess, ...]:
        """The decisions under one consent, in the order of the ledger."""
        return self._accesses(accesses.c.consent_id == consent_id)

    def events_in(self, transaction_hash: bytes) -> tuple[Event, ...]:
        """Every final event of one transaction, in the order of its log."""
        statement = select(events.c.body).where(events.c.transaction_hash == transaction_hash)
        with self._database.read() as connection:
            rows = connection.execute(statement.order_by(events.c.block_number, events.c.log_index))
            return tuple(decode(row.body) for row in rows)

    def block_times(self, numbers: Iterable[int]) -> dict[int, int]:
        """The times (POSIX seconds) of final blocks by their number; asked of the chain once, then remembered.

        Raises:
            ChainUnreachable: a time is not known yet, and the chain does not answer.
        """
        wanted = sorted(set(numbers))
        known: dict[int, int] = {}
        with self._database.read() as connection:
            for chunk in _chunks(wanted):
                rows = connection.execute(select(block_times).where(block_times.c.number.in_(chunk)))
                known.update({row.number: row.time for row in rows})
        missing = {number: self._fetch_block(number).time for number in wanted if number not in known}
        if missing:
            self._remember_times(missing)
        return known | missing

    def _remember_times(self, times: dict[int, int]) -> None:
        with self._database.begin() as connection:
            there: set[int] = set()
            for chunk in _chunks(sorted(times)):
                known = select(block_times.c.number).where(block_times.c.number.in_(chunk))
                there.update(connection.execute(known).scalars())
            rows = [{"number": number, "time": at} for number, at in times.items() if number not in there]
            if rows:
                connection.execute(block_times.insert(), rows)

    def _snapshot(self) -> Snapshot:
        if self._current is None:
            raise Unavailable("the node has not read the ledger yet: ask again in a moment", code="not-ready")
        state, final = self._current
        return Snapshot(state, final, self._age_seconds(final))

    def _age_seconds(self, final: FinalBlock) -> float:
        age_seconds, up_seconds = self._clock() - self._advanced_at, self._clock() - self._made_at
        if math.isfinite(age_seconds) or up_seconds <= HALTED_SECONDS:
            return age_seconds
        return max(up_seconds, self._wall_clock() - final.time)

    def _one_event(self, name: str, *conditions: object) -> Event | None:
        statement = select(events.c.body).where(events.c.name == name, *conditions)  # type: ignore[arg-type]
        with self._database.read() as connection:
            row = connection.execute(statement.order_by(events.c.block_number).limit(1)).one_or_none()
        return None if row is None else decode(row.body)

    def _accesses(self, *conditions: object) -> tuple[FinalAccess, ...]:
        statement = select(accesses).where(*conditions)  # type: ignore[arg-type]
        order = (accesses.c.block_number, accesses.c.log_index, accesses.c.sequence)
        with self._database.read() as connection:
            return tuple(_final_access(row) for row in connection.execute(statement.order_by(*order)))


def _chunks(numbers: list[int]) -> Iterator[list[int]]:
    """As many at a time as any database takes parameters."""
    return (numbers[start : start + 500] for start in range(0, len(numbers), 500))


def _final_access(row: Row[tuple[object, ...]]) -> FinalAccess:
    values = dict(row._mapping)
    return FinalAccess(**values | {"purpose": Purpose(values["purpose"]), "reason": Reason(values["reason"])})
