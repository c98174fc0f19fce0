"""What every publication begins with, be it of a bundle or of a file: who will hold its shares, what was published of
it before, and its entry in the journal, from which ``publication_steps`` goes on."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence

from ledger.entities import PatientStatus, Record, RecordStatus
from node.blocks import BlockService
from node.collaborators import SYSTEM_CLOCK, Clock, Ledger, OwnKeys
from node.custody import LONGEST_DEADLINE_SECONDS
from node.errors import Conflict, NotFound
from node.file_sealing import SealedFile
from node.publication_entries import JournalPublication, JournalRecord, PublicationState, journal_record
from node.publication_steps import PublicationSteps
from node.publish_journal import PublishJournal
from node.sealing import CustodyPlan, CustodyPolicy, SealedPayload, addresses, plan_custody
from node.stopwatch import Stopwatch
from records import FilePayload, RecordPayload
from vocabulary import Category
from wire.staff import Publication, PublishedRecord

PUBLISH_SECONDS = 3600
"""From sealing to the deadline, in chain time: how long a publication may look for custodians and the ledger."""
SENT_BYTES_PER_SECOND = 1024**2
"""What is added to it for large files: the time to send the ciphertext to all custodians over an ordinary line."""
_FILE_LABEL = b"phr/v1/published-file\x00"


class PublicationBook:
    """Finds and begins publications. Whoever begins one holds ``PublicationSteps.locked`` of its patient."""

    def __init__(
        self,
        keys: OwnKeys,
        ledger: Ledger,
        blocks: BlockService,
        journal: PublishJournal,
        steps: PublicationSteps,
        policy: CustodyPolicy,
        content_key: bytes,
        *,
        clock: Clock = SYSTEM_CLOCK,
        is_healthy: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        """``content_key``: 32 secret bytes that stay the same for ever; they key the digests that find duplicates.

        ``is_healthy`` tells of a custodian, by its account, whether it answers now.
        """
        self._keys = keys
        self._ledger = ledger
        self._blocks = blocks
        self._journal = journal
        self._steps = steps
        self._policy = policy
        self._content_key = content_key
        self._clock = clock
        self._is_healthy = is_healthy

    def plan(self, patient: bytes) -> CustodyPlan:
        """Who is to hold the shares of a record of this patient that is sealed now; raises Unavailable."""
        state = self._ledger.snapshot().state
        return plan_custody(
            state, self._keys.address, self._policy, patient=patient, is_healthy=self._is_healthy
        )

    def file_tag(self, payload: FilePayload, content_digest: bytes) -> bytes:
        """What finds the same file of a patient again, described in the same way (32 bytes)."""
        told = f"{payload.media_type} {payload.category.label} {payload.period.start_day} {payload.period.end_day}"
        return hmac.new(
            self._content_key, _FILE_LABEL + content_digest + told.encode(), hashlib.sha256
        ).digest()

    def published_before(self, patient: bytes, tag: bytes, supersedes: bytes | None) -> Publication | None:
        """What became of the same content before: its publication, moved on where it is not at its end."""
        with self._steps.locked(patient):
            if (joined := self.join(patient, [tag])) is not None:
                return joined
            known = self.known(patient, [tag], correcting=supersedes is not None)
            if not known:
                return None
            return self.answer(self.record(patient, [tag], [], known, None, supersedes, Stopwatch()))

    def join(self, patient: bytes, tags: Sequence[bytes]) -> Publication | None:
        """The same bundle again: the publication that it became before, moved on."""
        known = self._journal.with_tags(patient, tags)
        owners = {record.publication_id for record in known.values() if not record.on_ledger}
        for owner in owners:
            self._steps.advance(owner)
        if len(owners) == 1 and len(known) == len(set(tags)):
            (owner,) = owners
            joined = self._journal.load(owner)
            if joined.state is not PublicationState.ABANDONED:
                return self.answer(joined)
        return None

    def known(self, patient: bytes, tags: Sequence[bytes], correcting: bool) -> dict[bytes, JournalRecord]:
        """What is published of these contents and counts as such: not what was retracted, nor, for a correction
        that goes back to it, what was superseded."""
        gone = RecordStatus.RETRACTED | (RecordStatus.SUPERSEDED if correcting else RecordStatus(0))
        final = self._ledger.snapshot().state.records
        known = self._journal.with_tags(patient, tags)
        for tag, record in list(known.items()):
            on_ledger = final.get(record.record_id)
            if on_ledger is not None and on_ledger.status & gone:
                self._journal.forget_tag(record.record_id)
                del known[tag]
        return known

    def record(
        self,
        patient: bytes,
        tags: Sequence[bytes],
        sealed: Sequence[tuple[bytes, SealedPayload | SealedFile]],
        known: Mapping[bytes, JournalRecord],
        plan: CustodyPlan | None,
        supersedes: bytes | None,
        watch: Stopwatch,
    ) -> JournalPublication:
        """Journals what is sealed, in the order of ``tags``; its blocks are in the own store."""
        publication_id = secrets.token_hex(16)
        records = tuple(
            journal_record(publication_id, patient, tag, one, self._keys.current_encryption_key.digest)
            for tag, one in sealed
        )
        by_tag = {record.content_tag: record.record_id for record in records}
        items = [(by_tag.get(tag) or known[tag].record_id, tag in known) for tag in tags]
        publication = JournalPublication(
            publication_id=publication_id,
            patient=patient,
            state=PublicationState.SEALED if records else PublicationState.PUBLISHED,
            detail="" if records else "the same content was published before",
            supersedes=supersedes,
            created_at=int(self._clock()),
            deadline=self._ledger.snapshot().final.time
            + publish_seconds(sum(record.ciphertext_bytes for record in records)),
            seconds_by_step=watch.seconds_by_step,
            records=records,
        )
        needed = {one.sealed.header.identity.record_id: one.cids for _, one in sealed}
        custodians = addresses(plan.custodians) if plan else ()
        with watch.step("journal"), self._blocks.referring_many(needed) as connection:
            self._journal.begin(connection, publication, items, custodians)
        return publication

    def answer(self, publication: JournalPublication) -> Publication:
        """What staff are told of it."""
        final = self._ledger.snapshot().state.records
        return Publication(
            publication_id=publication.publication_id,
            patient=publication.patient,
            state=publication.state.value,
            detail=publication.detail,
            records=tuple(
                PublishedRecord(
                    record_id=record.record_id,
                    category=Category(record.category),
                    start_day=record.start_day,
                    end_day=record.end_day,
                    resource_count=record.resource_count,
                    ciphertext_bytes=record.ciphertext_bytes,
                    already_published=already and record.record_id in final,
                )
                for record, already in self._journal.items(publication.publication_id)
            ),
            seconds_by_step=publication.seconds_by_step,
        )

    def own_record(self, record_id: bytes) -> Record:
        """A record that this member published; raises NotFound."""
        record = self._ledger.snapshot().state.records.get(record_id)
        if record is None or record.author != self._keys.address:
            raise NotFound(f"expected a record that this member published; 0x{record_id.hex()} is none")
        return record

    def check_active(self, patient: bytes) -> None:
        """Refuses to publish for a patient who left; raises Conflict."""
        status = self._ledger.snapshot().state.patients[patient].status
        if status is not PatientStatus.ACTIVE:
            raise Conflict(
                "the patient ended the relationship with this member, or froze the pseudonym: nothing can be "
                "published under it; register the patient anew",
                code="patient-not-active",
            )

    def tag(self, payload: RecordPayload) -> bytes:
        """What finds the same content of a bundle again (32 bytes)."""
        return hmac.new(self._content_key, payload.content, hashlib.sha256).digest()


def publish_seconds(ciphertext_bytes: int) -> int:
    """How long a publication with so much ciphertext may take, in chain time; custodians take no later deadline."""
    return min(PUBLISH_SECONDS + ciphertext_bytes // SENT_BYTES_PER_SECOND, LONGEST_DEADLINE_SECONDS // 2)
