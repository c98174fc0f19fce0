"""Who asked for which record, when, for what, and what was decided: the decisions of a ledger as rows for people."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ledger.blocks import Block
from ledger.chain import Chain
from ledger.columns import LedgerColumns, read_columns
from ledger.decision_columns import DecisionRow, Decisions
from ledger.deploy import Deployment, check_deployment
from ledger.errors import EventUnknown
from ledger.events import MemberKeysChanged, RecordPublished
from ledger.octets import slices
from vocabulary import Category, Purpose, Reason


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One decision on an access.

    Attributes:
        time_seconds: Chain time of the decision, POSIX seconds.
        sequence: Its place in the patient's access chain, from 1 on.
        requester_name: The requesting member's name now; escape it before showing it.
        category: The record's category; None where this version does not know its code.
        reason: Why; ``Reason.PERMITTED`` where it was permitted.
        consent_id: The consent that was named, whether it exists or not.
        person_commitment: What an auditor has the requester open, to learn which person asked.
    """

    time_seconds: int
    patient: bytes
    sequence: int
    requester: bytes
    requester_name: str
    record_id: bytes
    category: Category | None
    purpose: Purpose
    reason: Reason
    consent_id: bytes
    person_commitment: bytes
    block_number: int
    transaction_hash: bytes

    @property
    def permitted(self) -> bool:
        """Whether the record could be read."""
        return self.reason is Reason.PERMITTED


@dataclass(frozen=True)
class History:
    """All decisions of a ledger up to a block.

    Attributes:
        member_names: The members' current names by address.
    """

    block: Block
    member_names: Mapping[bytes, str]
    _decisions: Decisions
    _categories: Mapping[bytes, int]

    def __len__(self) -> int:
        return len(self._decisions)

    def decisions(
        self,
        *,
        patient: bytes | None = None,
        requester: bytes | None = None,
        since_seconds: int | None = None,
        until_seconds: int | None = None,
        limit: int | None = None,
    ) -> list[HistoryRow]:
        """The decisions that fit every filter given, the oldest first.

        Args:
            patient: A pseudonym (20 bytes).
            requester: A member (20 bytes).
            since_seconds: POSIX seconds of the first moment, included.
            until_seconds: POSIX seconds of the last moment, excluded.
            limit: So many of the newest at most.
        """
        every = self._decisions
        chosen = np.ones(len(every), dtype=bool)
        if patient is not None:
            chosen &= (every.patient == np.frombuffer(patient, dtype=np.uint8)).all(axis=1)
        if requester is not None:
            chosen &= (every.requester == np.frombuffer(requester, dtype=np.uint8)).all(axis=1)
        if since_seconds is not None:
            chosen &= every.time >= since_seconds
        if until_seconds is not None:
            chosen &= every.time < until_seconds
        if limit is not None:
            chosen[np.flatnonzero(chosen)[: -limit or None]] = False
        return [self._row(row) for row in every.where(chosen).rows()]

    def _row(self, row: DecisionRow) -> HistoryRow:
        code = self._categories.get(row.record_id, -1)
        return HistoryRow(
            row.time,
            row.patient,
            row.sequence,
            row.requester,
            self.member_names.get(row.requester, ""),
            row.record_id,
            Category(code) if 0 <= code < len(Category) else None,
            Purpose(row.purpose),
            Reason(row.reason),
            row.consent_id,
            row.person_commitment,
            row.block_number,
            row.transaction_hash,
        )


def read_history(chain: Chain, deployment: Deployment) -> History:
    """Reads all decisions of a ledger up to its latest final block.

    Raises:
        ChainReplaced: the chain or the contract is not the deployment's.
        EventUnknown: the history holds something that this version does not understand.
        ChainUnreachable, ChainAnswerInvalid, RpcRefused: the endpoint fails.
    """
    check_deployment(chain, deployment)
    final = chain.final_block()
    columns = read_columns(chain, deployment.address, deployment.block_number, final.number)
    return history_of(columns, final)


def history_of(columns: LedgerColumns, block: Block) -> History:
    """The decisions of a history that was read up to ``block``.

    Raises:
        EventUnknown: a decision has a purpose or a reason that this version does not know.
    """
    for what, codes, known in (
        ("purpose", columns.decisions.purpose, len(Purpose)),
        ("reason", columns.decisions.reason, len(Reason)),
    ):
        if (codes >= known).any():
            raise EventUnknown(
                f"a decision has {what} {codes.max()}, which this version does not know: upgrade first"
            )
    names = {event.member: event.name for event in columns.others if isinstance(event, MemberKeysChanged)}
    published = columns.fixed[RecordPublished]
    categories = published.integers("publication.category").tolist()
    by_record = dict(zip(slices(published.octets("record_id")), categories, strict=True))
    return History(block, names, columns.decisions, by_record)
