"""Another member's node over HTTP: calls that end, are repeated where that is harmless, and stop where it is useless.

A peer is not trusted: its answers are limited in size and in time as they stream in, parsed strictly, and what
they prove (receipts, blocks, shares) is checked by whoever asked. Every attempt is signed anew, with its own nonce.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import httpx
from pydantic import ValidationError

from ledger.entities import Member
from node.breaker import BreakerOpen, CircuitBreaker, Failed
from node.errors import PeerFailed, PeerRefused
from node.unforeseen import UnforeseenFailures
from storage import BlockCorruptError, BlockNotFoundError, Cid, check_block
from storage.deadlines import within
from wire.custody import (
    DepositBatch,
    DepositReceipts,
    LostDeposits,
    LostDepositsAnswer,
    ReleaseRequest,
    ReleaseResponse,
)
from wire.limits import BLOCK_BYTES, JSON_BYTES, KEYRING_BYTES
from wire.problem import Problem
from wire.retrying import Repeatable, SendAgain, is_busy, retry_after_seconds, send
from wire.signing import RequestKey, sign_request
from wire.types import Message

if TYPE_CHECKING:
    from node.peer_threads import BoundedThreads

RELEASE_RESPONSE_BYTES = 16 * 1024 * 1024
"""The longest answer to a release request: 200 releases with their receipts and headers take less."""
CONNECT_SECONDS = 3.0
SILENCE_SECONDS = 10.0
"""How long a peer may say nothing in the middle of a call."""
CALL_SECONDS = 20.0
"""How long one call may take in all, its repetitions included, however steadily the peer sends."""
DEPOSIT_SECONDS = 90.0
HASHED_BYTES_PER_SECOND = 50 * 1024**2
"""A custodian reads and hashes the whole ciphertext before it answers a deposit: so much a second at least."""
PROBE_SECONDS = 2.0
_READY_BYTES = 64 * 1024

_Answer = TypeVar("_Answer", bound=Message)
_Parsed = TypeVar("_Parsed")


class PeerNode:
    """Another member's node, at the endpoint that the ledger names."""

    def __init__(
        self,
        member: Member,
        key: RequestKey,
        client: httpx.Client,
        *,
        breaker: CircuitBreaker | None = None,
        pool: "BoundedThreads | None" = None,
        insist: bool = False,
        call_seconds: float = CALL_SECONDS,
        unforeseen: UnforeseenFailures | None = None,
    ) -> None:
        """Calls ``member`` over ``client``, as whom ``key`` is of.

        Args:
            breaker: the one of this member, shared by all calls to it.
            pool: threads for calls to this member, shared by all calls to it.
            insist: whether to call although the breaker is open: nobody else can serve.
            unforeseen: where failures are noted that no answer should cause.
        """
        self.address = member.address
        self.name = member.name
        self.pool = pool
        self._endpoint = member.endpoint.rstrip("/")
        self._key = key
        self._client = client
        self._breaker = breaker or CircuitBreaker()
        self._insist = insist
        self._call_seconds = call_seconds
        self._unforeseen = unforeseen or UnforeseenFailures()

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

    def deposit(self, batch: DepositBatch, ciphertext_bytes: int) -> DepositReceipts:
        """As ``Custodian.deposit``; the same deposit again gets the same receipt, so it may be repeated."""
        seconds = max(DEPOSIT_SECONDS + ciphertext_bytes / HASHED_BYTES_PER_SECOND, self._call_seconds)
        return self._message("/custody/deposits", batch, DepositReceipts, JSON_BYTES, seconds=seconds)

    def release(self, request: ReleaseRequest) -> ReleaseResponse:
        """As ``Custodian.release``; each one that is heard leaves a receipt there, so none is asked for twice."""
        return self._message(
            "/custody/releases",
            request,
            ReleaseResponse,
            RELEASE_RESPONSE_BYTES,
            repeatable=Repeatable.IF_UNHEARD,
        )

    def lost_deposits(self, lost: LostDeposits) -> LostDepositsAnswer:
        """Tells an author what of its deposits is gone here; it answers what it deposits again."""
        return self._message("/custody/lost-deposits", lost, LostDepositsAnswer, JSON_BYTES)

    def keyring(self, patient: bytes, epoch: int) -> bytes:
        """A patient's keyring document of one epoch; the caller checks its digest.

        Raises:
            PeerRefused: it has none.
            PeerFailed: it did not answer.
        """
        return self._call("GET", f"/patients/0x{patient.hex()}/keyrings/{epoch}", b"", KEYRING_BYTES)

    def is_ready(self) -> bool:
        """Whether it says that it can do its work; asked at once and once, even of one that failed lately.

        Raises:
            PeerFailed: it did not answer.
        """
        try:
            response, _ = self._exchange("GET", "/ready", b"", _READY_BYTES, {}, PROBE_SECONDS)
        except Exception as error:  # noqa: BLE001 - raised anew, as this peer's
            self._breaker.note_probe(answered=False)
            failed = error.error if isinstance(error, SendAgain) else error
            if not isinstance(failed, PeerFailed):
                failed = self._stumbled(failed)
            raise failed from failed.__cause__
        self._breaker.note_probe(answered=True)
        return response.status_code == 200

    @property
    def _called(self) -> str:
        return f"{self.name} (0x{self.address.hex()})"

    def _message(
        self,
        path: str,
        request: Message,
        answer_type: type[_Answer],
        limit_bytes: int,
        *,
        repeatable: Repeatable = Repeatable.ALWAYS,
        seconds: float | None = None,
    ) -> _Answer:
        def parse(body: bytes) -> _Answer:
            try:
                return answer_type.model_validate_json(body)
            except ValidationError as error:
                raise PeerFailed(
                    f"{self._called} answered {path} with something that is no {answer_type.__name__}: "
                    f"{error.error_count()} fields are wrong"
                ) from None

        content = request.model_dump_json().encode()
        return self._parsed("POST", path, content, limit_bytes, parse, repeatable=repeatable, seconds=seconds)

    def _call(
        self,
        method: str,
        path: str,
        body: bytes,
        limit_bytes: int,
        *,
        content_type: str = "application/json",
    ) -> bytes:
        return self._parsed(method, path, body, limit_bytes, bytes, content_type=content_type)

    def _parsed(
        self,
        method: str,
        path: str,
        body: bytes,
        limit_bytes: int,
        parse: Callable[[bytes], _Parsed],
        *,
        content_type: str = "application/json",
        repeatable: Repeatable = Repeatable.ALWAYS,
        seconds: float | None = None,
    ) -> _Parsed:
        """An answer, parsed: what is none counts against the peer as silence does."""
        total_seconds = self._call_seconds if seconds is None else seconds
        try:
            with self._breaker.call(even_if_open=self._insist), within(total_seconds):
                try:
                    return parse(
                        send(
                            lambda: self._attempt(
                                method, path, body, limit_bytes, content_type, total_seconds
                            ),
                            total_seconds,
                            repeatable,
                        )
                    )
                except PeerRefused:
                    raise
                except PeerFailed as error:
                    raise Failed(error) from error
                except Exception as error:
                    raise Failed(self._stumbled(error)) from error
        except BreakerOpen as resting:
            raise PeerFailed(
                f"{self._called} did not answer lately; it is asked again in {resting.seconds:.0f} seconds"
            ) from None

    def _stumbled(self, error: Exception) -> PeerFailed:
        """What nobody foresaw in a call to it, as its failure: a caller need know no other kind."""
        self._unforeseen.note("calls", error, member="0x" + self.address.hex())
        failed = PeerFailed(f"{self._called} answered what this node stumbled over: {type(error).__name__}")
        failed.__cause__ = error
        return failed

    def _attempt(
        self, method: str, path: str, body: bytes, limit_bytes: int, content_type: str, seconds: float
    ) -> bytes:
        """One signed exchange; raises SendAgain for what another attempt may mend."""
        headers = sign_request(method, path, body, self.address, self._key)
        if body:
            headers["Content-Type"] = content_type
        response, answer = self._exchange(method, path, body, limit_bytes, headers, seconds)
        if response.status_code >= 300:
            raise self._refusal(response, answer)
        return answer

    def _exchange(
        self, method: str, path: str, body: bytes, limit_bytes: int, headers: dict[str, str], seconds: float
    ) -> tuple[httpx.Response, bytes]:
        # An answer is never compressed: a few bytes could become gigabytes before any limit sees them.
        headers = headers | {"Accept-Encoding": "identity"}
        silence_seconds = seconds if method == "POST" else min(SILENCE_SECONDS, seconds)
        timeout = httpx.Timeout(silence_seconds, connect=min(CONNECT_SECONDS, seconds))
        try:
            with (
                within(seconds),
                self._client.stream(
                    method, self._endpoint + path, content=body, headers=headers, timeout=timeout
                ) as response,
            ):
                return response, self._limited(response, limit_bytes)
        except httpx.HTTPError as error:
            unheard = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            failed = PeerFailed(
                f"{self._called} did not answer within {seconds:.0f} seconds: {type(error).__name__}"
            )
            failed.__cause__ = error
            raise SendAgain(failed, heard=not unheard) from error
        except (httpx.InvalidURL, ValueError) as error:
            raise PeerFailed(
                f"{self._called} has an endpoint on the ledger that is no URL: {error}"
            ) from error

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

    def _refusal(self, response: httpx.Response, answer: bytes) -> Exception:
        status, after_seconds = response.status_code, retry_after_seconds(response.headers)
        refused: PeerFailed | PeerRefused
        try:
            problem = Problem.model_validate_json(answer)
            # Their words, cut short: they end in our logs and on our screens.
            refused = PeerRefused(f"{self._called} refused: {problem.detail[:300]}", problem.code)
        except ValidationError:
            refused = PeerFailed(f"{self._called} answered {status} without saying why")
        if is_busy(status, after_seconds):
            return SendAgain(refused, heard=False, after_seconds=after_seconds)
        if isinstance(refused, PeerFailed) and status >= 500:
            return SendAgain(refused, heard=True)
        return refused
