"""Who asked for what: the access log of all pseudonyms, joined and sorted."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from vocabulary import Category, Purpose, Reason
from wallet.content import Relationship
from wallet.directory import Directory
from wallet.receipts import node_histories, releases_by_sequence
from wallet.session import Session
from wire.patients import HistoryView


class HistoryKind(StrEnum):
    """What kind of event it is, and thereby who vouches for it."""

    ACCESS = "access"
    """A decision on the ledger; two nodes agree on it."""
    OWN_READ = "own-read"
    """The patient's own read, as one node logged it."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One event; what does not apply to its kind is None."""

    time: int
    """Seconds since 1970."""
    kind: HistoryKind
    patient: bytes
    provider_name: str
    record_id: bytes
    category: Category | None
    requester: bytes
    """The member that asked; for an own read, the member whose node served it."""
    requester_name: str
    purpose: Purpose | None = None
    reason: Reason | None = None
    sequence: int | None = None
    consent_id: bytes | None = None
    releases: tuple[tuple[str, int], ...] = ()
    """Names of custodians known to have released their share, and when."""


def joined_history(session: Session) -> tuple[HistoryEntry, ...]:
    """Every decision and every own read, the newest first.

    Raises:
        TooFewNodes, NodesDisagree: see ``wallet.agreement``.
    """
    directory = session.directory()
    entries: list[HistoryEntry] = []
    for relationship in session.registered():
        categories = {
            record.record_id: record.category for record in session.records(relationship.patient).records
        }
        histories = node_histories(session, relationship.patient)
        releases = releases_by_sequence(histories, relationship.patient, directory)
        entries += _accesses(session, relationship, directory, categories, releases)
        entries += _own_reads(histories, relationship, directory, categories)
    entries.sort(key=lambda entry: (entry.time, entry.patient, entry.sequence or 0), reverse=True)
    return tuple(entries)


def _accesses(
    session: Session,
    relationship: Relationship,
    directory: Directory,
    categories: Mapping[bytes, Category],
    releases: Mapping[int, tuple[tuple[str, int], ...]],
) -> list[HistoryEntry]:
    return [
        HistoryEntry(
            time=access.time,
            kind=HistoryKind.ACCESS,
            patient=relationship.patient,
            provider_name=relationship.provider_name,
            record_id=access.record_id,
            category=categories.get(access.record_id),
            requester=access.requester,
            requester_name=directory.name_of(access.requester),
            purpose=access.purpose,
            reason=access.reason,
            sequence=access.sequence,
            consent_id=access.consent_id,
            releases=releases.get(access.sequence, ()),
        )
        for access in session.history(relationship.patient).view.accesses
    ]


def _own_reads(
    histories: Sequence[tuple[bytes, HistoryView]],
    relationship: Relationship,
    directory: Directory,
    categories: Mapping[bytes, Category],
) -> list[HistoryEntry]:
    """Own reads as each node logged those that it served; a node vouches for nothing but its own log."""
    served: dict[tuple[bytes, bytes], set[int]] = defaultdict(set)
    for member, view in histories:
        for read in view.own_reads:
            if read.member == member:
                served[read.record_id, member].add(read.time)
    return [
        HistoryEntry(
            time=time,
            kind=HistoryKind.OWN_READ,
            patient=relationship.patient,
            provider_name=relationship.provider_name,
            record_id=record_id,
            category=categories.get(record_id),
            requester=member,
            requester_name=directory.name_of(member),
        )
        for (record_id, member), times in served.items()
        for time in sorted(times)
    ]
