"""What authors deposit with this custodian, and what requesters get from it."""

from fastapi import APIRouter, Depends

from node.custody import CustodyService
from node.metrics import Metrics
from node.openapi import json_body
from node.release import ReleaseService
from node.request_auth import AuthenticatedRequest, Authentication
from vocabulary import Role
from wire.custody import DepositBatch, DepositReceipts, ReleaseRequest, ReleaseResponse
from wire.limits import DEPOSIT_BYTES


def router(
    auth: Authentication, custody: CustodyService, release: ReleaseService, metrics: Metrics
) -> APIRouter:
    """POST /custody/deposits and /custody/releases."""
    routes = APIRouter(prefix="/custody", tags=["custody"])
    provider = auth.member(limit_bytes=DEPOSIT_BYTES, roles=(Role.PROVIDER,))
    requester = auth.member(roles=(Role.CONSUMER, Role.RESEARCHER))

    @routes.post("/deposits", openapi_extra=json_body(DepositBatch))
    def deposit(request: AuthenticatedRequest = Depends(provider)) -> DepositReceipts:
        """Keeps all that this custodian must hold of some records; durable when the signed receipts are answered."""
        answer = custody.deposit(request.caller.identifier, request.parse(DepositBatch))
        metrics.deposits.inc(len(answer.receipts))
        return answer

    @routes.post("/releases", openapi_extra=json_body(ReleaseRequest))
    def release_shares(request: AuthenticatedRequest = Depends(requester)) -> ReleaseResponse:
        """This custodian's shares against permits that are final on the ledger, or why not, item by item."""
        response = release.release(request.caller.identifier, request.parse(ReleaseRequest))
        for item in response.releases:
            metrics.releases.labels("released" if item.refusal is None else "refused").inc()
        return response

    return routes
