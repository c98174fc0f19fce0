"""A member's staff at their own node: HTTP with the bearer token that lies in the node's directory."""

import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.failures import exit_code_of_status
from cli.texts import _
from wire.limits import READ_BYTES
from wire.problem import Problem
from wire.retrying import PATIENCE_SECONDS, Repeatable, SendAgain, is_busy, retry_after_seconds, send
from wire.staff import PATIENT_IDENTIFIER_HEADER, PatientIdentifierValue, encode_patient_identifier

Answer = TypeVar("Answer")
TOKEN_BYTES = 4096
PIECE_BYTES = 2**20


def read_token(path: Path) -> str:
    """The staff token in a private file.

    Raises:
        CommandError: there is none, or others could read it.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise CommandError(
                _("{path} can be read by others; make it private with chmod 600").format(path=path),
                ExitCode.LOCKED,
            )
        with path.open("rb") as file:
            return file.read(TOKEN_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(
            _("no staff token in {path}; `phr node staff` makes one").format(path=path),
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
    def of_member(cls, endpoint: str, directory: Path, token_file: Path | None = None) -> "StaffClient":
        """The client of a person with a token of their own, else of the node's administrator."""
        return cls(endpoint, read_token(token_file or directory / "staff-token"))

    def get(self, path: str, answer: type[Answer], about: PatientIdentifierValue | None = None) -> Answer:
        """The parsed answer to a GET; ``about`` is the patient that it is about."""
        return self._call("GET", path, answer, about)

    def post(
        self,
        path: str,
        answer: type[Answer],
        *,
        json: Any = None,
        content: bytes | None = None,
        about: PatientIdentifierValue | None = None,
    ) -> Answer:
        """The parsed answer to a POST of a JSON document or of bytes as they are."""
        if content is None:
            return self._call("POST", path, answer, about, json=json)
        return self._call("POST", path, answer, about, content=content)

    def put_file(
        self, path: str, file: BinaryIO, size_bytes: int, answer: type[Answer], sent: Callable[[int], None]
    ) -> Answer:
        """The parsed answer to a PUT of a file, a piece of it in memory at a time; ``sent`` hears how far it is."""

        def pieces() -> Iterator[bytes]:
            done_bytes = 0
            file.seek(0)
            while piece := file.read(PIECE_BYTES):
                yield piece
                done_bytes += len(piece)
                sent(done_bytes)

        return self._call(
            "PUT",
            path,
            answer,
            None,
            content=pieces,
            headers={"Content-Length": str(size_bytes), "Content-Type": "application/octet-stream"},
        )

    def download(
        self, path: str, size_bytes: int, file: BinaryIO, received: Callable[[int], None] = lambda _: None
    ) -> None:
        """Writes the body of a GET into ``file``, a piece of it in memory at a time.

        Raises:
            CommandError: it is not exactly ``size_bytes`` long, or the node refused; what was written is worthless.
        """
        done_bytes = 0
        try:
            with self._client.stream("GET", path, headers={"Accept-Encoding": "identity"}) as response:
                if response.status_code >= 400:
                    raise refusal(response.status_code, response.read())
                for piece in response.iter_raw(PIECE_BYTES):
                    done_bytes += len(piece)
                    if done_bytes > size_bytes:
                        break
                    file.write(piece)
                    received(done_bytes)
        except httpx.HTTPError as error:
            raise CommandError(
                _("the content broke off after {done} of {size} bytes ({error}); nothing was saved").format(
                    done=done_bytes, size=size_bytes, error=type(error).__name__
                ),
                ExitCode.UNREACHABLE,
            ) from error
        if done_bytes != size_bytes:
            raise CommandError(
                _("expected {size} bytes; the node sent others. Nothing was saved").format(size=size_bytes)
            )

    def _call(
        self,
        method: str,
        path: str,
        answer: type[Answer],
        about: PatientIdentifierValue | None,
        **sent: Any,
    ) -> Answer:
        headers = sent.pop("headers", {"Content-Type": "application/fhir+json"} if "content" in sent else {})
        if about is not None:
            headers[PATIENT_IDENTIFIER_HEADER] = encode_patient_identifier(about.system, about.value)
        body = send(
            lambda: self._attempt(method, path, headers, sent), PATIENCE_SECONDS, Repeatable.IF_UNHEARD
        )
        try:
            return TypeAdapter(answer).validate_json(body)
        except ValidationError as error:
            raise CommandError(
                _("the node's answer is not as agreed: {count} errors").format(count=error.error_count())
            ) from error

    def _attempt(self, method: str, path: str, headers: dict[str, str], sent: dict[str, Any]) -> bytes:
        """One exchange; a node that is busy is asked again when it says so."""
        if callable(content := sent.get("content")):
            sent = sent | {"content": content()}
        try:
            with self._client.stream(method, path, headers=headers, **sent) as response:
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
            refused = refusal(response.status_code, bytes(body))
            after_seconds = retry_after_seconds(response.headers)
            if is_busy(response.status_code, after_seconds):
                raise SendAgain(refused, heard=False, after_seconds=after_seconds)
            raise refused
        return bytes(body)


def refusal(status: int, body: bytes) -> CommandError:
    """What a node's refusal means for a person: its own words, and the exit code for its kind."""
    try:
        problem = Problem.model_validate_json(body)
        text = f"{problem.title}: {problem.detail}"
    except ValidationError:
        text = _("the node answered {status}").format(status=status)
    return CommandError(text, exit_code_of_status(status))
