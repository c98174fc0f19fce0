"""A member's staff at their own node: HTTP with the bearer token that lies in the node's directory."""

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.texts import _
from wire.limits import READ_BYTES
from wire.problem import Problem

Answer = TypeVar("Answer")
_EXIT_CODES = {
    400: ExitCode.BAD_INPUT,
    404: ExitCode.NOT_FOUND,
    413: ExitCode.BAD_INPUT,
    422: ExitCode.BAD_INPUT,
}


def read_token(directory: Path) -> str:
    """The staff token in a member's directory.

    Raises:
        CommandError: there is none, or others could read it.
    """
    path = directory / "staff-token"
    try:
        mode = path.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise CommandError(
                _("{path} can be read by others; make it private with chmod 600").format(path=path),
                ExitCode.LOCKED,
            )
        return path.read_text().strip()
    except OSError as error:
        raise CommandError(
            _("no staff token at {path}: {error}; `phr node init` makes one").format(path=path, error=error),
            ExitCode.NOT_FOUND,
        ) from error


class StaffClient:
    """Calls to one's own node. Answers are parsed into the messages of ``wire``."""

    def __init__(self, endpoint: str, token: str, *, timeout_seconds: float = 300.0) -> None:
        self._endpoint = endpoint
        self._client = httpx.Client(
            base_url=endpoint,
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout_seconds,
            trust_env=False,
        )

    @classmethod
    def of_member(cls, endpoint: str, directory: Path) -> "StaffClient":
        """The client of a member whose directory is on this machine."""
        return cls(endpoint, read_token(directory))

    def get(self, path: str, answer: type[Answer], parameters: Mapping[str, Any] | None = None) -> Answer:
        """The parsed answer to a GET."""
        return self._call("GET", path, answer, params=dict(parameters or {}))

    def post(
        self,
        path: str,
        answer: type[Answer],
        *,
        json: Any = None,
        content: bytes | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Answer:
        """The parsed answer to a POST of a JSON document or of bytes as they are."""
        if content is None:
            return self._call("POST", path, answer, json=json, params=dict(parameters or {}))
        headers = {"Content-Type": "application/fhir+json"}
        return self._call(
            "POST", path, answer, content=content, headers=headers, params=dict(parameters or {})
        )

    def _call(self, method: str, path: str, answer: type[Answer], **arguments: Any) -> Answer:
        try:
            with self._client.stream(method, path, **arguments) as response:
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > READ_BYTES:
                        raise CommandError(_("the node's answer is larger than allowed"), ExitCode.FAILED)
        except httpx.HTTPError as error:
            raise CommandError(
                _(
                    "the node at {endpoint} does not answer ({error}); is it running? See `phr network status`"
                ).format(endpoint=self._endpoint, error=type(error).__name__),
                ExitCode.UNREACHABLE,
            ) from error
        if response.status_code >= 400:
            raise refusal(response.status_code, bytes(body))
        try:
            return TypeAdapter(answer).validate_json(bytes(body))
        except ValidationError as error:
            raise CommandError(
                _("the node's answer is not as agreed: {count} errors").format(count=error.error_count())
            ) from error


def refusal(status: int, body: bytes) -> CommandError:
    """What a node's refusal means for a person: its own words, and the exit code for its kind."""
    try:
        problem = Problem.model_validate_json(body)
        text = f"{problem.title}: {problem.detail}"
    except ValidationError:
        text = _("the node answered {status}").format(status=status)
    if status >= 500:
        return CommandError(text, ExitCode.UNREACHABLE if status == 503 else ExitCode.FAILED)
    return CommandError(text, _EXIT_CODES.get(status, ExitCode.REFUSED))
