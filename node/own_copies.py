"""A patient's own read: what opens an own record without anyone's consent, logged by the node that served it."""

from sqlalchemy import insert, select

from ledger.entities import PatientStatus
from node.collaborators import SYSTEM_CLOCK, Clock, Ledger, OwnKeys, Transactions
from node.deposits import DepositStore
from node.errors import NotAllowed, NotFound, Unavailable
from node.tables_custody import own_reads
from wire.patients import OwnCopy, OwnReadView

OWN_COPY_AGE_SECONDS = 600.0
"""For so long after the final head last advanced a patient gets own copies: longer than custodians release to others,
since a chain that halts must not take a patient's own records away at once; and no longer, since a thief of the key
would ask a node that is cut off, which hears of no freeze."""


class OwnCopies:
    """Hands a pseudonym the wraps of its own records."""

    def __init__(
        self,
        keys: OwnKeys,
        ledger: Ledger,
        store: DepositStore,
        database: Transactions,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._keys = keys
        self._ledger = ledger
        self._store = store
        self._database = database
        self._clock = clock

    def own_copy(self, patient: bytes, record_id: bytes) -> OwnCopy:
        """Header, owner_wrap and consent_wrap of an own record; the read is logged before they are returned.

        Raises:
            NotFound: no such record is on the ledger, or this node holds no copy of it.
            NotAllowed: it is another patient's, or the pseudonym is frozen.
            Unavailable: this node is cut off from the ledger for so long that a freeze may have passed it by.
        """
        snapshot = self._ledger.snapshot()
        if snapshot.age_seconds > OWN_COPY_AGE_SECONDS:
            raise Unavailable(
                f"expected a ledger that advanced in the last {OWN_COPY_AGE_SECONDS:.0f} seconds, to know that this "
                "pseudonym is not frozen; this node saw none: ask another custodian of the record",
                code="stale-head",
            )
        record = snapshot.state.records.get(record_id)
        if record is None:
            raise NotFound(f"no record 0x{record_id.hex()} is on the ledger")
        if record.patient != patient:
            raise NotAllowed("a patient may ask only for what is their own", code="other-patient")
        known = snapshot.state.patients.get(patient)
        if known is not None and known.status is PatientStatus.FROZEN:
            # Whoever stole the key signs as well as the patient does: a freeze must close this way too.
            raise NotAllowed(
                "this pseudonym is frozen: nothing is read under it any more, not by its own key either; register anew",
                code="patient-frozen",
            )
        deposit = self._store.find(record_id, record.header_digest)
        if deposit is None:
            raise NotFound("this node holds no copy of that record: ask one of its custodians")
        with self._database.append() as connection:
            connection.execute(
                insert(own_reads).values(patient=patient, record_id=record_id, read_at=int(self._clock()))
            )
        return OwnCopy(
            header=deposit.header, owner_wrap=deposit.owner_wrap, consent_wrap=deposit.consent_wrap
        )

    def for_patient(self, patient: bytes) -> tuple[OwnReadView, ...]:
        """A patient's own reads through this node, in order."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(own_reads).where(own_reads.c.patient == patient).order_by(own_reads.c.number)
            ).all()
        return tuple(
            OwnReadView(record_id=row.record_id, member=self._keys.address, time=row.read_at) for row in rows
        )
