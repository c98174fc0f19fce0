"""Ciphertext blocks, in and out."""

from fastapi import APIRouter, Depends, Response

from node.blocks import BlockService
from node.openapi import binary_body
from node.request_auth import AuthenticatedRequest, Authentication
from vocabulary import Role
from wire.limits import BLOCK_BYTES
from wire.signing import CallerKind

BINARY = "application/octet-stream"


def router(auth: Authentication, blocks: BlockService) -> APIRouter:
    """PUT and GET /blocks/{cid}."""
    routes = APIRouter(prefix="/blocks/{cid}", tags=["blocks"])
    writer = auth.member(limit_bytes=BLOCK_BYTES, roles=(Role.PROVIDER,))
    reader = auth.patient_or_member(path_patient=False)

    @routes.put("", status_code=204, openapi_extra=binary_body())
    def put_block(cid: str, request: AuthenticatedRequest = Depends(writer)) -> Response:
        """Keeps a block, durable when answered; its CID is recomputed from its bytes."""
        blocks.accept(request.caller.identifier, cid, request.body)
        return Response(status_code=204)

    @routes.get("", response_class=Response)
    def get_block(cid: str, request: AuthenticatedRequest = Depends(reader)) -> Response:
        """A block, or a record's header by its own CID; patients get those of their own records."""
        caller = request.caller
        if caller.kind is CallerKind.PATIENT:
            return Response(blocks.fetch_for_patient(caller.identifier, cid), media_type=BINARY)
        return Response(blocks.fetch(cid), media_type=BINARY)

    return routes
