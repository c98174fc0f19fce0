"""How the node is: for load balancers, for its operator, and for metrics."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from node.collaborators import SYSTEM_CLOCK, Clock
from node.database import Database
from node.database_errors import DatabaseUnavailable
from node.errors import Unavailable
from node.identity import Identity
from node.ledger_view import LedgerView
from node.metrics import Metrics
from node.outbox import DatabaseOutbox
from node.peers import PeerState
from node.release import HEAD_BEHIND_SECONDS
from node.replica_store import ReplicaState
from node.replication import ReplicationReport
from wire.staff import NodeStatus, PeerStatus, ReplicationStatus
from wire.types import Message

STALE_SECONDS = 30.0
"""A custodian refuses everything when its final head has not advanced for so long; the node is then not ready."""
_NEVER_SECONDS = 1e9
"""JSON has no infinity: the age of a head that was not seen to advance."""


class Health(Message):
    """Whether the node can do its work, what is in the way, and what is wrong that it works around."""

    ready: bool
    degraded: bool = False
    """It works, and of several endpoints of the chain it believes one alone: the warnings say which and why."""
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the node holds and works on."""

    records_held: int
    deposits_without_record: int
    publications_in_progress: int
    ciphertext_bytes: int
    replication: ReplicationReport
    peers: tuple[PeerState, ...]


class Status:
    """Looks at the parts of a node and says how they are."""

    def __init__(
        self,
        name: str,
        database: Database,
        ledger: LedgerView,
        identity: Identity,
        outbox: DatabaseOutbox,
        holdings: Callable[[], Holdings],
        background_problems: Callable[[], tuple[str, ...]],
        warnings: Callable[[], tuple[str, ...]],
        believed_alone: Callable[[], str | None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Looks through these collaborators.

        Args:
            background_problems: what ails the threads in the background, in words.
            warnings: what somebody should look at though the node does its work, in words.
            believed_alone: which of several endpoints of the chain nobody confirms at the moment.
            clock: this machine's, in POSIX seconds.
        """
        self._name = name
        self._database = database
        self._ledger = ledger
        self._identity = identity
        self._outbox = outbox
        self._holdings = holdings
        self._background_problems = background_problems
        self._warnings = warnings
        self._believed_alone = believed_alone
        self._clock = clock

    def health(self) -> Health:
        """Whether the node can do its work now."""
        problems = [*self._ledger_problems(), *self._background_problems()]
        try:
            self._outbox.pending()
            if (problem := self._database.problem()) is not None:
                problems.append(problem)
        except DatabaseUnavailable as error:
            problems.append(error.detail)
        except SQLAlchemyError as error:
            problems.append(f"the database cannot be read: {type(error).__name__}")
        return Health(
            ready=not problems,
            degraded=not problems and self._believed_alone() is not None,
            problems=distinct(problems),
            warnings=(*self._clock_warnings(), *self._warnings()),
        )

    def report(self) -> NodeStatus:
        """The state of the node for its operator.

        Raises:
            Unavailable: the ledger was not read yet.
        """
        snapshot = self._ledger.snapshot()
        health, holdings = self.health(), self._holdings()
        return NodeStatus(
            member=self._identity.address,
            name=self._name,
            ready=health.ready,
            degraded=health.degraded,
            problems=health.problems,
            warnings=health.warnings,
            final_block=snapshot.final.number,
            final_age_seconds=round(min(snapshot.age_seconds, _NEVER_SECONDS), 3),
            records_held=holdings.records_held,
            deposits_without_record=holdings.deposits_without_record,
            publications_in_progress=holdings.publications_in_progress,
            transactions_in_flight=len(self._outbox.pending()),
            ciphertext_bytes=holdings.ciphertext_bytes,
            replication=_replication(holdings.replication),
            peers=tuple(
                PeerStatus(
                    member=peer.member.address,
                    name=peer.member.name,
                    calls=peer.breaker.value,
                    ready=peer.ready,
                )
                for peer in holdings.peers
            ),
        )

    def watch(self, metrics: Metrics) -> None:
        """Adds the figures of health."""
        metrics.watch("phr_ready", "1 when the node can do its work", lambda: self.health().ready)
        metrics.watch(
            "phr_degraded",
            "1 when it works and believes one of several endpoints of the chain alone",
            lambda: self.health().degraded,
        )

    def _clock_warnings(self) -> list[str]:
        """A slow clock is in nobody's way, since decisions go by the chain's time; it should be set all the same."""
        try:
            ahead_seconds = self._ledger.snapshot().final.time - self._clock()
        except Unavailable:
            return []
        if ahead_seconds <= HEAD_BEHIND_SECONDS:
            return []
        return [f"this machine's clock is {ahead_seconds:.0f} s behind the chain's: set it"]

    def _ledger_problems(self) -> list[str]:
        try:
            snapshot = self._ledger.snapshot()
        except Unavailable as error:
            return [error.detail]
        problems = []
        if math.isinf(snapshot.age_seconds):
            problems.append("the ledger's final head has not advanced since the start: it should in a moment")
        elif snapshot.age_seconds > STALE_SECONDS:
            problems.append(
                f"the ledger's final head has not advanced for {snapshot.age_seconds:.0f} s: look at the chain"
            )
        behind_seconds = self._clock() - snapshot.final.time
        if snapshot.age_seconds <= STALE_SECONDS and behind_seconds > HEAD_BEHIND_SECONDS:
            problems.append(
                f"the final block is {behind_seconds:.0f} s behind this machine's clock: set the clock if it is fast, "
                "or wait while the chain's node catches up; no share is released until then"
            )
        own = snapshot.member(self._identity.address)
        if own is None:
            problems.append("this member is not enrolled: give enrolment.json to the administrator")
        elif not own.active:
            problems.append("this member is suspended: ask the administrator")
        elif own.current_keys.encryption_key != self._identity.current_encryption_key.public:
            problems.append("the ledger names another encryption key than this node's current one")
        elif own.current_keys.transport_key != self._identity.transport_public_key:
            problems.append("the ledger names another transport key than this node's")
        return problems


def distinct(problems: Sequence[str]) -> tuple[str, ...]:
    """Each problem once, in their order, without those that only repeat another one in more words."""
    once = tuple(dict.fromkeys(problems))
    return tuple(one for one in once if not any(other != one and other in one for other in once))


def _replication(report: ReplicationReport) -> ReplicationStatus:
    return ReplicationStatus(
        held_full=report.by_state[ReplicaState.FULL],
        blocks_missing=report.by_state[ReplicaState.BLOCKS_MISSING],
        wraps_missing=report.by_state[ReplicaState.WRAPS_MISSING],
        unknown=report.by_state[ReplicaState.UNKNOWN],
        to_check=report.to_check,
        last_run_at=report.last_run_at,
        published=report.published,
        published_under_replicated=report.published_under_replicated,
        deposits_asked_again=sum(report.asked_again.values()),
    )
