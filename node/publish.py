"""Publishing: from a bundle's bytes to records on the ledger.

validate and split (``records``) → find what is published already → sign, pack and seal (``sealing``) → ciphertext
into the own store → journal, one transaction → custodians → ledger → final (``publication_steps``).
"""

from collections.abc import Mapping, Sequence

from ledger import calls
from ledger.entities import Record, RecordStatus
from node.blocks import BlockService
from node.collaborators import SYSTEM_CLOCK, Clock, Keyrings, Ledger, OwnKeys, Patients, Transactor
from node.errors import Unprocessable
from node.ledger_view import require_advancing
from node.publication_book import PublicationBook
from node.publication_entries import JournalPublication, JournalRecord
from node.publication_steps import FINAL_SECONDS, PublicationSteps
from node.publish_journal import PublishJournal
from node.sealing import CustodyPlan, SealedPayload, seal_payload
from node.stopwatch import NewStopwatch, Stopwatch
from records import PatientIdentifier, RecordPayload, prepare
from vocabulary import Category
from wire.staff import Publication


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
        book: PublicationBook,
        *,
        clock: Clock = SYSTEM_CLOCK,
        new_stopwatch: NewStopwatch = Stopwatch,
    ) -> None:
        self._keys = keys
        self._ledger = ledger
        self._patients = patients
        self._keyrings = keyrings
        self._blocks = blocks
        self._journal = journal
        self._steps = steps
        self._sender = sender
        self._book = book
        self._clock = clock
        self._new_stopwatch = new_stopwatch

    def publish(self, identifier: PatientIdentifier, bundle: bytes) -> Publication:
        """Publishes a bundle of the patient with this identifier; what was published before is left as it is.

        When custodians or the ledger cannot be reached in time the answer says how far it is, and the node goes on
        trying until the deadline; the same bundle sent again joins that same publication.

        Raises:
            records.RecordsError: the bundle is refused, with the place in it.
            NotFound: no patient of this member has the identifier.
            Unavailable: too few custodians, or the patient's keyring did not reach this node.
            StoreIsFull: the ciphertext would not leave the disk's reserve free.
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
        record = self._book.own_record(record_id)
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
        record = self._book.own_record(record_id)
        if RecordStatus.RETRACTED not in record.status:
            receipt = self._sender.send(self._ledger.scope.contract, calls.retract(record_id))
            self._ledger.wait_for_block(receipt.block_number, FINAL_SECONDS)
        self._journal.forget_tag(record_id)
        return self._ledger.snapshot().state.records[record_id]

    def records_of(self, identifier: PatientIdentifier) -> tuple[Record, ...]:
        """The records on the ledger of the patient with this identifier, in the order of publishing."""
        patient = self._patients.patient_by_identifier(identifier.system, identifier.value)
        return self._ledger.snapshot().state.records_of(patient)

    def publication(self, publication_id: str) -> Publication:
        """What became of a publication; raises NotFound."""
        return self._book.answer(self._journal.load(publication_id))

    def resume(self) -> None:
        """Moves on publications that are neither published nor abandoned; for start-up and at intervals."""
        self._steps.resume()

    def _publish(
        self, patient: bytes, payloads: Sequence[RecordPayload], supersedes: bytes | None, watch: Stopwatch
    ) -> Publication:
        require_advancing(self._ledger.snapshot().age_seconds)
        with self._steps.locked(patient):
            self._book.check_active(patient)
            tags = [self._book.tag(payload) for payload in payloads]
            if (joined := self._book.join(patient, tags)) is not None:
                return joined
            known = self._book.known(patient, tags, correcting=supersedes is not None)
            fresh = {tag: payload for tag, payload in zip(tags, payloads, strict=True) if tag not in known}
            publication = self._begin(patient, tags, fresh, known, supersedes, watch)
            return self._book.answer(self._steps.advance(publication.publication_id))

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
            plan = self._book.plan(patient)
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
            self._blocks.require_room(sum(len(block) for _, block in blocks))
            self._blocks.put_many(self._keys.address, blocks)
        return self._book.record(patient, tags, sealed, known, plan, supersedes, watch)
