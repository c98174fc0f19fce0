"""Circuit breakers: a peer that keeps failing is left alone for a while, so that it cannot hold up work for others.

closed (calls go through) → open (calls fail at once) → half-open (one call tries) → closed, or open for longer.
Source of the pattern: M. Nygard, Release It!, "Circuit Breaker". Why it is not a library's: ADR 0104.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

FAILURES = 2
"""How many failures in a row open a breaker."""
OPEN_SECONDS = 5.0
LONGEST_OPEN_SECONDS = 60.0


class BreakerState(StrEnum):
    """How a peer is called."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class BreakerOpen(Exception):
    """No call is made now; ``seconds`` tells when one may be."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"not called again for {seconds:.0f} seconds")
        self.seconds = seconds


class Failed(Exception):
    """Raised inside ``CircuitBreaker.call`` to count ``error`` as a failure of the peer; the caller gets ``error``."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class CircuitBreaker:
    """The breaker of one peer; of any number of threads."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until: float | None = None
        self._trying = False
        self._probe_failed = False

    @property
    def state(self) -> BreakerState:
        """How the peer is called now."""
        with self._lock:
            if self._open_until is None:
                return BreakerState.CLOSED
            return BreakerState.OPEN if self._monotonic() < self._open_until else BreakerState.HALF_OPEN

    @contextmanager
    def call(self, *, even_if_open: bool = False) -> Iterator[None]:
        """One call to the peer runs inside: ``Failed`` counts as its failure, all else as a sign of life.

        Args:
            even_if_open: whether to try although the breaker is open, for a caller that can do without no one; still
                one such call at a time.

        Raises:
            BreakerOpen: the peer is not called now.
            Exception: the ``error`` of the ``Failed`` that was raised inside.
        """
        trial = self._admit(even_if_open)
        try:
            yield
        except Failed as failed:
            self._note_failure(trial)
            raise failed.error from failed.error.__cause__
        except BaseException:
            self._note_success()
            raise
        self._note_success()

    def note_probe(self, *, answered: bool) -> None:
        """The peer was asked how it is, whatever this breaker says.

        One that was silent and answers again is called again at once. One that answers well while calls to it fail is
        not: its word closes no breaker that its deeds opened.
        """
        with self._lock:
            if not answered:
                self._probe_failed = True
                self._count_failure()
            elif self._probe_failed:
                self._failures, self._open_until, self._probe_failed = 0, None, False

    def _admit(self, even_if_open: bool) -> bool:
        """Whether this call is the one that tries while others may not."""
        with self._lock:
            if self._open_until is None:
                return False
            left_seconds = self._open_until - self._monotonic()
            if self._trying or (left_seconds > 0 and not even_if_open):
                raise BreakerOpen(max(left_seconds, 1.0))
            self._trying = True
            return True

    def _note_success(self) -> None:
        with self._lock:
            self._failures, self._open_until, self._trying, self._probe_failed = 0, None, False, False

    def _note_failure(self, trial: bool) -> None:
        with self._lock:
            if self._open_until is not None and not trial:
                return  # It began before the breaker opened: the same trouble once more, not a further one.
            self._trying = False
            self._count_failure()

    def _count_failure(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES:
            window = OPEN_SECONDS * 2 ** min(self._failures - FAILURES, 16)
            # Jitter, so that members who saw a peer fail together do not all come back together.
            seconds = min(window, LONGEST_OPEN_SECONDS) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
            self._open_until = self._monotonic() + seconds
