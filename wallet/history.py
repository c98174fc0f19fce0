"""Who asked for what: the access log of all pseudonyms, joined and sorted."""

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum

from vocabulary import Category, Purpose, Reason
from wallet.agreement import ask_all
from wallet.content import Relationship
from wallet.directory import Directory
from wallet.errors import NodeError
from wallet.receipts import releases_of
from wallet.session import Session


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
        entries += _accesses(session, relationship, directory, categories)
        entries += _own_reads(session, relationship, directory, categories)
    entries.sort(key=lambda entry: (entry.time, entry.patient, entry.sequence or 0), reverse=True)
    return tuple(entries)


def _accesses(
    session: Session, relationship: Relationship, directory: Directory, categories: dict[bytes, Category]
) -> list[HistoryEntry]:
    releases = releases_of(session, relationship.patient, directory)
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
    session: Session, relationship: Relationship, directory: Directory, categories: dict[bytes, Category]
) -> list[HistoryEntry]:
    """Each node logs the own reads that it served, so all are asked; one that fails is left out."""
    key = session.request_key(relationship.patient)
    served: dict[tuple[bytes, bytes], set[int]] = defaultdict(set)
    for client, answer in zip(
        clients := session.nodes(relationship.patient),
        ask_all(clients, lambda node: node.history(key)),
        strict=True,
    ):
        if not isinstance(answer, NodeError):
            for read in answer.own_reads:
                if read.member == client.member:  # a node vouches for nothing but its own log
                    served[read.record_id, read.member].add(read.time)
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
