"""When a request is sent again: exponential back-off with full jitter, within one total time, as the other side asks.

Only what may be repeated is: see ``Repeatable``. A repeated request is signed anew, since its nonce was heard.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TypeVar

import tenacity

ATTEMPTS = 4
FIRST_WINDOW_SECONDS = 0.1
LONGEST_WINDOW_SECONDS = 5.0
LONGEST_RETRY_AFTER_SECONDS = 60.0
"""A longer wish is not waited for: the caller says so at once."""
PATIENCE_SECONDS = 45.0
"""How long a person's program waits, in all, for a node that is busy: more than a busy node asks for at once."""

Answer = TypeVar("Answer")


class Repeatable(Enum):
    """How a failed request may be sent again."""

    ALWAYS = "always"
    """It has the same effect twice as once (RFC 9110 section 9.2.2), whatever became of it."""
    IF_UNHEARD = "if-unheard"
    """Only when it surely was not acted upon: no connection, or refused for want of room (429, 503)."""


class SendAgain(Exception):
    """One attempt failed in a way that another may not.

    Attributes:
        error: what is raised when no further attempt is made.
        heard: whether the other side may have acted upon it.
        after_seconds: how long the other side asked to wait (Retry-After), or None.
    """

    def __init__(self, error: Exception, *, heard: bool, after_seconds: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.heard = heard
        self.after_seconds = after_seconds


def retry_after_seconds(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """What an answer's Retry-After asks for (RFC 9110 section 10.2.3), in seconds; None when there is none.

    A value that is no number and no date counts as none; a date in the past as 0.
    """
    value = headers.get("retry-after", "").strip()[:64]
    if value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = moment.timestamp() - (datetime.now(UTC).timestamp() if now is None else now)
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, seconds)


def is_busy(status: int, after_seconds: float | None) -> bool:
    """Whether an answer of this status, with this Retry-After, says that nothing was done for want of room.

    RFC 6585 section 4; RFC 9110 section 15.6.4.
    """
    return status == 429 or (status == 503 and after_seconds is not None)


def send(
    attempt: Callable[[], Answer],
    total_seconds: float,
    repeatable: Repeatable,
    *,
    most: int = ATTEMPTS,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Answer:
    """Calls ``attempt`` until it answers; it raises ``SendAgain`` for what may be sent again, signed anew.

    Waits a random part of a window that doubles ("full jitter"), after what Retry-After asks for; gives up after
    ``most`` attempts, and where a wait would not end within ``total_seconds`` of the start.

    Raises:
        Exception: the ``error`` of the last ``SendAgain``, or whatever else ``attempt`` raised.
    """
    started = monotonic()
    jitter = tenacity.wait_random_exponential(multiplier=FIRST_WINDOW_SECONDS, max=LONGEST_WINDOW_SECONDS)

    def may_repeat(state: tenacity.RetryCallState) -> bool:
        failure = _failure(state)
        return failure is not None and (repeatable is Repeatable.ALWAYS or not failure.heard)

    def wait_seconds(state: tenacity.RetryCallState) -> float:
        return _asked_seconds(state) + jitter(state)

    def is_over(state: tenacity.RetryCallState) -> bool:
        left_seconds = total_seconds - (monotonic() - started)
        too_long = _asked_seconds(state) > LONGEST_RETRY_AFTER_SECONDS or state.upcoming_sleep >= left_seconds
        return state.attempt_number >= most or too_long

    retrying = tenacity.Retrying(retry=may_repeat, wait=wait_seconds, stop=is_over, reraise=True, sleep=sleep)
    try:
        return retrying(attempt)
    except SendAgain as failure:
        raise failure.error from failure.error.__cause__


def _failure(state: tenacity.RetryCallState) -> SendAgain | None:
    error = None if state.outcome is None else state.outcome.exception()
    return error if isinstance(error, SendAgain) else None


def _asked_seconds(state: tenacity.RetryCallState) -> float:
    failure = _failure(state)
    return 0.0 if failure is None or failure.after_seconds is None else failure.after_seconds
