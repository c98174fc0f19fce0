"""Which of this member's patients has which medical record numbers: the one place that links a person to a pseudonym.

An identifier names one live pseudonym. It can be bound to another one only when the former is frozen or has ended the
relationship; the former keeps its own binding, for its records stay readable. A binding counts once the ledger has the
pseudonym with this provider: it is written before the transaction goes out.
"""

from collections import defaultdict

from sqlalchemy import Connection, delete, select

from ledger.entities import Patient, PatientStatus
from node.database import Database
from node.errors import Conflict, InvalidRequest, NotFound
from node.identity import Identity
from node.ledger_view import LedgerView, Snapshot
from node.tables import patient_identifiers
from records import PatientIdentifier
from wire.staff import PatientIdentifierValue, RegisteredPatient

IDENTIFIER_BYTES = 2048
"""System and value together: a row of PostgreSQL's index holds 2,704 bytes."""
_NUL = "\0"


class PatientRegister:
    """Bindings of identifiers to pseudonyms."""

    def __init__(self, database: Database, ledger: LedgerView, identity: Identity) -> None:
        self._database = database
        self._ledger = ledger
        self._identity = identity

    def patient_of(self, patient: bytes) -> RegisteredPatient:
        """A patient of this member with its identifiers; raises NotFound."""
        values = sorted(self.identifiers_of(patient), key=lambda one: (one.system, one.value))
        return RegisteredPatient(
            patient=patient,
            identifiers=tuple(PatientIdentifierValue(system=one.system, value=one.value) for one in values),
        )

    def patients(self) -> tuple[RegisteredPatient, ...]:
        """Every patient of this member, in the order in which the ledger took them."""
        by_patient = defaultdict[bytes, list[PatientIdentifierValue]](list)
        statement = select(patient_identifiers).order_by(
            patient_identifiers.c.system, patient_identifiers.c.value
        )
        with self._database.read() as connection:
            for row in connection.execute(statement):
                by_patient[row.patient].append(PatientIdentifierValue(system=row.system, value=row.value))
        snapshot = self._ledger.snapshot()
        known = [own for patient in by_patient if (own := self._own(snapshot, patient)) is not None]
        known.sort(key=lambda patient: patient.registered_block)
        return tuple(
            RegisteredPatient(patient=patient.address, identifiers=tuple(by_patient[patient.address]))
            for patient in known
        )

    def patient_by_identifier(self, system: str, value: str) -> bytes:
        """The pseudonym (20 bytes) of a medical record number: the live one, else the one registered last.

        Raises:
            NotFound: no patient of this member has it.
        """
        with self._database.read() as connection:
            bound = self._bound(connection, system, value)
        snapshot = self._ledger.snapshot()
        known = [own for patient in bound if (own := self._own(snapshot, patient)) is not None]
        if not known:
            raise NotFound("no patient of this member has that identifier: register the patient first")
        known.sort(key=lambda patient: (patient.status is PatientStatus.ACTIVE, patient.registered_block))
        return known[-1].address

    def identifiers_of(self, patient: bytes) -> frozenset[PatientIdentifier]:
        """The identifiers that staff confirmed of a patient of this member.

        Raises:
            NotFound: this pseudonym is no patient of this member.
        """
        statement = select(patient_identifiers).where(patient_identifiers.c.patient == patient)
        with self._database.read() as connection:
            found = frozenset(
                PatientIdentifier(row.system, row.value) for row in connection.execute(statement)
            )
        if not found or self._own(self._ledger.snapshot(), patient) is None:
            raise NotFound("this pseudonym is no patient of this member")
        return found

    def bind(
        self, connection: Connection, patient: bytes, identifiers: tuple[PatientIdentifierValue, ...]
    ) -> None:
        """Binds identifiers to a pseudonym that is about to be registered, instead of any before.

        Raises:
            Conflict: one of them names another patient, live or about to be.
            InvalidRequest: one of them cannot be kept.
        """
        snapshot = self._ledger.snapshot()
        for one in identifiers:
            if _NUL in one.system + one.value or len((one.system + one.value).encode()) > IDENTIFIER_BYTES:
                raise InvalidRequest(
                    f"expected an identifier of at most {IDENTIFIER_BYTES} bytes of UTF-8 in all, without NUL"
                )
            for other in self._bound(connection, one.system, one.value):
                if other != patient and _is_live(snapshot, other):
                    raise Conflict(
                        "an identifier belongs to another patient of this member already: look whether the "
                        "person is registered, or the number mistyped",
                        code="identifier-taken",
                    )
        self.unbind(connection, patient)
        rows = [{"system": one.system, "value": one.value, "patient": patient} for one in identifiers]
        connection.execute(patient_identifiers.insert(), rows)

    @staticmethod
    def unbind(connection: Connection, patient: bytes) -> None:
        """Forgets the identifiers of a pseudonym that will not be registered."""
        connection.execute(delete(patient_identifiers).where(patient_identifiers.c.patient == patient))

    def _own(self, snapshot: Snapshot, patient: bytes) -> Patient | None:
        known = snapshot.patient(patient)
        return known if known is not None and known.provider == self._identity.address else None

    @staticmethod
    def _bound(connection: Connection, system: str, value: str) -> list[bytes]:
        if _NUL in system + value:
            return []  # PostgreSQL would refuse the question
        statement = select(patient_identifiers.c.patient).where(
            patient_identifiers.c.system == system, patient_identifiers.c.value == value
        )
        return list(connection.execute(statement).scalars())


def _is_live(snapshot: Snapshot, patient: bytes) -> bool:
    """Whether a bound pseudonym is in use: one that the ledger does not have yet is on its way there."""
    known = snapshot.patient(patient)
    return known is None or known.status is PatientStatus.ACTIVE
