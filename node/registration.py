"""Registering patients: the wallet asks, staff confirm who the person is, the ledger takes the signed consent.

What was decided where the protocol is silent:

- A pseudonym that asks again while it waits gets a new code; the old one is void. One that is on the ledger is
  refused: a pseudonym is registered once.
- Identifiers are stored before the transaction goes out, and count only once the ledger has the pseudonym: a node
  that dies in between neither loses who the person is nor knows a patient whom the ledger does not.
"""

import hashlib
import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Row, and_, delete, func, not_, or_, select, update

from crypto.keyring import FIRST_EPOCH, Keyring
from ledger.calls import register_patient
from ledger.errors import ContractRefused
from ledger.messages import Registration, from_json, recover, to_json
from ledger.sender import Sender
from node.database import Database
from node.errors import Conflict, InvalidRequest, NotAllowed, NotFound, TooMany
from node.identity import Identity
from node.keyrings import Keyrings
from node.ledger_view import LedgerView, Snapshot
from node.patient_register import PatientRegister
from node.tables import pending_registrations
from vocabulary import Role
from wire.limits import KEYRING_BYTES
from wire.patients import PendingRegistration, RegistrationRequest
from wire.staff import PatientIdentifierValue, RegisteredPatient, RegistrationApproval

PENDING_SECONDS = 3600
PENDING_LIMIT = 2_000
WRONG_CODES = 10
WRONG_CODES_SECONDS = 600
FINAL_SECONDS = 60.0


class Registrations:
    """Registrations that wait for staff, and then for the ledger."""

    def __init__(
        self,
        database: Database,
        ledger: LedgerView,
        identity: Identity,
        sender: Sender,
        keyrings: Keyrings,
        register: PatientRegister,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._identity = identity
        self._sender = sender
        self._keyrings = keyrings
        self._register = register
        self._clock = clock
        self._changing = threading.Lock()
        self._guessing = threading.Lock()
        self._approving: set[bytes] = set()
        self._wrong_codes: dict[str, deque[float]] = {}

    def request(self, patient: bytes, request: RegistrationRequest) -> PendingRegistration:
        """Keeps a registration that a pseudonym signed, until staff confirm it or it expires (at most an hour).

        Raises:
            InvalidRequest: it is for another provider or ledger, expired, or its keyring is another one.
            NotAllowed: it is about another pseudonym than the caller, or not signed by it.
            Conflict: the pseudonym is on the ledger already, or this member is no active provider.
            TooMany: too many registrations wait.
        """
        message = self._checked(patient, request)
        now = int(self._clock())
        expires = min(message.deadline, now + PENDING_SECONDS)
        code = f"{secrets.randbelow(10**8):08}"
        row = {
            "patient": patient,
            "code_digest": _code_digest(code),
            "message": json.dumps(to_json(message)).encode(),
            "signature": request.registration.signature,
            "keyring": request.keyring,
            "expires": expires,
            "deadline": message.deadline,
            "approved": False,
        }
        with self._changing, self._database.begin() as connection:
            self._drop_expired(connection)
            before = connection.execute(
                select(pending_registrations.c.approved).where(pending_registrations.c.patient == patient)
            ).scalar_one_or_none()
            if before:
                raise Conflict(
                    "this registration was confirmed and is on its way to the ledger: ask for it there"
                )
            waiting = connection.execute(select(func.count()).select_from(pending_registrations)).scalar_one()
            if waiting >= PENDING_LIMIT:
                raise TooMany(f"{waiting} registrations wait already: try again in an hour")
            self._forget(connection, patient)
            while _row_of_code(connection, row["code_digest"]) is not None:
                code = f"{secrets.randbelow(10**8):08}"
                row["code_digest"] = _code_digest(code)
            connection.execute(pending_registrations.insert().values(**row))
        return PendingRegistration(code=f"{code[:4]}-{code[4:]}", expires_at=expires)

    def approve(self, staff_id: str, approval: RegistrationApproval) -> RegisteredPatient:
        """Registers the pseudonym behind a code, with the identifiers that staff confirmed; waits until final.

        Repeating it after a failure goes on where it stopped.

        Raises:
            NotFound: no registration with that code waits.
            TooMany: this staff member gave too many wrong codes.
            Conflict: an identifier names another live pseudonym.
            ledger.ContractRefused, ledger.NotFinal: from the ledger.
        """
        identifiers = tuple(dict.fromkeys(approval.identifiers))
        row = self._pending(staff_id, approval.code)
        with self._one_at_a_time(row.patient):
            if self._ledger.snapshot().patient(row.patient) is None:
                self._bind(row.patient, identifiers)
                self._keyrings.keep(row.patient, row.keyring)
                self._send(from_json(Registration, json.loads(row.message)), row.signature)
            with self._database.begin() as connection:
                self._forget(connection, row.patient)
        return self._register.patient_of(row.patient)

    def prune(self) -> None:
        """Drops registrations that expired, and bindings of pseudonyms that never reached the ledger."""
        with self._changing, self._database.begin() as connection:
            self._drop_expired(connection)

    def _checked(self, patient: bytes, request: RegistrationRequest) -> Registration:
        if request.registration.kind != Registration.__name__:
            raise InvalidRequest(f"expected a Registration; came {request.registration.kind[:40]!r}")
        message = from_json(Registration, request.registration.message)
        scope = self._ledger.scope
        if message.patient != patient or recover(scope, message, request.registration.signature) != patient:
            raise NotAllowed("expected a registration of the caller's own pseudonym, signed by it")
        if message.provider != self._identity.address:
            raise InvalidRequest(
                f"expected a registration with this provider, 0x{self._identity.address.hex()}; "
                f"came one with 0x{message.provider.hex()}"
            )
        snapshot = self._ledger.snapshot()
        now = max(int(self._clock()), snapshot.final.time)
        if not now < message.deadline <= now + PENDING_SECONDS:
            raise InvalidRequest("expected a deadline from now to an hour ahead: sign the registration again")
        if len(request.keyring) > KEYRING_BYTES:
            raise InvalidRequest(f"expected a keyring of at most {KEYRING_BYTES} bytes")
        keyring = Keyring.from_bytes(request.keyring)
        named = (keyring.chain_id, keyring.contract, keyring.patient, keyring.epoch, keyring.digest)
        if named != (scope.chain_id, scope.contract, patient, FIRST_EPOCH, message.keyring_digest):
            raise InvalidRequest("expected the first keyring of this pseudonym, whose digest was signed")
        self._require_new(snapshot, patient)
        return message

    def _require_new(self, snapshot: Snapshot, patient: bytes) -> None:
        if snapshot.patient(patient) is not None:
            raise Conflict("this pseudonym is registered already", code="patient-already-registered")
        own = snapshot.member(self._identity.address)
        if own is None or not own.active or not own.roles & Role.PROVIDER.bit:
            raise Conflict(
                "this member is no active provider: register with another one", code="not-a-provider"
            )

    @contextmanager
    def _one_at_a_time(self, patient: bytes) -> Iterator[None]:
        with self._changing:
            if patient in self._approving:
                raise Conflict("this registration is being confirmed right now: look again in a moment")
            self._approving.add(patient)
        try:
            yield
        finally:
            with self._changing:
                self._approving.discard(patient)

    def _pending(self, staff_id: str, code: str) -> Row[tuple[object, ...]]:
        now = self._clock()
        with self._guessing:
            wrong = self._wrong_codes.setdefault(staff_id, deque())
            while wrong and wrong[0] < now - WRONG_CODES_SECONDS:
                wrong.popleft()
            if len(wrong) >= WRONG_CODES:
                raise TooMany(
                    f"{len(wrong)} wrong codes were given: wait ten minutes, and ask the patient again"
                )
            # Counted before it is looked at, so that many at once are no more than many in turn.
            wrong.append(now)
        digits = "".join(code.replace("-", "").split())
        with self._database.read() as connection:
            row = _row_of_code(connection, _code_digest(digits))
        if row is None or (row.expires <= now and not row.approved):
            raise NotFound("no registration with this code waits: it expired, or there is a typing error")
        with self._guessing:
            if now in wrong:
                wrong.remove(now)
        return row

    def _bind(self, patient: bytes, identifiers: tuple[PatientIdentifierValue, ...]) -> None:
        with self._changing, self._database.begin() as connection:
            self._register.bind(connection, patient, identifiers)
            self._mark_approved(connection, patient, True)

    def _send(self, message: Registration, signature: bytes) -> None:
        try:
            receipt = self._sender.send(self._ledger.scope.contract, register_patient(message, signature))
            number = receipt.block_number
        except ContractRefused as error:
            if error.error_name != "PatientAlreadyRegistered":
                with self._changing, self._database.begin() as connection:
                    self._register.unbind(connection, message.patient)
                    self._mark_approved(connection, message.patient, False)
                raise
            # An earlier attempt landed, and this node had not seen it yet when it asked.
            number = self._sender.chain.final_block().number
        self._ledger.wait_for_block(number, FINAL_SECONDS)

    @staticmethod
    def _mark_approved(connection: Connection, patient: bytes, approved: bool) -> None:
        of_patient = pending_registrations.c.patient == patient
        connection.execute(update(pending_registrations).where(of_patient).values(approved=approved))

    def _drop_expired(self, connection: Connection) -> None:
        """An approved one is kept until chain time has passed its deadline: until then it may still land."""
        snapshot, pending = self._ledger.snapshot(), pending_registrations.c
        expired = select(pending.patient).where(
            or_(
                and_(not_(pending.approved), pending.expires < int(self._clock())),
                and_(pending.approved, pending.deadline < snapshot.final.time),
            )
        )
        for patient in connection.execute(expired).scalars().all():
            if snapshot.patient(patient) is None:
                self._register.unbind(connection, patient)
            self._forget(connection, patient)

    @staticmethod
    def _forget(connection: Connection, patient: bytes) -> None:
        connection.execute(delete(pending_registrations).where(pending_registrations.c.patient == patient))


def _code_digest(code: str) -> bytes:
    return hashlib.sha256(b"phr/v1/registration-code\x00" + code.encode()).digest()


def _row_of_code(connection: Connection, code_digest: object) -> Row[tuple[object, ...]] | None:
    statement = select(pending_registrations).where(pending_registrations.c.code_digest == code_digest)
    return connection.execute(statement).one_or_none()
