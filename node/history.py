"""Everything that this node knows of who asked for a patient's records: the ledger's log and its own."""

from sqlalchemy import select

from node.database import Database
from node.errors import NotFound
from node.identity import Identity
from node.ledger_view import LedgerView
from node.tables_custody import own_reads, releases
from node.views import access_view, block_reference
from wire.patients import HistoryView, OwnReadView, ReleaseView


class History:
    """Decisions of all members from the ledger; releases and own reads as far as this node served them."""

    def __init__(self, database: Database, ledger: LedgerView, identity: Identity) -> None:
        self._database = database
        self._ledger = ledger
        self._identity = identity

    def of(self, patient: bytes) -> HistoryView:
        """The history of a patient, each part in the order in which it happened.

        Raises:
            NotFound: no patient of that pseudonym is on the ledger.
        """
        snapshot = self._ledger.snapshot()
        if snapshot.patient(patient) is None:
            raise NotFound("no patient of that pseudonym is on the ledger")
        accesses = self._ledger.accesses_of(patient)
        return HistoryView(
            final=block_reference(snapshot.final),
            accesses=tuple(
                access_view(access) for access in accesses if access.block_number <= snapshot.final.number
            ),
            releases=self._releases(patient),
            own_reads=self._own_reads(patient),
        )

    def _releases(self, patient: bytes) -> tuple[ReleaseView, ...]:
        statement = select(releases).where(releases.c.patient == patient).order_by(releases.c.number)
        with self._database.read() as connection:
            return tuple(
                ReleaseView(
                    patient=patient,
                    sequence=row.sequence,
                    record_id=row.record_id,
                    custodian=self._identity.address,
                    time=row.released_at,
                )
                for row in connection.execute(statement)
            )

    def _own_reads(self, patient: bytes) -> tuple[OwnReadView, ...]:
        statement = select(own_reads).where(own_reads.c.patient == patient).order_by(own_reads.c.number)
        with self._database.read() as connection:
            return tuple(
                OwnReadView(record_id=row.record_id, member=self._identity.address, time=row.read_at)
                for row in connection.execute(statement)
            )
