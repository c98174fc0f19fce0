"""What authors deposit with this custodian, and what requesters get from it."""

from fastapi import APIRouter, Depends

from node.custody import CustodyService
from node.metrics import Metrics
from node.openapi import json_body
from node.release import ReleaseService
from node.replication import Replication
from node.request_auth import AuthenticatedRequest, Authentication
from vocabulary import Role
from wire.custody import (
    DepositBatch,
    DepositReceipts,
    LostDeposits,
    LostDepositsAnswer,
    ReleaseRequest,
    ReleaseResponse,
)
from wire.limits import DEPOSIT_BYTES


def router(
    auth: Authentication,
    custody: CustodyService,
    release: ReleaseService,
    replication: Replication,
    metrics: Metrics,
) -> APIRouter:
    """POST /custody/deposits, /custody/releases and /custody/lost-deposits."""
    routes = APIRouter(prefix="/custody", tags=["custody"])
    provider = auth.member(limit_bytes=DEPOSIT_BYTES, roles=(Role.PROVIDER,))
    requester = auth.member(roles=(Role.CONSUMER, Role.RESEARCHER))
    custodian = auth.member(roles=(Role.CUSTODIAN,))

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

    @routes.post("/lost-deposits", openapi_extra=json_body(LostDeposits))
    def lost_deposits(request: AuthenticatedRequest = Depends(custodian)) -> LostDepositsAnswer:
        """A custodian of this member's records has its deposits no more: which ones will come again."""
        lost = request.parse(LostDeposits).record_ids
        return LostDepositsAnswer(
            coming=tuple(sorted(replication.told_lost(request.caller.identifier, lost)))
        )

    return routes
