"""What the publish journal holds: a publication, its sealed records, and the deposits that it waits for.

States: ``sealed`` (all sealed, blocks in the own store) → ``deposited`` (enough custodians acknowledged) → ``sent``
(about to be, or was, sent to the ledger) → ``published``; or ``abandoned``.
"""

from dataclasses import dataclass, field
from enum import StrEnum

import cbor2
from sqlalchemy import Row

from crypto.envelope import Header
from ledger.messages import Publication as LedgerPublication
from node.file_sealing import SealedFile
from node.sealing import SealedPayload
from storage import Cid


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


def journal_record(
    publication_id: str,
    patient: bytes,
    tag: bytes,
    one: SealedPayload | SealedFile,
    journal_key_digest: bytes,
) -> JournalRecord:
    """What the journal holds of a record that was sealed."""
    sealed, payload = one.sealed, one.payload
    return JournalRecord(
        record_id=sealed.header.identity.record_id,
        publication_id=publication_id,
        patient=patient,
        nonce=one.nonce,
        content_tag=tag,
        category=payload.category.value,
        start_day=payload.period.start_day,
        end_day=payload.period.end_day,
        resource_count=one.resource_count,
        payload_commitment=one.payload_commitment,
        ciphertext_cid=sealed.header.ciphertext_cid,
        ciphertext_bytes=sealed.header.ciphertext_size,
        header=sealed.header_bytes,
        header_digest=sealed.header.digest,
        owner_wrap=sealed.owner_wrap,
        consent_wrap=sealed.consent_wrap,
        custody_wraps=sealed.custody_wraps,
        journal_wrap=sealed.journal_wrap,
        journal_key_digest=journal_key_digest,
        on_ledger=False,
    )


def ledger_publication(publication: JournalPublication, record: JournalRecord) -> LedgerPublication:
    """What the ledger is told of a record."""
    cid = Cid.parse(record.ciphertext_cid)
    return LedgerPublication(
        patient=publication.patient,
        category=record.category,
        start_day=record.start_day,
        end_day=record.end_day,
        epoch=Header.from_bytes(record.header).epoch,
        nonce=record.nonce,
        deadline=publication.deadline,
        cid_codec=int(cid.codec),
        cid_digest=cid.digest,
        header_digest=record.header_digest,
        payload_commitment=record.payload_commitment,
    )


def record_row(record: JournalRecord) -> dict[str, object]:
    """The row of a record whose wraps are held."""
    row = {name: getattr(record, name) for name in JournalRecord.__dataclass_fields__}
    row["custody_wraps"] = cbor2.dumps(list(record.custody_wraps))
    row["wraps_held"] = True
    return row


def record_of(row: Row[tuple[object, ...]]) -> JournalRecord:
    """The record of a row."""
    values = {name: getattr(row, name) for name in JournalRecord.__dataclass_fields__}
    wraps = values["custody_wraps"]
    values["custody_wraps"] = tuple(cbor2.loads(wraps)) if wraps else ()
    return JournalRecord(**values)
