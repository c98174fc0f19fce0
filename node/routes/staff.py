"""What this member's own staff and systems ask of the node, save for records."""

from fastapi import APIRouter, Depends, Response

from node.errors import NotFound
from node.grants import Grants
from node.history import History
from node.metrics import Metrics
from node.openapi import json_body
from node.patient_register import PatientRegister
from node.registration import Registrations
from node.request_auth import Authentication, StaffRequest
from node.routes.identifiers import patient_identifier_if_any
from node.status import Status
from records import PatientIdentifier
from wire.patients import HistoryView
from wire.staff import ConsentedPatient, NodeStatus, RegisteredPatient, RegistrationApproval
from wire.types import Address

_METRICS_TYPE = "text/plain; version=1.0.0; charset=utf-8"


def router(
    auth: Authentication,
    registrations: Registrations,
    register: PatientRegister,
    grants: Grants,
    history: History,
    status: Status,
) -> APIRouter:
    """Registering and finding patients, their consents for this member, their history, and the node's state."""
    routes = APIRouter(prefix="/staff", tags=["staff"])
    staff = auth.staff()

    @routes.post("/registrations", openapi_extra=json_body(RegistrationApproval))
    def approve(request: StaffRequest = Depends(staff)) -> RegisteredPatient:
        """Registers the pseudonym behind a code; waits until it is final."""
        return registrations.approve(request.staff.staff_id, request.parse(RegistrationApproval))

    @routes.get("/patients")
    def patients(
        _: StaffRequest = Depends(staff),
        identifier: PatientIdentifier | None = Depends(patient_identifier_if_any),
    ) -> list[RegisteredPatient]:
        """All registered patients of this member, or the one with an identifier (none, when there is none)."""
        if identifier is None:
            return list(register.patients())
        try:
            return [register.patient_of(register.patient_by_identifier(identifier.system, identifier.value))]
        except NotFound:
            return []

    @routes.get("/consents")
    def consents(_: StaffRequest = Depends(staff)) -> list[ConsentedPatient]:
        """The patients who granted this member something, and what it opens now."""
        return list(grants.consented())

    @routes.get("/history")
    def accesses(patient: Address, _: StaffRequest = Depends(staff)) -> HistoryView:
        """Who asked for a patient's records."""
        return history.of(patient)

    @routes.get("/status")
    def node_status(_: StaffRequest = Depends(staff)) -> NodeStatus:
        """How the node is."""
        return status.report()

    return routes


def metrics_router(auth: Authentication, metrics: Metrics) -> APIRouter:
    """GET /metrics, with a staff token as Prometheus' bearer token."""
    routes = APIRouter(tags=["staff"])
    staff = auth.staff()

    @routes.get("/metrics", response_class=Response)
    def figures(_: StaffRequest = Depends(staff)) -> Response:
        """The node's figures in Prometheus' text format."""
        return Response(metrics.text(), media_type=_METRICS_TYPE)

    return routes
