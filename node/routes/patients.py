"""What a patient's wallet asks of a node."""

from fastapi import APIRouter, Depends, Response

from node.backups import Backups
from node.errors import NotFound
from node.grants import Grants
from node.history import History
from node.keyrings import Keyrings
from node.ledger_view import LedgerView
from node.openapi import binary_body, json_body
from node.registration import Registrations
from node.relay import Relay
from node.request_auth import AuthenticatedRequest, Authentication
from node.views import block_reference, consent_view, patient_view, record_view
from vocabulary import Role
from wire.limits import BACKUP_BYTES, GRANT_BYTES, KEYRING_BYTES
from wire.patients import (
    ConsentsView,
    GrantAcknowledgement,
    GrantDelivery,
    HistoryView,
    PatientView,
    PendingRegistration,
    RecordsView,
    RegistrationRequest,
    RelayRequest,
    RelayResponse,
)
from wire.types import Address, Bytes32

BINARY = "application/octet-stream"
_BASE64_FRAME_BYTES = 8192
"""What the frame of a JSON body takes around one base64 field."""


def in_json(size_bytes: int) -> int:
    """The limit of a JSON body that carries ``size_bytes`` in base64."""
    return size_bytes * 4 // 3 + _BASE64_FRAME_BYTES


def ledger_router(auth: Authentication, ledger: LedgerView, history: History) -> APIRouter:
    """What the ledger says of a patient, to that patient."""
    routes = APIRouter(prefix="/patients/{patient}", tags=["patients"])
    own = auth.patient()
    own_or_auditor = auth.patient_or_member(roles=(Role.AUDITOR,))

    @routes.get("")
    def state(patient: Address, _: AuthenticatedRequest = Depends(own)) -> PatientView:
        """The pseudonym's own state."""
        snapshot = ledger.snapshot()
        known = snapshot.patient(patient)
        if known is None:
            raise NotFound("no patient of that pseudonym is on the ledger")
        return patient_view(known, snapshot.final)

    @routes.get("/records")
    def records(patient: Address, _: AuthenticatedRequest = Depends(own)) -> RecordsView:
        """The patient's records."""
        snapshot = ledger.snapshot()
        found = snapshot.records_of(patient)
        times = ledger.block_times(record.published_block for record in found)
        views = tuple(record_view(record, times) for record in found)
        return RecordsView(final=block_reference(snapshot.final), records=views)

    @routes.get("/consents")
    def consents(patient: Address, _: AuthenticatedRequest = Depends(own)) -> ConsentsView:
        """The patient's consents, revoked ones too."""
        snapshot = ledger.snapshot()
        views = tuple(consent_view(consent) for consent in snapshot.consents_of(patient))
        return ConsentsView(final=block_reference(snapshot.final), consents=views)

    @routes.get("/history")
    def accesses(patient: Address, _: AuthenticatedRequest = Depends(own_or_auditor)) -> HistoryView:
        """Who asked for the patient's records; also for auditors."""
        return history.of(patient)

    return routes


def keyring_router(auth: Authentication, keyrings: Keyrings) -> APIRouter:
    """Keyrings, in and out."""
    routes = APIRouter(prefix="/patients/{patient}", tags=["patients"])
    sender = auth.patient(limit_bytes=KEYRING_BYTES)
    reader = auth.patient_or_member()

    @routes.put("/keyring", status_code=204, openapi_extra=binary_body())
    def store(patient: Address, request: AuthenticatedRequest = Depends(sender)) -> Response:
        """Keeps the keyring of the current epoch, or of the next one."""
        keyrings.store(patient, request.body)
        return Response(status_code=204)

    @routes.get("/keyrings/{epoch}", response_class=Response)
    def document(patient: Address, epoch: int, _: AuthenticatedRequest = Depends(reader)) -> Response:
        """The keyring that the ledger names for an epoch, as bytes."""
        return Response(keyrings.document(patient, epoch), media_type=BINARY)

    return routes


def message_router(
    auth: Authentication, registrations: Registrations, relay: Relay, grants: Grants
) -> APIRouter:
    """What patients sign, in."""
    routes = APIRouter(tags=["patients"])
    anyone_signing = auth.any_pseudonym()
    registered = auth.patient(path_patient=False)
    granting = auth.patient(path_patient=False, limit_bytes=in_json(GRANT_BYTES))

    @routes.post("/registrations", openapi_extra=json_body(RegistrationRequest))
    def register(request: AuthenticatedRequest = Depends(anyone_signing)) -> PendingRegistration:
        """Keeps a signed registration until staff confirm who the person is."""
        return registrations.request(request.caller.identifier, request.parse(RegistrationRequest))

    @routes.post("/relay", openapi_extra=json_body(RelayRequest))
    def relay_messages(request: AuthenticatedRequest = Depends(registered)) -> RelayResponse:
        """Brings signed messages on the ledger and waits until they are final."""
        return relay.relay(request.caller.identifier, request.parse(RelayRequest))

    @routes.post("/grants", openapi_extra=json_body(GrantDelivery))
    def deliver_grant(request: AuthenticatedRequest = Depends(granting)) -> GrantAcknowledgement:
        """Keeps a grant bundle for this member."""
        return grants.deliver(request.caller.identifier, request.parse(GrantDelivery))

    return routes


def backup_router(auth: Authentication, backups: Backups) -> APIRouter:
    """Wallets' encrypted backups."""
    routes = APIRouter(prefix="/backups/{locator}", tags=["backups"])
    writer = auth.backup(limit_bytes=BACKUP_BYTES)
    reader = auth.backup()

    @routes.put("", status_code=204, openapi_extra=binary_body())
    def store(locator: Bytes32, request: AuthenticatedRequest = Depends(writer)) -> Response:
        """Keeps a backup whose version is above the one here."""
        backups.store(request.caller.identifier, locator, request.body)
        return Response(status_code=204)

    @routes.get("", response_class=Response)
    def newest(locator: Bytes32, request: AuthenticatedRequest = Depends(reader)) -> Response:
        """The newest backup, as bytes."""
        return Response(backups.newest(request.caller.identifier, locator), media_type=BINARY)

    return routes
