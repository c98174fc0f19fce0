"""Publishing: from a bundle's bytes to records on the ledger.

validate and split (``records``) → find what is published already → sign, pack and seal (``sealing``) → ciphertext
into the own store → journal, one transaction → custodians → ledger → final (``publication_steps``).
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence

from ledger import calls
from ledger.entities import PatientStatus, Record, RecordStatus
from node.blocks import BlockService
from node.collaborators import SYSTEM_CLOCK, Clock, Keyrings, Ledger, OwnKeys, Patients, Transactor
from node.errors import Conflict, NotFound, Unprocessable
from node.file_sealing import SealedFile
from node.publication_entries import JournalPublication, JournalRecord, PublicationState, journal_record
from node.publication_steps import FINAL_SECONDS, PublicationSteps
from node.publish_journal import PublishJournal
from node.sealing import CustodyPlan, CustodyPolicy, SealedPayload, addresses, plan_custody, seal_payload
from node.stopwatch import NewStopwatch, Stopwatch
from records import FilePayload, PatientIdentifier, RecordPayload, prepare
from vocabulary import Category
from wire.staff import Publication, PublishedRecord

PUBLISH_SECONDS = 3600
"""From sealing to the deadline, in chain time: how long a publication may look for custodians and the ledger."""


_FILE_LABEL = b"phr/v1/published-file\x00"


class Publisher:
    """Publishes, corrects and retracts this provider's records."""

    def __init__(
        self,
        keys: OwnKeys,
        ledger: Ledger,
        patients: Patients,
        keyrings: Keyrings,
        blocks: BlockService,
        journal: PublishJournal,
        steps: PublicationSteps,
        sender: Transactor,
        policy: CustodyPolicy,
        content_key: bytes,
        *,
        clock: Clock = SYSTEM_CLOCK,
        new_stopwatch: NewStopwatch = Stopwatch,
        is_healthy: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        """``content_key``: 32 secret bytes that stay the same for ever; they key the digests that find duplicates.

        ``is_healthy`` tells of a custodian, by its account, whether it answers now.
        """
        self._keys = keys
        self._ledger = ledger
        self._patients = patients
        self._keyrings = keyrings
        self._blocks = blocks
        self._journal = journal
        self._steps = steps
        self._sender = sender
        self._policy = policy
        self._content_key = content_key
        self._clock = clock
        self._new_stopwatch = new_stopwatch
        self._is_healthy = is_healthy

    def publish(self, identifier: PatientIdentifier, bundle: bytes) -> Publication:
        """Publishes a bundle of the patient with this identifier; what was published before is left as it is.

        When custodians or the ledger cannot be reached in time the answer says how far it is, and the node goes on
        trying until the deadline; the same bundle sent again joins that same publication.

        Raises:
            records.RecordsError: the bundle is refused, with the place in it.
            NotFound: no patient of this member has the identifier.
            Unavailable: too few custodians, or the patient's keyring did not reach this node.
        """
        patient = self._patients.patient_by_identifier(identifier.system, identifier.value)
        watch = self._new_stopwatch()
        with watch.step("prepare"):
            payloads = prepare(bundle, self._patients.identifiers_of(patient))
        return self._publish(patient, payloads, None, watch)

    def correct(self, record_id: bytes, bundle: bytes) -> Publication:
        """Publishes a correction of an own record: one payload, of the same category.

        Raises:
            As ``publish``; Unprocessable when the content is of several categories or another one; Conflict when
            the record is superseded or retracted already.
        """
        record = self.own_record(record_id)
        watch = self._new_stopwatch()
        with watch.step("prepare"):
            payloads = prepare(bundle, self._patients.identifiers_of(record.patient))
        category = Category(record.category)
        if len(payloads) != 1 or payloads[0].category is not category:
            came = ", ".join(payload.category.label for payload in payloads)
            raise Unprocessable(
                f"expected one payload of category {category.label}, as the record's; came: {came}"
            )
        return self._publish(record.patient, payloads, record_id, watch)

    def retract(self, record_id: bytes) -> Record:
        """Withdraws an own record, finally; returns it as it is then. Again is no error."""
        record = self.own_record(record_id)
        if RecordStatus.RETRACTED not in record.status:
            receipt = self._sender.send(self._ledger.scope.contract, calls.retract(record_id))
            self._ledger.wait_for_block(receipt.block_number, FINAL_SECONDS)
        self._journal.forget_tag(record_id)
        return self._ledger.snapshot().state.records[record_id]

    def records_of(self, identifier: PatientIdentifier) -> tuple[Record, ...]:
        """The records on the ledger of the patient with this identifier, in the order of publishing."""
        patient = self._patients.patient_by_identifier(identifier.system, identifier.value)
        state = self._ledger.snapshot().state
        return tuple(record for record in state.records.values() if record.patient == patient)

    def publication(self, publication_id: str) -> Publication:
        """What became of a publication; raises NotFound."""
        return self._answer(self._journal.load(publication_id))

    def resume(self) -> None:
        """Moves on every publication that is neither published nor abandoned; for start-up and at intervals."""
        for publication_id in self._journal.in_progress():
            self._steps.advance(publication_id)

    def _publish(
        self, patient: bytes, payloads: Sequence[RecordPayload], supersedes: bytes | None, watch: Stopwatch
    ) -> Publication:
        with self._steps.locked(patient):
            self.check_active(patient)
            tags = [self._tag(payload) for payload in payloads]
            if (joined := self._join(patient, tags)) is not None:
                return joined
            known = self._known(patient, tags, correcting=supersedes is not None)
            fresh = {tag: payload for tag, payload in zip(tags, payloads, strict=True) if tag not in known}
            publication = self._begin(patient, tags, fresh, known, supersedes, watch)
            return self._answer(self._steps.advance(publication.publication_id))

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
            if (joined := self._join(patient, [tag])) is not None:
                return joined
            known = self._known(patient, [tag], correcting=supersedes is not None)
            if not known:
                return None
            return self._answer(
                self._record(patient, [tag], [], known, None, supersedes, self._new_stopwatch())
            )

    def publish_sealed(
        self,
        patient: bytes,
        tag: bytes,
        sealed: SealedFile,
        plan: CustodyPlan,
        supersedes: bytes | None,
        watch: Stopwatch,
    ) -> Publication:
        """Publishes a file whose sealed blocks lie in the own store; as ``publish`` from there on.

        The same content may have come twice at once: then the first one counts, and these blocks are not needed.

        Raises:
            Conflict: the patient ended the relationship meanwhile.
        """
        with self._steps.locked(patient):
            self.check_active(patient)
            if (before := self.published_before(patient, tag, supersedes)) is not None:
                return before
            publication = self._record(patient, [tag], [(tag, sealed)], {}, plan, supersedes, watch)
            return self._answer(self._steps.advance(publication.publication_id))

    def _join(self, patient: bytes, tags: Sequence[bytes]) -> Publication | None:
        """The same bundle again: the publication that it became before, moved on."""
        known = self._journal.with_tags(patient, tags)
        owners = {record.publication_id for record in known.values() if not record.on_ledger}
        for owner in owners:
            self._steps.advance(owner)
        if len(owners) == 1 and len(known) == len(set(tags)):
            (owner,) = owners
            joined = self._journal.load(owner)
            if joined.state is not PublicationState.ABANDONED:
                return self._answer(joined)
        return None

    def _known(self, patient: bytes, tags: Sequence[bytes], correcting: bool) -> dict[bytes, JournalRecord]:
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

    def _begin(
        self,
        patient: bytes,
        tags: Sequence[bytes],
        fresh: Mapping[bytes, RecordPayload],
        known: Mapping[bytes, JournalRecord],
        supersedes: bytes | None,
        watch: Stopwatch,
    ) -> JournalPublication:
        plan: CustodyPlan | None = None
        sealed: list[tuple[bytes, SealedPayload]] = []
        if fresh:
            plan = self.plan(patient)
            keyring = self._keyrings.current_keyring(patient)
            for tag, payload in fresh.items():
                one = seal_payload(
                    payload,
                    scope=self._ledger.scope,
                    author=self._keys.account,
                    keyring=keyring,
                    plan=plan,
                    journal_public=self._keys.current_encryption_key.public,
                    signed_at_seconds=int(self._clock()),
                    watch=watch,
                )
                sealed.append((tag, one))
        with watch.step("store"):
            blocks = [(cid, one.blocks.get(cid)) for _, one in sealed for cid in one.blocks.cids()]
            self._blocks.put_many(self._keys.address, blocks)
        return self._record(patient, tags, sealed, known, plan, supersedes, watch)

    def _record(
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
            deadline=self._ledger.snapshot().final.time + PUBLISH_SECONDS,
            seconds_by_step=watch.seconds_by_step,
            records=records,
        )
        needed = {one.sealed.header.identity.record_id: one.cids for _, one in sealed}
        custodians = addresses(plan.custodians) if plan else ()
        with watch.step("journal"), self._blocks.referring_many(needed) as connection:
            self._journal.begin(connection, publication, items, custodians)
        return publication

    def _answer(self, publication: JournalPublication) -> Publication:
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

    def _tag(self, payload: RecordPayload) -> bytes:
        return hmac.new(self._content_key, payload.content, hashlib.sha256).digest()
