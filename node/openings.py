"""Who was the person behind an access: kept here, opened to an auditor, each opening on record."""

import time
from collections.abc import Callable

from sqlalchemy import select

from node.database import Database
from node.errors import NotFound
from node.identity import Identity
from node.ledger_view import LedgerView
from node.tables import opening_log, openings
from wire.audit import Opening, OpeningRequest


class Openings:
    """The openings of this member's person commitments (``crypto.person``)."""

    def __init__(
        self,
        database: Database,
        ledger: LedgerView,
        identity: Identity,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._identity = identity
        self._clock = clock

    def remember(self, commitment: bytes, salt: bytes, staff_id: str, role: str) -> None:
        """Keeps what opens a commitment (32 bytes); durable when it returns, so call it before the transaction."""
        row = {"commitment": commitment, "salt": salt, "staff_id": staff_id, "role": role}
        with self._database.append() as connection:
            connection.execute(openings.insert().values(**row))

    def open(self, auditor: bytes, request: OpeningRequest) -> Opening:
        """Opens the commitment of one access of this member; the log of openings is written first.

        Raises:
            NotFound: there is no such access, or it was another member's.
        """
        access = self._ledger.access(request.patient, request.sequence)
        if access is None or access.requester != self._identity.address:
            raise NotFound("no access of this member has that patient and sequence")
        statement = select(openings).where(openings.c.commitment == access.person_commitment)
        with self._database.append() as connection:
            row = connection.execute(statement).one_or_none()
            if row is None:
                raise NotFound("this member does not have what opens that commitment")
            connection.execute(
                opening_log.insert().values(
                    auditor=auditor,
                    patient=request.patient,
                    sequence=request.sequence,
                    time=int(self._clock()),
                )
            )
        return Opening(
            member=self._identity.address,
            staff_id=row.staff_id,
            role=row.role,
            salt=row.salt,
            commitment=row.commitment,
        )
