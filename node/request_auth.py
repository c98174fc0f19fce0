"""Who may call a route: FastAPI dependencies that prove the caller and hand over the body that they signed.

The order is: the caller's kind and standing (before the body is read), the body within its limit, the signature
over both, and at last the nonce. Nothing of the body is parsed before the signature holds.

Who has no turn yet (``node.lanes``) holds no thread of those who have one: what is looked at before the body is in
memory, or waits for the database in one of a few threads of its own.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import anyio
from anyio.to_thread import run_sync
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from node.errors import InvalidRequest, NotAllowed, Unauthenticated
from node.identity import Identity
from node.lanes import ticket_of
from node.ledger_view import LedgerView
from node.nonces import NonceMemory
from node.request_body import body_reader, parse_message
from node.staff import StaffMember, StaffRegister
from vocabulary import Role
from wire.errors import RequestSignatureInvalid
from wire.limits import JSON_BYTES
from wire.signing import Caller, CallerKind, named_caller, verify_request
from wire.types import Message

_Message = TypeVar("_Message", bound=Message)
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_SIGNATURE = APIKeyHeader(
    name="Signature-Input",
    scheme_name="signed",
    description="HTTP Message Signature (RFC 9421), tag phr-v1, with Content-Digest and PHR-Destination",
    auto_error=False,
)
IDENTIFYING_THREADS = 16
"""How many staff tokens are looked up in the database at once."""
_BEARER = HTTPBearer(scheme_name="staff", description="A staff token of this member", auto_error=False)


@dataclass(frozen=True, slots=True)
class AuthenticatedRequest:
    """A signed request whose caller is proven and in good standing; ``body`` is exactly what was signed."""

    caller: Caller
    body: bytes

    def parse(self, message_type: type[_Message]) -> _Message:
        """The body as a message; raises InvalidRequest."""
        return parse_message(message_type, self.body)


@dataclass(frozen=True, slots=True)
class StaffRequest:
    """A request of this member's own staff."""

    staff: StaffMember
    body: bytes

    def parse(self, message_type: type[_Message]) -> _Message:
        """The body as a message; raises InvalidRequest."""
        return parse_message(message_type, self.body)


SignedDependency = Callable[..., AuthenticatedRequest]
StaffDependency = Callable[..., StaffRequest]


class Authentication:
    """Makes the dependencies of routes, one for each kind of caller."""

    def __init__(
        self, identity: Identity, ledger: LedgerView, nonces: NonceMemory, staff: StaffRegister
    ) -> None:
        self._identity = identity
        self._ledger = ledger
        self._nonces = nonces
        self._staff = staff
        self._identifying = anyio.CapacityLimiter(IDENTIFYING_THREADS)

    def member(self, *, limit_bytes: int = JSON_BYTES, roles: tuple[Role, ...] = ()) -> SignedDependency:
        """An active member, with one of ``roles`` where some are named."""
        return self._signed(
            {CallerKind.MEMBER: lambda _, caller: self._check_member(caller, roles)}, limit_bytes
        )

    def patient(self, *, limit_bytes: int = JSON_BYTES, path_patient: bool = True) -> SignedDependency:
        """A registered pseudonym: the one in the path, unless ``path_patient`` is False."""

        def check(request: Request, caller: Caller) -> None:
            self._check_patient(request, caller, path_patient=path_patient)

        return self._signed({CallerKind.PATIENT: check}, limit_bytes)

    def any_pseudonym(self, *, limit_bytes: int = JSON_BYTES) -> SignedDependency:
        """A pseudonym that the ledger need not know yet: for registering."""
        return self._signed({CallerKind.PATIENT: lambda _request, _caller: None}, limit_bytes)

    def patient_or_member(
        self,
        *,
        limit_bytes: int = JSON_BYTES,
        roles: tuple[Role, ...] = (),
        path_patient: bool = True,
    ) -> SignedDependency:
        """As ``patient`` or as ``member``."""

        def check(request: Request, caller: Caller) -> None:
            self._check_patient(request, caller, path_patient=path_patient)

        return self._signed(
            {
                CallerKind.PATIENT: check,
                CallerKind.MEMBER: lambda _, caller: self._check_member(caller, roles),
            },
            limit_bytes,
        )

    def backup(self, *, limit_bytes: int = JSON_BYTES) -> SignedDependency:
        """The holder of a backup's key; that the key belongs to the locator is for the service to check."""
        return self._signed({CallerKind.BACKUP: lambda _request, _caller: None}, limit_bytes)

    def staff(self, *, limit_bytes: int = JSON_BYTES) -> StaffDependency:
        """This member's own staff, by their token."""
        read = body_reader(limit_bytes)
        identify = self.staff_member()

        async def read_after_token(request: Request, _: StaffMember = Depends(identify)) -> bytes:
            return await read(request)

        def authenticated(
            member: StaffMember = Depends(identify), body: bytes = Depends(read_after_token)
        ) -> StaffRequest:
            return StaffRequest(member, body)

        return authenticated

    def staff_member(self) -> Callable[..., Awaitable[StaffMember]]:
        """As ``staff``, with the body left unread: for those too large for memory.

        Raises (the dependency):
            Unauthenticated: there is no token, or it is nobody's.
            Busy: as much of this person is under way as is taken at once.
        """

        async def identify(
            request: Request, credentials: HTTPAuthorizationCredentials | None = Security(_BEARER)
        ) -> StaffMember:
            if credentials is None:
                raise Unauthenticated("expected a staff token: Authorization: Bearer …")
            member = await run_sync(self._staff.by_token, credentials.credentials, limiter=self._identifying)
            if member is None:
                raise Unauthenticated("this staff token is not known here, or was ended: ask for a new one")
            request.state.caller_kind = "staff"
            if (ticket := ticket_of(request)) is not None:
                ticket.count_for_person(member.staff_id)
            return member

        return identify

    def _signed(
        self, admitted: Mapping[CallerKind, Callable[[Request, Caller], None]], limit_bytes: int
    ) -> SignedDependency:
        read = body_reader(limit_bytes)

        async def check_standing(request: Request, _: str | None = Security(_SIGNATURE)) -> Caller:
            """Refuses at once, on the word of the caller, who could not be admitted even if it proves itself."""
            try:
                caller = named_caller(request.headers)
            except RequestSignatureInvalid as error:
                raise Unauthenticated(str(error)) from None
            check = admitted.get(caller.kind)
            if check is None:
                kinds = " or ".join(kind.value for kind in admitted)
                raise NotAllowed(f"this route is for a {kinds}; a {caller.kind.value} called")
            check(request, caller)
            return caller

        async def read_after_standing(request: Request, _: Caller = Depends(check_standing)) -> bytes:
            return await read(request)

        def authenticated(
            request: Request,
            caller: Caller = Depends(check_standing),
            body: bytes = Depends(read_after_standing),
        ) -> AuthenticatedRequest:
            try:
                verified = verify_request(
                    request.method,
                    _path_as_sent(request),
                    request.headers,
                    body,
                    self._identity.address,
                    self._transport_key_of,
                )
            except RequestSignatureInvalid as error:
                raise Unauthenticated(str(error)) from None
            self._nonces.remember(verified)
            request.state.caller_kind = caller.kind.value
            return AuthenticatedRequest(verified.caller, body)

        return authenticated

    def _transport_key_of(self, address: bytes) -> bytes | None:
        member = self._ledger.snapshot().member(address)
        return None if member is None else member.current_keys.transport_key

    def _check_member(self, caller: Caller, roles: tuple[Role, ...]) -> None:
        member = self._ledger.snapshot().member(caller.identifier)
        if member is None:
            raise Unauthenticated(f"0x{caller.identifier.hex()} is no member on the ledger")
        if not member.active:
            raise NotAllowed("this member is suspended: ask the administrator", code="member-suspended")
        if roles and not any(member.roles & role.bit for role in roles):
            needed = " or ".join(role.label for role in roles)
            raise NotAllowed(f"this route needs the role {needed}", code="role-lacking")

    def _check_patient(self, request: Request, caller: Caller, *, path_patient: bool) -> None:
        if path_patient and caller.identifier != path_address(request, "patient"):
            raise NotAllowed("a patient may ask only for what is their own", code="other-patient")
        if self._ledger.snapshot().patient(caller.identifier) is None:
            raise NotAllowed(
                "this pseudonym is not registered on the ledger: register it with a provider first",
                code="not-registered",
            )


def path_address(request: Request, name: str) -> bytes:
    """The address (20 bytes) in a path's parameter.

    Raises:
        InvalidRequest: it is not 0x and 40 hexadecimal digits.
    """
    text = str(request.path_params[name])
    if not _ADDRESS.fullmatch(text):
        raise InvalidRequest("expected an address in the path: 0x and 40 hexadecimal digits")
    return bytes.fromhex(text[2:])


def _path_as_sent(request: Request) -> str:
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    query: bytes = request.scope.get("query_string", b"")
    return (raw + (b"?" + query if query else b"")).decode("latin-1")
