"""What an auditor asks of a member."""

from fastapi import APIRouter, Depends

from node.openapi import json_body
from node.openings import Openings
from node.request_auth import AuthenticatedRequest, Authentication
from vocabulary import Role
from wire.audit import Opening, OpeningRequest


def router(auth: Authentication, openings: Openings) -> APIRouter:
    """POST /audit/openings."""
    routes = APIRouter(prefix="/audit", tags=["audit"])
    auditor = auth.member(roles=(Role.AUDITOR,))

    @routes.post("/openings", openapi_extra=json_body(OpeningRequest))
    def open_commitment(request: AuthenticatedRequest = Depends(auditor)) -> Opening:
        """Who was the person behind an access of this member."""
        return openings.open(request.caller.identifier, request.parse(OpeningRequest))

    return routes
