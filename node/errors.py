"""What a node refuses or fails at: each error has a stable code for programs and an HTTP status."""

from typing import ClassVar


class NodeError(Exception):
    """Root of every error that this package raises.

    Attributes:
        detail: what was expected, what came, and what the person can do. It is shown to the caller.
        code: a stable word for programs, such as ``stale-head``.
        status: the HTTP status of the answer.
        title: the kind of problem in a few words, the same for every occurrence.
        retry_after_seconds: when the same may be asked again; None where nobody knows.
    """

    default_code: ClassVar[str] = "internal-error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "The node failed"
    retry_after_seconds: int | None = None

    def __init__(
        self, detail: str, *, code: str | None = None, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        if retry_after_seconds is not None:
            self.retry_after_seconds = retry_after_seconds


class InvalidRequest(NodeError):
    """The request itself is not as agreed."""

    default_code, status, title = "invalid-request", 400, "The request is not as agreed"


class Unauthenticated(NodeError):
    """Nobody, or nobody provable, sent this."""

    default_code, status, title = "unauthenticated", 401, "The caller is not proven"


class NotAllowed(NodeError):
    """The caller is known, and may not do this."""

    default_code, status, title = "not-allowed", 403, "Not allowed"


class NotFound(NodeError):
    """There is nothing of that name here."""

    default_code, status, title = "not-found", 404, "Not found"


class Conflict(NodeError):
    """The request contradicts what is already so."""

    default_code, status, title = "conflict", 409, "In conflict with what is already so"


class TooLarge(NodeError):
    """The body is beyond its limit; it was not read to its end."""

    default_code, status, title = "too-large", 413, "Too large"


class Unprocessable(NodeError):
    """The content was read, and cannot be accepted."""

    default_code, status, title = "unprocessable", 422, "The content cannot be accepted"


class TooMany(NodeError):
    """A bound on waiting things is reached; later there is room again."""

    default_code, status, title = "too-many", 429, "Too many"
    retry_after_seconds = 60


class UpstreamFailed(NodeError):
    """Another member's node, or the chain, answered wrongly."""

    default_code, status, title = "upstream-failed", 502, "Another system answered wrongly"


class PeerFailed(UpstreamFailed):
    """A member's node did not answer, or not as agreed; the message names it."""

    default_code, title = "peer-failed", "Another member's node failed"


class PeerRefused(UpstreamFailed):
    """A member's node said no; ``refusal`` is its code."""

    default_code, title = "peer-refused", "Another member's node refused"

    def __init__(self, detail: str, refusal: str) -> None:
        super().__init__(detail)
        self.refusal = refusal


class Unavailable(NodeError):
    """Not now: the node is not ready, or something that it needs is not."""

    default_code, status, title = "unavailable", 503, "Not available now"


class NotInTime(NodeError):
    """The ledger did not take it in time; it may still do so."""

    default_code, status, title = "not-in-time", 504, "Not in time"


class ConfigurationError(NodeError):
    """The node's directory or its configuration cannot be used; it does not start."""

    default_code, title = "configuration", "The configuration cannot be used"
