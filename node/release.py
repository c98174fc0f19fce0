"""Releasing shares: no final permit on the ledger, no share; and the rules are applied again at this moment.

For each item, in this order (``ReleaseService._release`` repeats the numbers):

1. The permit (patient, sequence) is final here, permitted, the caller's own, and of this record.
2. It names the digest of the key that the share is to be sealed to.
3. It is not older than ``PERMIT_AGE_SECONDS`` of chain time.
4. The rules of the ledger permit the same access now (uses apart, since the access itself took one).
5. This custodian holds the deposit under the header that the ledger names, and its share opens.

Before all of them: this node's final head has advanced within ``HEAD_AGE_SECONDS`` of its own clock, since a
custodian that is cut off from the ledger cannot know of a revocation; and the head's own time is not
``HEAD_BEHIND_SECONDS`` behind that clock: a chain client that catches up advances all the time, far in the past, and
a machine that was suspended does not count the seconds that it slept. The receipt is journalled before the answer
leaves.
"""

import hashlib
import threading
import time

from sqlalchemy import insert, select

from crypto.binding import RecordIdentity
from crypto.errors import CryptoError
from crypto.header import read_header
from crypto.hpke import key_digest
from crypto.release import ReleaseBinding, ReleaseReceipt, seal_release, sign_receipt
from ledger.decide import AccessQuery, decide
from ledger.entities import Record
from ledger.errors import LedgerError
from ledger.messages import NO_RECORD, LedgerScope
from node.collaborators import SYSTEM_CLOCK, Clock, FinalAccess, Ledger, OwnKeys, Snapshot, Transactions
from node.custody import CustodyService
from node.deposits import Deposit, DepositStore
from node.errors import InvalidRequest, NodeError, NotInTime, Unavailable
from node.tables_custody import releases
from vocabulary import Category, Reason
from wire.custody import Release, ReleaseItem, ReleaseRequest, ReleaseResponse
from wire.patients import ReleaseView

PERMIT_AGE_SECONDS = 600
HEAD_AGE_SECONDS = 30.0
HEAD_BEHIND_SECONDS = 300.0
"""More than the clocks of a chain's block makers and of a custodian differ, less than a permit's age."""
CATCH_UP_SECONDS = 3.0
MOST_WAITERS = 8


class ReleaseRefused(NodeError):
    """Nothing is released for one item; the message names the rule."""

    default_code, status, title = "release-refused", 403, "Nothing is released"


class ReleaseService:
    """Releases this custodian's shares against permits."""

    def __init__(
        self,
        keys: OwnKeys,
        ledger: Ledger,
        custody: CustodyService,
        store: DepositStore,
        database: Transactions,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._keys = keys
        self._ledger = ledger
        self._custody = custody
        self._store = store
        self._database = database
        self._clock = clock
        self._waiters = threading.Semaphore(MOST_WAITERS)

    def release(self, caller: bytes, request: ReleaseRequest) -> ReleaseResponse:
        """Answers each item with a sealed share or a refusal that names the rule.

        Raises:
            Unavailable: the own final head is stale (``stale-head``); nothing at all is released.
            InvalidRequest: the response key is none.
        """
        self._await_permits(request)
        snapshot = self._ledger.snapshot()
        if snapshot.age_seconds > HEAD_AGE_SECONDS:
            raise Unavailable(
                f"expected a ledger that advanced in the last {HEAD_AGE_SECONDS:.0f} seconds; this custodian saw none "
                f"for {snapshot.age_seconds:.0f}: ask another custodian",
                code="stale-head",
            )
        behind_seconds = self._clock() - snapshot.final.time
        if behind_seconds > HEAD_BEHIND_SECONDS:
            raise Unavailable(
                f"expected a ledger of now; this custodian's final block is {behind_seconds:.0f} seconds behind its "
                "clock: its chain client is catching up, or its clock is wrong; ask another custodian",
                code="stale-head",
            )
        try:
            response_digest = key_digest(request.response_public_key)
        except CryptoError as error:
            raise InvalidRequest(f"the response key is none: {error}") from error
        records = snapshot.state.records
        held = self._store.find_many(
            (item.record_id, records[item.record_id].header_digest)
            for item in request.items
            if item.record_id in records
        )
        answers: list[Release] = []
        receipts: list[ReleaseReceipt] = []
        headers: dict[str, bytes] = {}
        for item in request.items:
            try:
                permit = self._permit(caller, request.patient, item, response_digest, snapshot)  # 1, 2, 3, 4
                deposit = held.get(item.record_id)
                sealed, receipt = self._seal(permit, deposit, request.response_public_key, snapshot)  # 5
            except (NodeError, LedgerError, CryptoError) as refusal:
                answers.append(
                    Release(sequence=item.sequence, record_id=item.record_id, refusal=str(refusal))
                )
                continue
            signature = sign_receipt(self._keys.account, receipt)
            receipts.append(receipt)
            answers.append(
                Release(
                    sequence=item.sequence,
                    record_id=item.record_id,
                    sealed=sealed,
                    receipt=receipt.to_bytes(),
                    receipt_signature=signature,
                )
            )
            if deposit is not None:
                headers["0x" + item.record_id.hex()] = deposit.header
        self._journal(receipts, answers)
        return ReleaseResponse(
            custodian=self._keys.address, header_by_record=headers, releases=tuple(answers)
        )

    def for_patient(self, patient: bytes) -> tuple[ReleaseView, ...]:
        """What this custodian released of a patient's records, in order."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(releases).where(releases.c.patient == patient).order_by(releases.c.number)
            ).all()
        return tuple(
            ReleaseView(
                patient=row.patient,
                sequence=row.sequence,
                record_id=row.record_id,
                custodian=self._keys.address,
                time=row.released_at,
            )
            for row in rows
        )

    def _await_permits(self, request: ReleaseRequest) -> None:
        """A requester may see its permit final a moment before this node does: that moment is waited for.

        Only so many wait at a time, so that made-up permits cannot take this node's threads.
        """
        if not self._waiters.acquire(blocking=False):
            return
        try:
            deadline = time.monotonic() + CATCH_UP_SECONDS
            while any(self._ledger.access(request.patient, item.sequence) is None for item in request.items):
                left_seconds = deadline - time.monotonic()
                if left_seconds <= 0:
                    return
                number = self._ledger.snapshot().final.number
                try:
                    self._ledger.wait_for_block(number + 1, left_seconds)
                except NotInTime:
                    return
        finally:
            self._waiters.release()

    def _permit(
        self, caller: bytes, patient: bytes, item: ReleaseItem, response_digest: bytes, snapshot: Snapshot
    ) -> FinalAccess:
        permit = self._ledger.access(patient, item.sequence)
        if permit is None or permit.block_number > snapshot.final.number:  # 1
            raise ReleaseRefused(
                f"expected access {item.sequence} of this patient to be final; it is not, here: ask again shortly",
                code="permit-unknown",
            )
        if permit.reason != Reason.PERMITTED:
            raise ReleaseRefused(
                f"access {item.sequence} was denied on the ledger: {Reason(permit.reason).label}"
            )
        if permit.requester != caller:
            raise ReleaseRefused(f"access {item.sequence} was permitted to another member")
        if permit.record_id != item.record_id:
            raise ReleaseRefused(f"access {item.sequence} was permitted for another record")
        if permit.response_key_digest != response_digest:  # 2
            raise ReleaseRefused(f"access {item.sequence} names another response key than the one that came")
        age_seconds = snapshot.final.time - permit.time
        if age_seconds > PERMIT_AGE_SECONDS:  # 3
            raise ReleaseRefused(
                f"access {item.sequence} is {age_seconds} seconds old, of at most {PERMIT_AGE_SECONDS}: ask the ledger "
                "again"
            )
        consent = snapshot.state.consents.get(permit.consent_id)
        if consent is None:
            raise ReleaseRefused(f"access {item.sequence} names a consent that is not on the ledger")
        query = AccessQuery(
            caller, permit.record_id, consent.nonce, consent.record_id != NO_RECORD, permit.purpose
        )
        decision = decide(snapshot.state, query, snapshot.final.time, check_uses=False)  # 4
        if not decision.permitted or decision.consent_id != permit.consent_id:
            raise ReleaseRefused(
                f"access {item.sequence} was permitted and would be denied now: {decision.reason.label}",
                code="denied-now",
            )
        return permit

    def _seal(
        self, permit: FinalAccess, deposit: Deposit | None, response_public: bytes, snapshot: Snapshot
    ) -> tuple[bytes, ReleaseReceipt]:
        if deposit is None:
            raise ReleaseRefused(
                "this custodian holds no deposit of that record under the header on the ledger",
                code="no-deposit",
            )
        record = snapshot.state.records[permit.record_id]
        read_header(deposit.header, record.header_digest, identity_of(self._ledger.scope, record))
        header, share = self._custody.share(deposit)
        binding = ReleaseBinding(
            chain_id=self._ledger.scope.chain_id,
            contract=self._ledger.scope.contract,
            patient=permit.patient,
            sequence=permit.sequence,
            record_id=permit.record_id,
            share_index=deposit.share_index,
            generation=header.generation,
            custodian=self._keys.address,
        )
        sealed = seal_release(share, deposit.consent_wrap, response_public, binding)
        receipt = ReleaseReceipt(
            binding=binding,
            requester=permit.requester,
            consent_id=permit.consent_id,
            response_key_digest=permit.response_key_digest,
            header_digest=record.header_digest,
            sealed_digest=hashlib.sha256(sealed).digest(),
            block_number=snapshot.final.number,
            block_hash=snapshot.final.hash,
            released_at_seconds=int(self._clock()),
        )
        return sealed, receipt

    def _journal(self, receipts: list[ReleaseReceipt], answers: list[Release]) -> None:
        signed = [answer for answer in answers if answer.sealed is not None]
        if not signed:
            return
        with self._database.append() as connection:
            connection.execute(
                insert(releases),
                [
                    {
                        "patient": receipt.binding.patient,
                        "sequence": receipt.binding.sequence,
                        "record_id": receipt.binding.record_id,
                        "requester": receipt.requester,
                        "released_at": receipt.released_at_seconds,
                        "receipt": answer.receipt,
                        "receipt_signature": answer.receipt_signature,
                    }
                    for receipt, answer in zip(receipts, signed, strict=True)
                ],
            )


def identity_of(scope: LedgerScope, record: Record) -> RecordIdentity:
    """A record's identity as the ledger has it."""
    return RecordIdentity(
        scope.chain_id,
        scope.contract,
        record.record_id,
        record.patient,
        record.author,
        Category(record.category),
    )
