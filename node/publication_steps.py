"""Moves a sealed publication on, one durable step at a time, until it is published or abandoned.

Whatever kills the process between two steps, ``advance`` goes on from the journal: deposits are idempotent, the
ledger takes a record id once, and past the deadline the ledger takes nothing, so that "abandoned" can be believed.
Blocks and shares come first and the ledger last: no record on the ledger ever points to nothing.
"""

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from crypto.envelope import Header, reseal_consent
from crypto.keyring import Keyring
from ledger import calls
from ledger.errors import ChainUnreachable, ContractRefused, NotFinal, RpcRefused, TransactionLost
from node.collaborators import Keyrings, Ledger, OwnKeys, Transactor
from node.distribution import WAIT_SECONDS, Distributor
from node.errors import NodeError, NotFound, Unavailable
from node.publication_entries import (
    IN_PROGRESS,
    JournalPublication,
    JournalRecord,
    PublicationState,
    ledger_publication,
)
from node.publish_journal import PublishJournal
from node.sealing import enough_of
from node.stopwatch import NewStopwatch, Stopwatch

RECORDS_PER_TRANSACTION = 20
FINAL_SECONDS = 30.0
TURN_SECONDS = 10.0
"""After so long a turn of resuming or of repairing ends, when the publication at hand is done with."""
REPAIR_WAIT_SECONDS = 3.0
GIVEN_UP_SECONDS = 7 * 24 * 3600
"""For so long, as far as this process saw, a custodian must be suspended before its shares are given up: a mistake is
put right by then. Meanwhile the journal keeps the wraps, and the record counts as under-replicated."""
MOST_STEPS = 12
"""How often one call moves a publication on: enough for several rotations of the keyring underway."""


class PublicationSteps:
    """The state machine behind ``Publisher``; ``locked`` gives one thread at a time a patient's publications."""

    def __init__(
        self,
        keys: OwnKeys,
        ledger: Ledger,
        keyrings: Keyrings,
        journal: PublishJournal,
        distributor: Distributor,
        sender: Transactor,
        *,
        new_stopwatch: NewStopwatch = Stopwatch,
        wait_seconds: float = WAIT_SECONDS,
        replicas: int = 3,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``replicas``: how many custodians hold a record whole before the ledger is told (0: all of its)."""
        self._keys = keys
        self._ledger = ledger
        self._keyrings = keyrings
        self._journal = journal
        self._distributor = distributor
        self._sender = sender
        self._new_stopwatch = new_stopwatch
        self._wait_seconds = wait_seconds
        self._replicas = replicas
        self._monotonic = monotonic
        self._inactive_since: dict[bytes, int] = {}
        self._repaired_up_to = self._resumed_up_to = ""
        self._locks = tuple(threading.RLock() for _ in range(64))

    @contextmanager
    def locked(self, patient: bytes) -> Iterator[None]:
        """Held while a patient's publications are begun or moved on."""
        with self._locks[patient[-1] % len(self._locks)]:
            yield

    def advance(self, publication_id: str, wait_seconds: float | None = None) -> JournalPublication:
        """Moves a publication on as far as it goes now; what stopped it is in its ``detail``.

        Args:
            wait_seconds: how long custodians are waited for; as this was made with, when absent.
        """
        wait_seconds = self._wait_seconds if wait_seconds is None else wait_seconds
        watch = self._new_stopwatch()
        with self.locked(self._journal.load(publication_id).patient):
            for _ in range(MOST_STEPS):
                publication = self._journal.load(publication_id)
                if publication.state not in IN_PROGRESS or not self._step(publication, watch, wait_seconds):
                    break
            after = self._journal.load(publication_id)
            if after.state in IN_PROGRESS:
                self._journal.move(publication_id, after.state, after.detail, watch.seconds_by_step)
            return self._journal.load(publication_id)

    def repair(self) -> int:
        """Brings published records to custodians that lacked them; returns how many publications still wait.

        As many are looked at as ``TURN_SECONDS`` allow, others the next time.

        When every custodian has its share the journal forgets the wraps: from then on only custodians hold them.
        """
        waiting = sorted(self._journal.published_but_waiting())
        after = bisect_right(waiting, self._repaired_up_to)
        repaired = 0
        until = self._monotonic() + TURN_SECONDS
        for publication_id in waiting[after:] + waiting[:after]:
            publication = self._journal.load(publication_id)
            with self.locked(publication.patient):
                repaired += self._repaired(publication)
            self._repaired_up_to = publication_id
            if self._monotonic() >= until:
                break
        return len(waiting) - repaired

    def _repaired(self, publication: JournalPublication) -> bool:
        record_ids = [record.record_id for record in publication.records if record.on_ledger]
        away = set()
        for custodian in {share.custodian for share in self._journal.waiting(record_ids)}:
            if (seconds := self._inactive_seconds(custodian)) is not None:
                away.add(custodian)
                if seconds >= GIVEN_UP_SECONDS:
                    self._journal.give_up_deposits(record_ids, custodian)
        count = len(Header.from_bytes(publication.records[0].header).custodians)
        # What takes longer goes on behind this, and is found done at a later turn.
        self._distributor.distribute(
            publication, count, min(self._wait_seconds, REPAIR_WAIT_SECONDS), leave_out=away
        )
        if self._journal.waiting(record_ids):
            return False
        self._journal.drop_wraps(publication.publication_id)
        return True

    def _inactive_seconds(self, custodian: bytes) -> int | None:
        """For how long a member has been seen suspended, in chain time; None when it is not."""
        snapshot = self._ledger.snapshot()
        member = snapshot.state.members.get(custodian)
        if member is not None and member.active:
            self._inactive_since.pop(custodian, None)
            return None
        return snapshot.final.time - self._inactive_since.setdefault(custodian, snapshot.final.time)

    def resume(self) -> None:
        """Moves on what is neither published nor abandoned, some of it at a time, others the next time.

        What a custodian takes long for goes on behind this, and is found done at a later turn.
        """
        in_progress = sorted(self._journal.in_progress())
        after = bisect_right(in_progress, self._resumed_up_to)
        until = self._monotonic() + TURN_SECONDS
        for publication_id in in_progress[after:] + in_progress[:after]:
            self.advance(publication_id, min(self._wait_seconds, REPAIR_WAIT_SECONDS))
            self._resumed_up_to = publication_id
            if self._monotonic() >= until:
                break

    def _step(self, publication: JournalPublication, watch: Stopwatch, wait_seconds: float) -> bool:
        """One step; whether there may be another one now."""
        snapshot = self._ledger.snapshot()
        landed = self._landed(publication)
        if len(landed) == len(publication.records):
            with watch.step("finish"):
                self._journal.finish(publication.publication_id, watch.seconds_by_step)
            return False
        if snapshot.final.time > publication.deadline:
            self._abandon(
                publication, "its deadline passed before the ledger had it: publish the bundle again"
            )
            return False
        try:
            if publication.state is PublicationState.SEALED:
                return self._deposit(publication, watch, wait_seconds)
            return self._send(publication, watch)
        except (ChainUnreachable, NotFinal, TransactionLost, RpcRefused) as error:
            self._stay(publication, publication.state, str(error))
        except NodeError as error:
            self._stay(publication, publication.state, error.detail)
        return False

    def _deposit(self, publication: JournalPublication, watch: Stopwatch, wait_seconds: float) -> bool:
        if self._reseal_if_stale(publication, watch):
            return True
        header = Header.from_bytes(publication.records[0].header)
        enough = enough_of(header.threshold, len(header.custodians), self._replicas)
        with watch.step("deposit"):
            outcome = self._distributor.distribute(publication, enough, wait_seconds)
        if outcome.complete < enough:
            words = "; ".join(outcome.failures)
            self._stay(
                publication,
                PublicationState.SEALED,
                f"{outcome.complete} of {len(header.custodians)} custodians hold it, {enough} are needed: {words}",
            )
            return False
        with watch.step("journal"):
            self._journal.move(publication.publication_id, PublicationState.DEPOSITED, "")
        return True

    def _send(self, publication: JournalPublication, watch: Stopwatch) -> bool:
        landed = self._landed(publication)
        missing = [record for record in publication.records if record.record_id not in landed]
        with watch.step("journal"):
            self._journal.move(publication.publication_id, PublicationState.SENT, "")
        some = missing[:RECORDS_PER_TRANSACTION]
        try:
            with watch.step("ledger"):
                receipt = self._sender.send(self._ledger.scope.contract, self._call(publication, some))
                self._ledger.wait_for_block(receipt.block_number, FINAL_SECONDS)
        except ContractRefused as refused:
            return self._refused(publication, refused, watch)
        return True

    def _refused(self, publication: JournalPublication, refused: ContractRefused, watch: Stopwatch) -> bool:
        if refused.error_name == "StaleEpoch":
            self._wait_for_head()
            return self._reseal_if_stale(publication, watch)
        if refused.error_name == "RecordAlreadyPublished":
            # An earlier transaction of ours landed, perhaps before a kill: the follower is about to see it.
            self._wait_for_head()
            if self._landed(publication):
                return True
            self._stay(publication, PublicationState.SENT, "on the ledger; waiting until it is final here")
            return False
        self._wait_for_head()
        self._abandon(publication, f"the ledger refused it: {refused}")
        return False

    def _wait_for_head(self) -> None:
        """Lets the follower reach at least the next final block: what the contract just saw is then seen here."""
        number = self._ledger.snapshot().final.number
        self._ledger.wait_for_block(number + 1, FINAL_SECONDS)

    def _reseal_if_stale(self, publication: JournalPublication, watch: Stopwatch) -> bool:
        patient = self._ledger.snapshot().state.patients[publication.patient]
        landed = self._landed(publication)
        stale = [
            record
            for record in publication.records
            if record.record_id not in landed and Header.from_bytes(record.header).epoch < patient.epoch
        ]
        if not stale:
            return False
        try:
            keyring = self._keyrings.current_keyring(publication.patient)
        except NotFound as error:
            raise Unavailable(f"the patient's new keyring did not reach this node yet: {error}") from error
        with watch.step("seal"):
            resealed = [self._resealed(record, keyring) for record in stale]
        self._journal.reseal(
            publication.publication_id, resealed, f"sealed again for the keyring's epoch {keyring.epoch}"
        )
        return True

    def _resealed(self, record: JournalRecord, keyring: Keyring) -> JournalRecord:
        key = self._keys.encryption_key(record.journal_key_digest)
        if key is None or record.journal_wrap is None:
            raise Unavailable("the key that this publication's journal is sealed to is not in the keystore")
        header = Header.from_bytes(record.header)
        public = keyring.category_public(header.identity.category)
        fresh = reseal_consent(header, record.journal_wrap, key, keyring.epoch, public)
        return replace(
            record,
            header=fresh.header_bytes,
            header_digest=fresh.header.digest,
            consent_wrap=fresh.consent_wrap,
        )

    def _call(self, publication: JournalPublication, records: Sequence[JournalRecord]) -> bytes:
        made = [ledger_publication(publication, record) for record in records]
        if publication.supersedes is not None:
            return calls.correct(made[0], publication.supersedes)
        return calls.publish(made[0]) if len(made) == 1 else calls.publish_batch(made)

    def _landed(self, publication: JournalPublication) -> set[bytes]:
        """The ids of its records that are final on the ledger under the header that the journal has."""
        final = self._ledger.snapshot().state.records
        return {
            record.record_id
            for record in publication.records
            if (known := final.get(record.record_id)) and known.header_digest == record.header_digest
        }

    def _stay(self, publication: JournalPublication, state: PublicationState, detail: str) -> None:
        self._journal.move(publication.publication_id, state, detail)

    def _abandon(self, publication: JournalPublication, detail: str) -> None:
        landed = self._landed(publication)
        if landed:
            detail = f"{len(landed)} of {len(publication.records)} records are on the ledger; of the rest: {detail}"
        self._journal.abandon(publication.publication_id, detail, landed)
