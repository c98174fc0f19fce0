"""What the publish journal holds: a publication, its sealed records, and the deposits that it waits for.

States: ``sealed`` (all sealed, blocks in the own store) → ``deposited`` (enough custodians acknowledged) → ``sent``
(about to be, or was, sent to the ledger) → ``published``; or ``abandoned``.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class PublicationState(StrEnum):
    """How far a publication is."""

    SEALED = "sealed"
    DEPOSITED = "deposited"
    SENT = "sent"
    PUBLISHED = "published"
    ABANDONED = "abandoned"


IN_PROGRESS = (PublicationState.SEALED, PublicationState.DEPOSITED, PublicationState.SENT)


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One sealed record of a publication; ``custody_wraps`` are in the order of the header's custodians."""

    record_id: bytes
    publication_id: str
    patient: bytes
    nonce: int
    content_tag: bytes | None
    category: int
    start_day: int
    end_day: int
    resource_count: int
    payload_commitment: bytes
    ciphertext_cid: str
    ciphertext_bytes: int
    header: bytes = field(repr=False)
    header_digest: bytes
    owner_wrap: bytes = field(repr=False)
    consent_wrap: bytes = field(repr=False)
    custody_wraps: tuple[bytes, ...] = field(repr=False)
    journal_wrap: bytes | None = field(repr=False)
    journal_key_digest: bytes
    on_ledger: bool


@dataclass(frozen=True, slots=True)
class JournalPublication:
    """One publication and the records that it made itself, in order."""

    publication_id: str
    patient: bytes
    state: PublicationState
    detail: str
    supersedes: bytes | None
    created_at: int
    deadline: int
    seconds_by_step: dict[str, float]
    records: tuple[JournalRecord, ...]


@dataclass(frozen=True, slots=True)
class WaitingDeposit:
    """A share that its custodian has not acknowledged."""

    record_id: bytes
    custodian: bytes
    share_index: int
