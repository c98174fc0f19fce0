"""What anyone may ask: whether the node is up, which ledger it follows, and who is a member."""

from fastapi import APIRouter, Response

from ledger.deploy import Deployment
from node.identity import Identity
from node.ledger_view import LedgerView
from node.readiness import Readiness
from node.status import Health, Status
from node.views import block_reference, member_view
from wire.ledger import LedgerDescription, MembersView


def router(deployment: Deployment, ledger: LedgerView, identity: Identity, status: Status) -> APIRouter:
    """GET /health, /ready, /ledger and /members."""
    routes = APIRouter(tags=["public"])
    readiness = Readiness(status.health)

    @routes.get("/health")
    async def health() -> dict[str, str]:
        """The process answers: whatever its threads do."""
        return {"status": "ok"}

    @routes.get("/ready")
    async def ready(response: Response) -> Health:
        """Whether the node can do its work now: 200, or 503 with the problems."""
        found = await readiness.health()
        response.status_code = 200 if found.ready else 503
        return found

    @routes.get("/ledger")
    def describe_ledger() -> LedgerDescription:
        """The ledger that this node follows, and how far."""
        snapshot = ledger.snapshot()
        return LedgerDescription(
            chain_id=deployment.chain_id,
            contract=deployment.address,
            deployment_block=deployment.block_number,
            genesis_hash=deployment.genesis_hash,
            administrator=snapshot.state.administrator or bytes(20),
            minimum_threshold=snapshot.state.minimum_threshold,
            member=identity.address,
            final=block_reference(snapshot.final),
        )

    @routes.get("/members")
    def members() -> MembersView:
        """All members with their keys, suspended ones too."""
        snapshot = ledger.snapshot()
        listed = tuple(member_view(member) for member in snapshot.state.members.values() if member.keys)
        return MembersView(final=block_reference(snapshot.final), members=listed)

    return routes
