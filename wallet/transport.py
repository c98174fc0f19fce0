"""One HTTP exchange with a node: signed, limited in size and time, its refusals turned into errors."""

import ssl
import time
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from wallet.errors import NodeAnswerInvalid, NodeRefused, NodeUnreachable
from wire.limits import JSON_BYTES
from wire.problem import Problem
from wire.retrying import PATIENCE_SECONDS, Repeatable, SendAgain, is_busy, retry_after_seconds, send
from wire.signing import RequestKey, sign_request

ANSWER_SECONDS = 30.0
"""How long a node may take for a whole answer."""
RELAY_SECONDS = 120.0
"""A relay answers once its transaction is final."""
VIEW_BYTES = 64 * 1024 * 1024
"""The largest view that is taken: a hundred thousand records or decisions."""

_Answer = TypeVar("_Answer", bound=BaseModel)


def new_http_client(tls: ssl.SSLContext | None = None) -> httpx.Client:
    """A client that follows no redirects, reads no environment and takes no compressed answers.

    Args:
        tls: whom to trust for ``https`` URLs; the public authorities when absent.
    """
    return httpx.Client(
        verify=True if tls is None else tls,
        timeout=httpx.Timeout(ANSWER_SECONDS, connect=5.0),
        follow_redirects=False,
        trust_env=False,
        headers={"Accept-Encoding": "identity"},
        # None is kept: a malformed one of one node would fail the calls to others of its domain.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
    )


class NodeTransport:
    """Sends requests to one node on behalf of whoever's key is given, and reads no more than was asked for."""

    def __init__(self, url: str, member: bytes, name: str, http: httpx.Client) -> None:
        self._url = url.rstrip("/")
        self._member, self._http = member, http
        self.name = name

    def get(
        self, answer: type[_Answer], path: str, key: RequestKey | None = None, limit_bytes: int = VIEW_BYTES
    ) -> _Answer:
        """A view, parsed."""
        return self._parsed(answer, self.exchange("GET", path, key, limit_bytes=limit_bytes))

    def post(
        self,
        answer: type[_Answer],
        path: str,
        message: BaseModel,
        key: RequestKey,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> _Answer:
        """The answer to a message, parsed."""
        body = message.model_dump_json().encode()
        raw = self.exchange("POST", path, key, body, "application/json", JSON_BYTES, answer_seconds)
        return self._parsed(answer, raw)

    def exchange(
        self,
        method: str,
        path: str,
        key: RequestKey | None,
        body: bytes = b"",
        media_type: str | None = None,
        limit_bytes: int = JSON_BYTES,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> bytes:
        """The body of a successful answer.

        Args:
            path: with its query, percent-encoded; relative to the node's URL, which itself has no path.
            limit_bytes: the most that is read; a longer answer is an error, however long.
            answer_seconds: for the whole exchange, so that an answer in drops ends too.

        A node that is busy (429) is asked again when it says so, for ``PATIENCE_SECONDS`` at most.

        Raises:
            NodeUnreachable: no connection, or no whole answer in time.
            NodeRefused: a status of 400 or above.
            NodeAnswerInvalid: a redirect, a compressed or a too long answer.
        """
        return send(
            lambda: self._attempt(method, path, key, body, media_type, limit_bytes, answer_seconds),
            min(answer_seconds, PATIENCE_SECONDS),
            Repeatable.IF_UNHEARD,
        )

    def _attempt(
        self,
        method: str,
        path: str,
        key: RequestKey | None,
        body: bytes,
        media_type: str | None,
        limit_bytes: int,
        answer_seconds: float,
    ) -> bytes:
        headers = {} if key is None else sign_request(method, path, body, self._member, key)
        if media_type is not None:
            headers["Content-Type"] = media_type
        until = time.monotonic() + answer_seconds
        timeout = httpx.Timeout(answer_seconds, connect=5.0)
        try:
            with self._http.stream(
                method, self._url + path, content=body or None, headers=headers, timeout=timeout
            ) as response:
                content = self._read(response, limit_bytes if response.is_success else JSON_BYTES, until)
        except httpx.HTTPError as error:
            raise NodeUnreachable(
                self.name, f"no answer to {method} {_route(path)}: {type(error).__name__}"
            ) from error
        if response.status_code >= 400:
            refusal = self._refusal(response.status_code, content)
            after_seconds = retry_after_seconds(response.headers)
            if is_busy(response.status_code, after_seconds):
                raise SendAgain(refusal, heard=False, after_seconds=after_seconds)
            raise refusal
        if not response.is_success:
            raise NodeAnswerInvalid(
                self.name, f"expected an answer; came a redirect (status {response.status_code})"
            )
        return content

    def _read(self, response: httpx.Response, limit_bytes: int, until: float) -> bytes:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise NodeAnswerInvalid(
                self.name, "expected an answer without Content-Encoding, as asked; came another"
            )
        parts, size_bytes = [], 0
        for part in response.iter_raw():
            size_bytes += len(part)
            if size_bytes > limit_bytes:
                raise NodeAnswerInvalid(self.name, f"expected at most {limit_bytes} bytes; more came")
            if time.monotonic() > until:
                raise NodeUnreachable(self.name, "the answer did not end in time")
            parts.append(part)
        return b"".join(parts)

    def _refusal(self, status: int, content: bytes) -> NodeRefused:
        try:
            problem = Problem.model_validate_json(content)
        except ValidationError:
            return NodeRefused(self.name, status, "no-problem-details", "refused without saying why")
        return NodeRefused(self.name, status, problem.code[:100], problem.detail[:1000])

    def _parsed(self, answer: type[_Answer], content: bytes) -> _Answer:
        try:
            return answer.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])[:100]
            raise NodeAnswerInvalid(
                self.name, f"expected a {answer.__name__}; the answer is none ({where}: {first['msg'][:200]})"
            ) from error


def _route(path: str) -> str:
    """The path without identifiers, for messages that may end in a log."""
    return "/" + "/".join(
        part for part in path.split("?")[0].split("/") if part and not part.startswith("0x")
    )
