"""Every error as problem details (RFC 9457): the one place that maps what went wrong to status and code."""

import re

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crypto.errors import CryptoError
from ledger.errors import (
    ChainAnswerInvalid,
    ChainHalted,
    ChainUnreachable,
    ContractRefused,
    InvalidMessage,
    LedgerError,
    NotFinal,
    UnknownMember,
    UnknownRecord,
)
from node.errors import NodeError
from node.request_body import faults
from records.errors import InputTooLargeError, RecordsError, SchemaUnavailableError
from storage.errors import (
    BlockNotFoundError,
    BlockTooLargeError,
    StorageError,
    StoreFullError,
    StoreUnavailableError,
)
from wire.problem import Problem

MEDIA_TYPE = "application/problem+json"
_log = structlog.get_logger("node.problems")

_BY_TYPE: tuple[tuple[type[Exception], int, str, str], ...] = (
    (InvalidMessage, 400, "invalid-message", "The signed message is not as agreed"),
    (ChainHalted, 503, "chain-halted", "The chain stands still"),
    (ChainUnreachable, 503, "chain-unreachable", "The chain does not answer"),
    (ChainAnswerInvalid, 502, "chain-answer-invalid", "The chain answered wrongly"),
    (NotFinal, 504, "not-in-time", "Not in time"),
    (UnknownRecord, 404, "unknown-record", "Not found"),
    (UnknownMember, 404, "unknown-member", "Not found"),
    (LedgerError, 502, "ledger-error", "The ledger could not be used"),
    (InputTooLargeError, 413, "too-large", "Too large"),
    (SchemaUnavailableError, 503, "schema-unavailable", "Not available now"),
    (RecordsError, 422, "content-refused", "The content cannot be accepted"),
    (CryptoError, 400, "invalid-document", "A sealed or signed document is not as agreed"),
    (BlockNotFoundError, 404, "block-not-found", "Not found"),
    (BlockTooLargeError, 413, "too-large", "Too large"),
    (StoreFullError, 507, "store-full", "No room is left"),
    (StoreUnavailableError, 503, "store-unavailable", "The block store does not answer"),
    (StorageError, 500, "storage-error", "The block store failed"),
)
"""First match counts: subclasses stand before their bases."""


def problem_of(error: Exception) -> Problem:
    """The problem details of an error; one that nobody foresaw tells nothing of its inside."""
    if isinstance(error, NodeError):
        return Problem(title=error.title, status=error.status, code=error.code, detail=error.detail)
    if isinstance(error, ContractRefused):
        code = re.sub(r"(?<!^)(?=[A-Z])", "-", error.error_name).lower()
        return Problem(title="The ledger's rules refuse this", status=409, code=code, detail=str(error))
    if isinstance(error, RequestValidationError):
        return Problem(
            title="The request is not as agreed",
            status=400,
            code="invalid-request",
            detail=faults(error.errors()),
        )
    if isinstance(error, HTTPException):
        words = {
            404: ("not-found", "no such route"),
            405: ("method-not-allowed", "this route has other methods"),
        }
        code, detail = words.get(error.status_code, ("http-error", str(error.detail)))
        return Problem(title="Not a route of this node", status=error.status_code, code=code, detail=detail)
    for kind, status, code, title in _BY_TYPE:
        if isinstance(error, kind):
            return Problem(title=title, status=status, code=code, detail=str(error))
    return Problem(
        title="The node failed",
        status=500,
        code="internal-error",
        detail="the node failed unexpectedly; its operator finds the cause in its log, under this request's id",
    )


class Unforeseen:
    """ASGI middleware: answers what nobody foresaw, and lets nothing of it out.

    An error that reaches the server is written to its log with its words and its traceback, and those may hold what no
    log may hold.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI 3 has it."""
        started = False

        async def send_noting_the_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_noting_the_start)
        except Exception as error:
            if scope["type"] != "http":
                raise
            answer = await _answer(Request(scope), error)
            # An answer that has begun cannot be taken back: the server ends the connection in its middle.
            if not started:
                await answer(scope, receive, send)


def add_error_handlers(app: FastAPI) -> None:
    """Makes every error of ``app`` an answer with problem details."""
    kinds: list[type[Exception]] = [NodeError, *(row[0] for row in _BY_TYPE)]
    for kind in kinds:
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(RequestValidationError, _answer)
    app.add_exception_handler(HTTPException, _answer)
    app.add_exception_handler(Exception, _answer)


async def answer_problem(scope: Scope, receive: Receive, send: Send, error: Exception) -> None:
    """Answers a request with problem details, outside of any route."""
    answer = await _answer(Request(scope), error)
    await answer(scope, receive, send)


async def _answer(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    request.state.problem_code = problem.code
    if problem.code == "internal-error":
        # The type and place only: the words of an unforeseen error may hold what no log may hold.
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        place = "" if frame is None else f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
        _log.error("unforeseen error", kind=type(error).__name__, place=place)
    headers = {"WWW-Authenticate": "Bearer, Signature"} if problem.status == 401 else {}
    if isinstance(error, NodeError) and error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    return Response(
        problem.model_dump_json(), status_code=problem.status, media_type=MEDIA_TYPE, headers=headers
    )
