"""Reading records: by this member's staff with consent, and by the patient alone."""

from fastapi import APIRouter, Depends, Response

from node.collaborators import StaffPerson
from node.openapi import json_body
from node.own_copies import OwnCopies
from node.reading import ReadingService
from node.request_auth import AuthenticatedRequest, Authentication, StaffRequest
from wire.patients import OwnCopy
from wire.staff import ReadRequest, ReadResponse
from wire.types import Address, Bytes32


def router(auth: Authentication, reading: ReadingService, own_copies: OwnCopies) -> APIRouter:
    """POST /staff/reads, GET /patients/{patient}/records/{record_id}/own-copy."""
    routes = APIRouter()
    staff = auth.staff()
    own = auth.patient()

    @routes.post(
        "/staff/reads",
        tags=["staff"],
        response_model=ReadResponse,
        openapi_extra=json_body(ReadRequest),
    )
    def read(request: StaffRequest = Depends(staff)) -> Response:
        """Asks the ledger for access in the caller's name, and opens what it permits."""
        person = StaffPerson(request.staff.staff_id, request.staff.role)
        answer = reading.read(person, request.parse(ReadRequest))
        # Written once: FastAPI would validate and copy what may be hundreds of MiB.
        return Response(answer.model_dump_json(), media_type="application/json")

    @routes.get("/patients/{patient}/records/{record_id}/own-copy", tags=["patients"])
    def own_copy(patient: Address, record_id: Bytes32, _: AuthenticatedRequest = Depends(own)) -> OwnCopy:
        """What opens an own record by the patient's own key; logged here."""
        return own_copies.own_copy(patient, record_id)

    return routes
