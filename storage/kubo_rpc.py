"""Calls to a Kubo daemon's RPC: bounded in bytes, in time and in attempts, its errors told as the store's.

Kubo answers every error with status 500 and tells it in a message only; what it streams it may cut short with status
200 (the error is in a trailer), so that callers check that an answer is whole. Source: Kubo 0.43, ``docs/http-rpc``.
"""

import secrets
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import orjson

from storage.deadlines import DeadlineTransport, within
from storage.errors import (
    BlockNotFoundError,
    BlockPinnedError,
    StorageError,
    StoreAccessError,
    StoreAnswerError,
    StoreFullError,
    StoreUnavailableError,
)

CONNECTIONS = 16
CALL_SECONDS = 30.0
"""How long one call may take in all, its attempts included."""
LIST_SECONDS = 120.0
SMALL_ANSWER_BYTES = 256 * 1024
LIST_ANSWER_BYTES = 512 * 1024 * 1024
"""A list of all pins has about 110 bytes a block: this is four million of them."""
_PAUSES_SECONDS = (0.05, 0.3)
"""Between the attempts at a daemon that cannot be reached or hangs up, each with as much again at random."""
_NO_ROOM = ("no space left on device", "disk quota exceeded", "file too large")
_WORDS = 500


class NotPinnedError(StorageError):
    """The CID is not pinned, or not in the way that was asked for."""


class AnswerTooLongError(StoreAnswerError):
    """The answer goes on beyond what it can have; no more of it was read."""


class KuboRpc:
    """The RPC of one daemon; all its calls are idempotent. Safe between threads; ``close`` ends its connections."""

    def __init__(self, url: str, secret: str, *, call_seconds: float = CALL_SECONDS) -> None:
        """Nothing is sent yet.

        Args:
            url: where the RPC answers, for example ``http://127.0.0.1:5001``.
            secret: the bearer token, as ``API.Authorizations`` of the daemon has it.
            call_seconds: how long any call but lists may take.
        """
        self.url = url.rstrip("/")
        self._call_seconds = call_seconds
        self._client = httpx.Client(
            base_url=f"{self.url}/api/v0/",
            headers={"Authorization": f"Bearer {secret}", "Accept-Encoding": "identity"},
            timeout=call_seconds,
            transport=DeadlineTransport(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        )

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def call(
        self,
        command: str,
        arguments: Mapping[str, str | Sequence[str]],
        doing: str,
        *,
        files: Sequence[bytes] = (),
        limit_bytes: int = SMALL_ANSWER_BYTES,
        seconds: float | None = None,
    ) -> bytes:
        """The body of a command's answer.

        Args:
            command: for example ``block/get``.
            doing: what this is for, in words that follow "while": "reading block bafk...".
            files: what is sent along, each as one file.
            limit_bytes: the longest answer that is read.
            seconds: the longest time in all; None is the time limit of a call.

        Raises:
            StoreUnavailableError: it cannot be reached, hangs up, or does not answer in time.
            StoreAccessError: it refuses the secret.
            AnswerTooLongError: the answer is longer than ``limit_bytes``.
            StoreAnswerError: it is no answer of Kubo's RPC.
            BlockNotFoundError, BlockPinnedError, NotPinnedError, StoreFullError: what it says of the block.
            StorageError: another error; the message has Kubo's words.
        """
        seconds = self._call_seconds if seconds is None else seconds
        # Kubo's own limit comes a little earlier, so that it stops working on what nobody waits for.
        parameters = {**arguments, "timeout": f"{max(seconds * 0.9, 0.1):.1f}s"}
        parts = [
            ("file", (str(number), content, "application/octet-stream"))
            for number, content in enumerate(files)
        ]
        with within(seconds):
            for pause_seconds in (*_PAUSES_SECONDS, None):
                try:
                    return self._once(command, parameters, parts, doing, limit_bytes)
                except httpx.TimeoutException:
                    raise StoreUnavailableError(
                        f"expected {self} to answer within {seconds:g} s while {doing}; it did not: see its log and "
                        f"the load of its disk, then try again"
                    ) from None
                except httpx.TransportError as error:
                    if pause_seconds is None:
                        raise StoreUnavailableError(
                            f"expected {self} to answer while {doing}; came: {error}: start the daemon, or correct "
                            f"the URL, then try again"
                        ) from error
                    # Jitter, so that all threads of a node do not come back at the same moment.
                    jitter_seconds = secrets.randbelow(1000) / 1000 * pause_seconds
                    threading.Event().wait(pause_seconds + jitter_seconds)
        raise AssertionError("every attempt returned or raised")

    def write(self, blocks: Sequence[bytes], doing: str) -> list[str]:
        """Writes blocks, unpinned, and returns the keys that the daemon says it gave them.

        Fewer keys than blocks: it came to an error in the middle, which it tells only to who asks for the rest.

        Raises:
            StoreAnswerError: the answer is another; otherwise as ``call``.
        """
        arguments = {"cid-codec": "raw", "mhtype": "sha2-256", "pin": "false"}
        answer = self.call("block/put", arguments, doing, files=blocks)
        documents = [self.parse(line, doing) for line in answer.splitlines()]
        keys = [each.get("Key") if isinstance(each, dict) else None for each in documents]
        if not keys or len(keys) > len(blocks) or not all(isinstance(key, str) for key in keys):
            raise self.strange(f"{answer[:100]!r}", doing)
        return [str(key) for key in keys]

    def json(self, command: str, arguments: Mapping[str, str | Sequence[str]], doing: str, **how: Any) -> Any:
        """As ``call``, for one JSON document.

        Raises:
            StoreAnswerError: it is none; otherwise as ``call``.
        """
        return self.parse(self.call(command, arguments, doing, **how), doing)

    def parse(self, document: bytes, doing: str) -> Any:
        """One JSON document of an answer.

        Raises:
            StoreAnswerError: it is none.
        """
        try:
            return orjson.loads(document)
        except orjson.JSONDecodeError:
            raise self.strange(f"{document[:100]!r}", doing) from None

    def strange(self, came: str, doing: str) -> StoreAnswerError:
        """The error of an answer that Kubo would not give."""
        return StoreAnswerError(
            f"expected an answer of Kubo's RPC from {self} while {doing}; came {came}: "
            f"check the URL, and do not trust what answers there"
        )

    def __str__(self) -> str:
        return f"Kubo at {self.url}"

    def _once(
        self,
        command: str,
        parameters: Mapping[str, str | Sequence[str]],
        parts: list[tuple[str, tuple[str, bytes, str]]],
        doing: str,
        limit_bytes: int,
    ) -> bytes:
        request = self._client.build_request("POST", command, params=dict(parameters), files=parts or None)
        answer = self._client.send(request, stream=True)
        try:
            if answer.status_code == httpx.codes.OK:
                return self._read(answer, limit_bytes, doing)
            words = self._read(answer, SMALL_ANSWER_BYTES, doing)
        finally:
            answer.close()
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise StoreAccessError(
                f"expected {self} to accept the RPC secret while {doing}; it refused: give the secret of its "
                f"API.Authorizations, and let it open /api/v0/{command}"
            )
        if answer.status_code != httpx.codes.INTERNAL_SERVER_ERROR:
            raise self.strange(f"status {answer.status_code}", doing)
        raise self.told(str(_message(words)), doing)

    def _read(self, answer: httpx.Response, limit_bytes: int, doing: str) -> bytes:
        parts: list[bytes] = []
        read_bytes = 0
        for part in answer.iter_raw():
            read_bytes += len(part)
            if read_bytes > limit_bytes:
                raise AnswerTooLongError(
                    f"expected at most {limit_bytes} bytes from {self} while {doing}; came more: do not trust it"
                )
            parts.append(part)
        return b"".join(parts)

    def told(self, message: str, doing: str) -> StorageError:
        """The error that one of Kubo's messages means."""
        words = message[:_WORDS]
        lower = message.lower()
        if any(sign in lower for sign in _NO_ROOM):
            # goleveldb, which keeps the pins, takes no write after a failed one until it is opened anew.
            then = "restart the daemon" if "/datastore/" in lower else "try again"
            return StoreFullError(
                f"no room left in {self} while {doing} ({words}): nothing was kept; free space on its disk, "
                f"then {then}"
            )
        if "could not find" in lower or "block was not found" in lower or "not found locally" in lower:
            return BlockNotFoundError(f"no such block in {self} while {doing}: fetch it from another node")
        if "not pinned" in lower:
            return NotPinnedError(f"{self} has no such pin ({words}) while {doing}")
        if lower.startswith("pinned:") or "pinned via" in lower:
            return BlockPinnedError(f"{self} keeps a pin ({words}) while {doing}: unpin it first")
        if "context deadline exceeded" in lower or "context canceled" in lower:
            return StoreUnavailableError(
                f"{self} gave up for want of time while {doing}: see its log and the load of its disk, then try again"
            )
        return StorageError(f"{self} failed while {doing}: {words}")


def _message(words: bytes) -> object:
    try:
        return orjson.loads(words)["Message"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return words[:_WORDS].decode(errors="replace")
