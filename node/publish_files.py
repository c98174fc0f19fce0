"""Publishing files as they are, of any size: announced, received in pieces, sealed on the way, published like a bundle.

A bundle tells of itself what a record must be; of a file, staff say it. An announcement is checked before any byte of
the file travels, and the same file again is found before it does.
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from ledger.entities import Record
from node.blocks import BlockService
from node.collaborators import SYSTEM_CLOCK, Clock, Keyrings, Ledger, OwnKeys, Patients
from node.errors import InvalidRequest, NotFound, Unprocessable
from node.file_sealing import FileSealing, SealedFile
from node.ledger_view import require_advancing
from node.personal_entries import PersonalEntries
from node.publication_book import PublicationBook
from node.publication_steps import PublicationSteps
from node.sealing import CustodyPlan, new_identity
from node.stopwatch import NewStopwatch, Stopwatch
from records import (
    HEAD_BYTES,
    FilePayload,
    PatientIdentifier,
    check_file_patient,
    file_payload,
)
from vocabulary import Category, DayPeriod
from wire.staff import FileAnnouncement, FileUpload, Publication

ANNOUNCEMENTS_A_PERSON = 32
MOST_ANNOUNCEMENTS = 1024
ANNOUNCED_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Announced:
    """A file that may come: whose it is, and what was said of it."""

    patient: bytes
    payload: FilePayload
    content_digest: bytes
    supersedes: bytes | None
    tag: bytes


@dataclass(frozen=True, slots=True)
class _Means:
    """What both announcing and receiving work with."""

    keys: OwnKeys
    ledger: Ledger
    patients: Patients
    keyrings: Keyrings
    blocks: BlockService
    book: PublicationBook
    steps: PublicationSteps
    clock: Clock

    def publish(
        self, announced: "Announced", sealed: SealedFile, plan: CustodyPlan, watch: Stopwatch
    ) -> Publication:
        """Publishes a file whose sealed blocks lie in the own store; as bundles from there on.

        The same content may have come twice at once: then the first one counts, and these blocks are not needed.

        Raises:
            Conflict: the patient ended the relationship meanwhile.
        """
        patient, tag, supersedes = announced.patient, announced.tag, announced.supersedes
        with self.steps.locked(patient):
            self.book.check_active(patient)
            if (before := self.book.published_before(patient, tag, supersedes)) is not None:
                return before
            publication = self.book.record(patient, [tag], [(tag, sealed)], {}, plan, supersedes, watch)
            return self.book.answer(self.steps.advance(publication.publication_id))


class FilePublisher:
    """Receives announced files and publishes them."""

    def __init__(
        self,
        keys: OwnKeys,
        ledger: Ledger,
        patients: Patients,
        keyrings: Keyrings,
        blocks: BlockService,
        book: PublicationBook,
        steps: PublicationSteps,
        *,
        limit_bytes: int,
        clock: Clock = SYSTEM_CLOCK,
        new_stopwatch: NewStopwatch = Stopwatch,
    ) -> None:
        self._means = _Means(keys, ledger, patients, keyrings, blocks, book, steps, clock)
        self._limit_bytes = limit_bytes
        self._new_stopwatch = new_stopwatch
        self._announced: PersonalEntries[Announced] = PersonalEntries(
            clock, most_a_person=ANNOUNCEMENTS_A_PERSON, most=MOST_ANNOUNCEMENTS
        )

    def announce(self, staff_id: str, identifier: PatientIdentifier, file: FileAnnouncement) -> FileUpload:
        """Where this file of the patient with this identifier may be put; or its publication, when it was published.

        Raises:
            records.UnsuitableFileError: it can be no record, or is too large for this node.
            NotFound: no patient of this member has the identifier, or no own record is to be corrected.
            Conflict: the patient ended the relationship.
            Unavailable: too few custodians, or the patient's keyring did not reach this node.
            StoreIsFull: no room is left for it on the disk.
        """
        means = self._means
        require_advancing(means.ledger.snapshot().age_seconds)
        patient = means.patients.patient_by_identifier(identifier.system, identifier.value)
        payload = self._described(file)
        if file.supersedes is not None:
            self._check_corrected(means.book.own_record(file.supersedes), patient, payload.category)
        means.book.check_active(patient)
        tag = means.book.file_tag(payload, file.content_digest)
        if (before := means.book.published_before(patient, tag, file.supersedes)) is not None:
            return FileUpload(upload_id=None, publication=before)
        means.book.plan(patient)
        means.keyrings.current_keyring(patient)
        means.blocks.require_room(payload.content_bytes)
        upload_id = secrets.token_hex(16)
        announced = Announced(patient, payload, file.content_digest, file.supersedes, tag)
        self._announced.put(staff_id, upload_id, announced, means.clock() + ANNOUNCED_SECONDS)
        return FileUpload(upload_id=upload_id, publication=None)

    def receive(self, staff_id: str, upload_id: str) -> "ReceivedFile":
        """Begins to receive an announced file; its caller closes what it is given.

        Raises:
            NotFound: nothing was announced under this id by this person, or too long ago.
        """
        announced = self._announced.get(staff_id, upload_id)
        if announced is None:
            raise NotFound("no file was announced under this id, or too long ago: announce it again")
        return ReceivedFile(
            self._means,
            announced,
            self._new_stopwatch(),
            lambda: self._announced.remove(staff_id, upload_id),
        )

    def _described(self, file: FileAnnouncement) -> FilePayload:
        try:
            period = DayPeriod(file.start_day, file.end_day)
        except ValueError as error:
            raise InvalidRequest(f"expected days in order: {error}") from None
        return file_payload(file.category, file.media_type, period, file.content_bytes, self._limit_bytes)

    @staticmethod
    def _check_corrected(record: Record, patient: bytes, category: Category) -> None:
        if record.patient != patient:
            raise Unprocessable("expected a correction for the record's own patient; came one for another")
        if record.category != category:
            raise Unprocessable(
                f"expected a file of category {Category(record.category).label}, as the record's; came {category.label}"
            )


class ReceivedFile:
    """One announced file while it comes. ``write`` its pieces, ``finish``, and ``close`` in any case."""

    def __init__(
        self,
        means: _Means,
        announced: Announced,
        watch: Stopwatch,
        forget: Callable[[], None],
    ) -> None:
        """``forget``: called when the file is published."""
        self._means, self._announced, self._watch = means, announced, watch
        self._forget = forget
        self._head = bytearray()
        self._sealing: FileSealing | None = None

    @property
    def content_bytes(self) -> int:
        """How much was announced."""
        return self._announced.payload.content_bytes

    def write(self, piece: bytes) -> None:
        """Takes the next piece; nothing of it is sealed until the file's start was seen to be the patient's.

        Raises:
            records.PatientMismatchError: the file names another patient.
            StoreIsFull, storage.StorageError: no room is left.
        """
        with self._watch.step("seal"):
            if self._sealing is not None:
                return self._sealing.write(piece)
            self._head += piece
            if len(self._head) >= min(HEAD_BYTES, self.content_bytes):
                self._begin()

    def finish(self) -> Publication:
        """Publishes what came; the answer says how far it is, as ``Publisher.publish``.

        Raises:
            InvalidRequest: it is not the file that was announced.
            As ``FilePublisher.announce``.
        """
        means, announced, sealing = self._means, self._announced, self._sealing
        if sealing is None:
            raise InvalidRequest(f"expected {self.content_bytes} bytes; came {len(self._head)}")
        if not hmac.compare_digest(sealing.content_digest, announced.content_digest):
            raise InvalidRequest(
                "expected the file whose SHA-256 was announced; other bytes came: send it again",
                code="digest-mismatch",
            )
        plan = means.book.plan(announced.patient)
        keyring = means.keyrings.current_keyring(announced.patient)
        with self._watch.step("seal"):
            sealed = sealing.finish(keyring, plan, means.keys.current_encryption_key.public)
        done = means.publish(announced, sealed, plan, self._watch)
        self._forget()
        return done

    def close(self) -> None:
        """Drops what is not needed."""
        if self._sealing is not None:
            self._sealing.close()

    def _begin(self) -> None:
        means, announced = self._means, self._announced
        check_file_patient(bytes(self._head[:HEAD_BYTES]), means.patients.identifiers_of(announced.patient))
        nonce, identity = new_identity(
            means.ledger.scope, means.keys.address, announced.patient, announced.payload.category
        )
        self._sealing = FileSealing(
            announced.payload, nonce, identity, means.keys.account, means.blocks, int(means.clock())
        )
        self._sealing.write(bytes(self._head))
        self._head.clear()
