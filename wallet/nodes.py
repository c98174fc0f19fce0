"""A typed client of one node's routes for patients. It believes nothing: ``wallet.agreement`` compares nodes."""

import httpx

from crypto.vault import BackupKeys
from storage import Cid, check_block
from wallet.errors import NodeAnswerInvalid, NodeRefused
from wallet.pin import Pin
from wallet.transport import RELAY_SECONDS, NodeTransport
from wire.ledger import LedgerDescription, MembersView
from wire.limits import BACKUP_BYTES, BLOCK_BYTES
from wire.patients import (
    ConsentsView,
    GrantAcknowledgement,
    GrantDelivery,
    HistoryView,
    OwnCopy,
    PatientView,
    PendingRegistration,
    RecordsView,
    RegistrationRequest,
    RelayRequest,
    RelayResponse,
)
from wire.signing import RequestKey

_OCTETS = "application/octet-stream"
_OWN_COPY_BYTES = 4 * 1024 * 1024


class NodeClient:
    """One node, asked as some pseudonym of this wallet.

    Every method raises NodeUnreachable, NodeRefused or NodeAnswerInvalid (``wallet.errors``).
    """

    def __init__(self, url: str, member: bytes, name: str, http: httpx.Client, pin: Pin) -> None:
        self.url, self.member, self.name = url.rstrip("/"), member, name
        self._pin, self._checked = pin, False
        self._http_transport = NodeTransport(url, member, name, http)

    @property
    def _transport(self) -> NodeTransport:
        """The way to the node, once it said that it follows the pinned ledger as the expected member."""
        if not self._checked:
            description = describe_ledger(self._http_transport)
            if (difference := self._pin.difference(description)) is not None:
                raise NodeAnswerInvalid(self.name, difference)
            if description.member != self.member:
                raise NodeAnswerInvalid(
                    self.name,
                    f"expected the node of member 0x{self.member.hex()}; it is of 0x{description.member.hex()}",
                )
            self._checked = True
        return self._http_transport

    def members(self) -> MembersView:
        """All members with their keys."""
        return self._transport.get(MembersView, "/members")

    def request_registration(self, key: RequestKey, request: RegistrationRequest) -> PendingRegistration:
        """Asks this provider to register the pseudonym of ``key``."""
        return self._transport.post(PendingRegistration, "/registrations", request, key)

    def patient(self, key: RequestKey) -> PatientView | None:
        """The pseudonym's state; None while the ledger does not know it."""
        try:
            return self._transport.get(PatientView, f"/patients/{_hex(key)}", key)
        except NodeRefused as refused:
            if refused.status in (403, 404):
                return None
            raise

    def records(self, key: RequestKey) -> RecordsView:
        """The pseudonym's records."""
        return self._transport.get(RecordsView, f"/patients/{_hex(key)}/records", key)

    def consents(self, key: RequestKey) -> ConsentsView:
        """The pseudonym's consents."""
        return self._transport.get(ConsentsView, f"/patients/{_hex(key)}/consents", key)

    def history(self, key: RequestKey) -> HistoryView:
        """Every decision on the pseudonym's records, and what this node released of them."""
        return self._transport.get(HistoryView, f"/patients/{_hex(key)}/history", key)

    def own_copy(self, key: RequestKey, record_id: bytes) -> OwnCopy:
        """Header and wraps of an own record, from a custodian of it; the node logs it."""
        path = f"/patients/{_hex(key)}/records/0x{record_id.hex()}/own-copy"
        return self._transport.get(OwnCopy, path, key, _OWN_COPY_BYTES)

    def block(self, key: RequestKey, cid: Cid) -> bytes:
        """A block of an own record's ciphertext, its CID recomputed here.

        Raises:
            BlockCorruptError: the node gave other bytes.
        """
        block = self._transport.exchange("GET", f"/blocks/{cid}", key, limit_bytes=BLOCK_BYTES)
        return check_block(cid, block)

    def put_keyring(self, key: RequestKey, keyring: bytes) -> None:
        """Stores the pseudonym's public keyring."""
        self._transport.exchange("PUT", f"/patients/{_hex(key)}/keyring", key, keyring, _OCTETS)

    def relay(self, key: RequestKey, request: RelayRequest) -> RelayResponse:
        """Has signed messages put on the ledger; answers when they are final."""
        response = self._transport.post(RelayResponse, "/relay", request, key, RELAY_SECONDS)
        if len(response.outcomes) != len(request.messages):
            raise NodeAnswerInvalid(
                self.name,
                f"expected an outcome for each of {len(request.messages)} messages; came {len(response.outcomes)}",
            )
        return response

    def deliver_grant(self, key: RequestKey, delivery: GrantDelivery) -> GrantAcknowledgement:
        """Hands a grant's secrets to this member."""
        return self._transport.post(GrantAcknowledgement, "/grants", delivery, key)

    def put_backup(self, keys: BackupKeys, sealed: bytes) -> None:
        """Stores the wallet's sealed backup."""
        path = f"/backups/0x{keys.locator.hex()}"
        self._transport.exchange("PUT", path, RequestKey.of_backup(keys.signing_seed), sealed, _OCTETS)

    def get_backup(self, keys: BackupKeys) -> bytes | None:
        """The newest backup that this node holds under the locator, or None."""
        path = f"/backups/0x{keys.locator.hex()}"
        try:
            return self._transport.exchange(
                "GET", path, RequestKey.of_backup(keys.signing_seed), limit_bytes=BACKUP_BYTES
            )
        except NodeRefused as refused:
            if refused.status == 404:
                return None
            raise

    def __repr__(self) -> str:
        return f"NodeClient({self.name!r}, {self.url!r})"


def describe_ledger(transport: NodeTransport) -> LedgerDescription:
    """Which ledger a node follows, and which member it says it is of."""
    return transport.get(LedgerDescription, "/ledger", limit_bytes=64 * 1024)


def _hex(key: RequestKey) -> str:
    return "0x" + key.caller.identifier.hex()
