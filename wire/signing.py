"""Signed requests (RFC 9421): who sends, to which member, what exactly, when, once.

A signature covers the method, the path with its query, the body's digest (RFC 9530), the member that the request is
meant for, the time of creation and a nonce. The host name is not covered, the member's address is: a request
taken through a proxy stays valid, a request replayed to another member does not.

Three kinds of callers sign, told apart by the prefix of ``keyid``:

- ``member:0x…`` a member, with the Ed25519 transport key that the ledger names;
- ``patient:0x…`` a pseudonym, with its Ethereum account (statement signature over the signature base);
- ``backup:0x…`` the owner of a wallet's backup, with the Ed25519 key whose digest is the backup's locator.
"""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, HTTPSignatureKeyResolver
from http_message_signatures.algorithms import ED25519, HTTPSignatureAlgorithm
from http_message_signatures.exceptions import HTTPMessageSignaturesException

from crypto.errors import CryptoError
from crypto.signer import Signer
from crypto.statement import sign_statement, verify_statement
from wire.errors import RequestSignatureInvalid
from wire.limits import REQUEST_AGE_SECONDS

REQUEST_LABEL = "phr/v1/http-request"
DESTINATION_HEADER = "PHR-Destination"
_COVERED = ("@method", "@path", "@query", "phr-destination", "content-digest")
_TAG = "phr-v1"
_KEY_ID = re.compile(r"(member|patient|backup):0x([0-9a-f]{40}|[0-9a-f]{64})")
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")


class CallerKind(Enum):
    """Who signs a request."""

    MEMBER = "member"
    PATIENT = "patient"
    BACKUP = "backup"


@dataclass(frozen=True, slots=True)
class Caller:
    """The proven sender: an account (20 bytes) of a member or a patient, or a backup's public key (32 bytes)."""

    kind: CallerKind
    identifier: bytes

    @property
    def key_id(self) -> str:
        """The ``keyid`` of this caller's signatures."""
        return f"{self.kind.value}:0x{self.identifier.hex()}"


@dataclass(frozen=True, slots=True)
class VerifiedRequest:
    """A request whose signature holds. Whether its nonce is new is for the receiver to find out and remember."""

    caller: Caller
    nonce: str
    created_seconds: int


@dataclass(frozen=True)
class RequestKey:
    """What a caller signs its requests with."""

    caller: Caller
    private_key: Ed25519PrivateKey | Signer

    @classmethod
    def of_member(cls, address: bytes, transport_seed: bytes) -> "RequestKey":
        """The key of a member: its account's address and the seed (32 bytes) of its transport key."""
        private_key = Ed25519PrivateKey.from_private_bytes(transport_seed)
        return cls(Caller(CallerKind.MEMBER, address), private_key)

    @classmethod
    def of_patient(cls, signer: Signer) -> "RequestKey":
        """The key of a pseudonym."""
        return cls(Caller(CallerKind.PATIENT, signer.address), signer)

    @classmethod
    def of_backup(cls, signing_seed: bytes) -> "RequestKey":
        """The key of a wallet's backup, from its seed (32 bytes)."""
        private_key = Ed25519PrivateKey.from_private_bytes(signing_seed)
        return cls(Caller(CallerKind.BACKUP, private_key.public_key().public_bytes_raw()), private_key)


class _PseudonymStatement(HTTPSignatureAlgorithm):
    """A statement signature of an Ethereum account over the signature base, as an algorithm of RFC 9421."""

    algorithm_id = "phr-eip191"

    def __init__(self, public_key: Any = None, private_key: Any = None) -> None:
        self.public_key, self.private_key = public_key, private_key

    def sign(self, message: bytes) -> bytes:
        return sign_statement(self.private_key, REQUEST_LABEL, message)

    def verify(self, signature: bytes, message: bytes) -> None:
        verify_statement(REQUEST_LABEL, message, signature, self.public_key)


class _OneKey(HTTPSignatureKeyResolver):
    def __init__(self, key: Any) -> None:
        self._key = key

    def resolve_private_key(self, key_id: str) -> Any:
        return self._key

    def resolve_public_key(self, key_id: str) -> Any:
        return self._key


@dataclass
class _Request:
    method: str
    url: str
    headers: dict[str, str]


def _algorithm(kind: CallerKind) -> type[HTTPSignatureAlgorithm]:
    return _PseudonymStatement if kind is CallerKind.PATIENT else ED25519


def sign_request(
    method: str, path: str, body: bytes, destination: bytes, key: RequestKey, *, at: datetime | None = None
) -> dict[str, str]:
    """The headers that prove a request: Signature, Signature-Input, Content-Digest, PHR-Destination.

    Args:
        method: upper case.
        path: the path with its query, percent-encoded as it will be sent.
        body: the exact body, empty for none.
        destination: address (20 bytes) of the member that the request is meant for.
        at: time of creation; now, when absent.
    """
    request = _Request(method, "http://member" + path, {DESTINATION_HEADER: "0x" + destination.hex()})
    signer = HTTPMessageSigner(
        signature_algorithm=_algorithm(key.caller.kind), key_resolver=_OneKey(key.private_key)
    )
    signer.sign(
        request,
        key_id=key.caller.key_id,
        created=at or datetime.now(UTC),
        nonce=secrets.token_urlsafe(18),
        tag=_TAG,
        label="phr",
        covered_component_ids=_COVERED,
        body=body,
    )
    return request.headers


class _Verifier(HTTPMessageVerifier):
    # The clocks of two organisations may differ; the nonce, remembered for longer than this, prevents a replay.
    max_clock_skew = timedelta(seconds=REQUEST_AGE_SECONDS)


def verify_request(
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    destination: bytes,
    transport_key_of: Callable[[bytes], bytes | None],
) -> VerifiedRequest:
    """Who signed this request, if it was signed by the key it names, for this member, and lately.

    Args:
        path: the path with its query, percent-encoded as it came.
        destination: address (20 bytes) of the member who is asked.
        transport_key_of: the Ed25519 public key (32 bytes) of a member's address on the ledger, or None.

    Raises:
        RequestSignatureInvalid: and what was wrong.
    """
    caller = named_caller(headers)
    if "#" in path:
        # A fragment is no part of a request's target, and no component of a signature covers it.
        raise RequestSignatureInvalid("expected a path without a fragment")
    given = headers.get(DESTINATION_HEADER, headers.get(DESTINATION_HEADER.lower()))
    if given != "0x" + destination.hex():
        raise RequestSignatureInvalid(
            f"expected a request for member 0x{destination.hex()}; came one for {given}: ask the node that it is for"
        )
    public_key: Any
    if caller.kind is CallerKind.MEMBER:
        raw = transport_key_of(caller.identifier)
        if raw is None:
            raise RequestSignatureInvalid(
                f"expected a member; 0x{caller.identifier.hex()} is none on the ledger"
            )
        public_key = Ed25519PublicKey.from_public_bytes(raw)
    elif caller.kind is CallerKind.BACKUP:
        public_key = Ed25519PublicKey.from_public_bytes(caller.identifier)
    else:
        public_key = caller.identifier
    verifier = _Verifier(signature_algorithm=_algorithm(caller.kind), key_resolver=_OneKey(public_key))
    request = _Request(method, "http://member" + path, dict(headers))
    try:
        (result,) = verifier.verify(
            request,
            max_age=timedelta(seconds=REQUEST_AGE_SECONDS),
            expect_tag=_TAG,
            require_components=_COVERED,
            body=body,
        )
    except (HTTPMessageSignaturesException, CryptoError, ValueError) as error:
        raise RequestSignatureInvalid(f"the request's signature does not hold: {error}") from error
    if result.parameters.get("keyid") != caller.key_id:
        raise RequestSignatureInvalid(f"expected one signature by {caller.key_id}")
    if result.nonce is None or not _NONCE.fullmatch(result.nonce):
        raise RequestSignatureInvalid("expected a nonce of 16 to 64 characters of base64url")
    return VerifiedRequest(caller, result.nonce, int(result.parameters["created"]))


def named_caller(headers: Mapping[str, str]) -> Caller:
    """Who a request says that it is from: a claim, to be refused early or proven by ``verify_request``.

    Raises:
        RequestSignatureInvalid: it names nobody, or not in the form agreed.
    """
    text = headers.get("Signature-Input", headers.get("signature-input"))
    if text is None:
        raise RequestSignatureInvalid("expected a signed request (RFC 9421); no Signature-Input came")
    named = re.findall(r';keyid="([^"]*)"', text)
    match = _KEY_ID.fullmatch(named[0]) if len(named) == 1 else None
    if match is None:
        raise RequestSignatureInvalid(
            'expected one keyid of the form "member:0x…", "patient:0x…" or "backup:0x…" with lower-case digits'
        )
    kind, identifier = CallerKind(match[1]), bytes.fromhex(match[2])
    if len(identifier) != (32 if kind is CallerKind.BACKUP else 20):
        raise RequestSignatureInvalid(f"a {kind.value} is not named by {len(identifier)} bytes")
    return Caller(kind, identifier)
