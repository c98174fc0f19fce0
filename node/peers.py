"""Other members' nodes, as custodians and as sources of blocks: one interface for the own node and for theirs.

A peer is not trusted: its answers are limited in size and in time as they stream in, parsed strictly, and what
they prove (receipts, blocks, shares) is checked by whoever asked.
"""

from typing import Protocol, TypeVar

import httpx
from pydantic import ValidationError

from crypto.errors import CryptoError
from crypto.statement import verify_statement
from ledger.entities import Member
from node.blocks import BlockService
from node.collaborators import Ledger, OwnKeys
from node.custody import CustodyService
from node.deadlines import DeadlineTransport, within
from node.errors import NodeError, UpstreamFailed
from node.release import ReleaseService
from storage import BlockCorruptError, BlockNotFoundError, BlockSource, Cid, check_block
from wire.custody import (
    DEPOSIT_RECEIPT_LABEL,
    DepositBatch,
    DepositReceipt,
    DepositReceipts,
    DepositRequest,
    ReleaseRequest,
    ReleaseResponse,
    deposit_receipt_statement,
)
from wire.limits import BLOCK_BYTES, JSON_BYTES, KEYRING_BYTES
from wire.problem import Problem
from wire.signing import RequestKey, sign_request
from wire.types import Message

RELEASE_RESPONSE_BYTES = 16 * 1024 * 1024
"""The longest answer to a release request: 200 releases with their receipts and headers take less."""
CONNECT_SECONDS = 3.0
CALL_SECONDS = 20.0
"""How long one call may take in all, however steadily the peer sends."""

_Answer = TypeVar("_Answer", bound=Message)


class PeerFailed(UpstreamFailed):
    """A member's node did not answer, or not as agreed; the message names it."""

    default_code, title = "peer-failed", "Another member's node failed"


class PeerRefused(UpstreamFailed):
    """A member's node said no; ``refusal`` is its code."""

    default_code, title = "peer-refused", "Another member's node refused"

    def __init__(self, detail: str, refusal: str) -> None:
        super().__init__(detail)
        self.refusal = refusal


class Custodian(Protocol):
    """A custodian: this node itself, or another member's."""

    @property
    def address(self) -> bytes:
        """The member's account, 20 bytes."""

    @property
    def name(self) -> str:
        """The member's name on the ledger."""

    def put_block(self, cid: Cid, block: bytes) -> None:
        """The block is durable there when this returns."""

    def get(self, cid: Cid) -> bytes:
        """A block, checked (a ``storage.BlockSource``)."""

    def deposit(self, batch: DepositBatch) -> DepositReceipts:
        """It holds all that it must of these records, durably, when this returns; the caller checks the receipts."""

    def release(self, request: ReleaseRequest) -> ReleaseResponse:
        """Shares against permits; every share is checked by the caller."""


class OwnCustodian:
    """This node's own custody, by the same interface and under the same rules."""

    def __init__(
        self, keys: OwnKeys, blocks: BlockService, custody: CustodyService, release: ReleaseService
    ) -> None:
        self.address = keys.address
        self.name = "this node"
        self._blocks = blocks
        self._custody = custody
        self._release = release

    def put_block(self, cid: Cid, block: bytes) -> None:
        """As ``Custodian.put_block``."""
        self._blocks.put(self.address, block, cid.codec)

    def get(self, cid: Cid) -> bytes:
        """As ``Custodian.get``."""
        try:
            return check_block(cid, self._blocks.fetch(str(cid)))
        except NodeError as error:
            raise BlockNotFoundError(str(error)) from error

    def deposit(self, batch: DepositBatch) -> DepositReceipts:
        """As ``Custodian.deposit``."""
        return self._custody.deposit(self.address, batch)

    def release(self, request: ReleaseRequest) -> ReleaseResponse:
        """As ``Custodian.release``."""
        return self._release.release(self.address, request)


class PeerNode:
    """Another member's node over HTTP, at the endpoint that the ledger names."""

    def __init__(
        self,
        member: Member,
        key: RequestKey,
        client: httpx.Client,
        *,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self.address = member.address
        self.name = member.name
        self._endpoint = member.endpoint.rstrip("/")
        self._key = key
        self._client = client
        self._call_seconds = call_seconds

    def put_block(self, cid: Cid, block: bytes) -> None:
        """As ``Custodian.put_block``."""
        self._call("PUT", f"/blocks/{cid}", block, JSON_BYTES, content_type="application/octet-stream")

    def get(self, cid: Cid) -> bytes:
        """As ``Custodian.get``.

        Raises:
            BlockNotFoundError: it has none.
            BlockCorruptError: its bytes are those of another block.
            PeerFailed: it did not answer.
        """
        try:
            block = self._call("GET", f"/blocks/{cid}", b"", BLOCK_BYTES)
        except PeerRefused as error:
            raise BlockNotFoundError(str(error)) from error
        try:
            return check_block(cid, block)
        except BlockCorruptError as error:
            raise BlockCorruptError(f"{self._called}: {error}") from error

    def deposit(self, batch: DepositBatch) -> DepositReceipts:
        """As ``Custodian.deposit``."""
        return self._message("/custody/deposits", batch, DepositReceipts, JSON_BYTES)

    def release(self, request: ReleaseRequest) -> ReleaseResponse:
        """As ``Custodian.release``."""
        return self._message("/custody/releases", request, ReleaseResponse, RELEASE_RESPONSE_BYTES)

    def keyring(self, patient: bytes, epoch: int) -> bytes:
        """A patient's keyring document of one epoch; the caller checks its digest.

        Raises:
            PeerRefused: it has none.
            PeerFailed: it did not answer.
        """
        return self._call("GET", f"/patients/0x{patient.hex()}/keyrings/{epoch}", b"", KEYRING_BYTES)

    @property
    def _called(self) -> str:
        return f"{self.name} (0x{self.address.hex()})"

    def _message(self, path: str, request: Message, answer_type: type[_Answer], limit_bytes: int) -> _Answer:
        body = self._call("POST", path, request.model_dump_json().encode(), limit_bytes)
        try:
            return answer_type.model_validate_json(body)
        except ValidationError as error:
            raise PeerFailed(
                f"{self._called} answered {path} with something that is no {answer_type.__name__}: "
                f"{error.error_count()} fields are wrong"
            ) from None

    def _call(
        self, method: str, path: str, body: bytes, limit_bytes: int, content_type: str = "application/json"
    ) -> bytes:
        headers = sign_request(method, path, body, self.address, self._key)
        if body:
            headers["Content-Type"] = content_type
        # An answer is never compressed: a few bytes could become gigabytes before any limit sees them.
        headers["Accept-Encoding"] = "identity"
        timeout = httpx.Timeout(self._call_seconds, connect=CONNECT_SECONDS)
        try:
            with (
                within(self._call_seconds),
                self._client.stream(
                    method, self._endpoint + path, content=body, headers=headers, timeout=timeout
                ) as response,
            ):
                answer = self._limited(response, limit_bytes)
        except httpx.HTTPError as error:
            raise PeerFailed(
                f"{self._called} did not answer within {self._call_seconds:.0f} seconds: {type(error).__name__}"
            ) from error
        except (httpx.InvalidURL, ValueError) as error:
            raise PeerFailed(
                f"{self._called} has an endpoint on the ledger that is no URL: {error}"
            ) from error
        if response.status_code >= 300:
            raise self._refusal(response.status_code, answer)
        return answer

    def _limited(self, response: httpx.Response, limit_bytes: int) -> bytes:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise PeerFailed(f"{self._called} compressed an answer that was to come plain")
        parts: list[bytes] = []
        size_bytes = 0
        for part in response.iter_raw():
            size_bytes += len(part)
            if size_bytes > limit_bytes:
                raise PeerFailed(f"{self._called} answered more than {limit_bytes} bytes")
            parts.append(part)
        return b"".join(parts)

    def _refusal(self, status: int, answer: bytes) -> NodeError:
        try:
            problem = Problem.model_validate_json(answer)
        except ValidationError:
            return PeerFailed(f"{self._called} answered {status} without saying why")
        # Their words, cut short: they end in our logs and on our screens.
        return PeerRefused(f"{self._called} refused: {problem.detail[:300]}", problem.code)


class Peers:
    """Finds custodians and sources of blocks among the members on the ledger."""

    def __init__(
        self, ledger: Ledger, key: RequestKey, own: OwnCustodian, *, call_seconds: float = CALL_SECONDS
    ) -> None:
        self._ledger = ledger
        self._key = key
        self.own = own
        self._call_seconds = call_seconds
        transport = DeadlineTransport(max_connections=64, max_keepalive_connections=16)
        self._client = httpx.Client(transport=transport, follow_redirects=False, trust_env=False)

    def custodian(self, address: bytes) -> Custodian:
        """The custodian of an account; raises PeerFailed when no such member was ever enrolled."""
        return self.own if address == self.own.address else self.node(address)

    def node(self, address: bytes) -> PeerNode:
        """Another member's node, by its account; raises PeerFailed when no such member was ever enrolled."""
        member = self._ledger.snapshot().state.members.get(address)
        if member is None:
            raise PeerFailed(f"0x{address.hex()} is no member on the ledger")
        return PeerNode(member, self._key, self._client, call_seconds=self._call_seconds)

    def close(self) -> None:
        """Closes idle connections."""
        self._client.close()


class FirstGood:
    """A ``BlockSource`` that asks several in turn; a wrong block is passed over like an absent one."""

    def __init__(self, sources: tuple[BlockSource, ...]) -> None:
        self._sources = sources

    def get(self, cid: Cid) -> bytes:
        """As ``storage.BlockSource.get``; the error names what each source did."""
        failures = []
        for source in self._sources:
            try:
                return check_block(cid, source.get(cid))
            except (BlockNotFoundError, BlockCorruptError, NodeError) as error:
                failures.append(str(error))
        raise BlockNotFoundError(f"no one gave block {cid}: {'; '.join(failures) or 'no one to ask'}")


def check_receipt(
    receipt: DepositReceipt, request: DepositRequest, header_digest: bytes, custodian: bytes
) -> None:
    """Checks that a custodian signed for exactly this deposit.

    Raises:
        PeerFailed: it signed for something else, or did not sign.
    """
    statement = deposit_receipt_statement(
        receipt.record_id, receipt.header_digest, receipt.share_index, receipt.custodian
    )
    named = (receipt.header_digest, receipt.share_index, receipt.custodian)
    if named != (header_digest, request.share_index, custodian):
        raise PeerFailed(f"custodian 0x{custodian.hex()} answered with a receipt for something else")
    try:
        verify_statement(DEPOSIT_RECEIPT_LABEL, statement, receipt.signature, custodian)
    except CryptoError as error:
        raise PeerFailed(f"custodian 0x{custodian.hex()} did not sign its receipt: {error}") from error
