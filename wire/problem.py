"""How a node says no: problem details (RFC 9457), with a stable code for programs."""

from wire.types import Message


class Problem(Message):
    """The body of every answer with a status of 400 or above (media type ``application/problem+json``)."""

    title: str
    """The kind of problem in a few words, the same for every occurrence."""
    status: int
    """The HTTP status."""
    code: str
    """A stable word for programs, such as ``stale-epoch``."""
    detail: str
    """What was expected, what came, and what the person can do."""
