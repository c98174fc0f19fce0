"""Failures that nobody foresaw, met over what another member or one record brought: they end that alone.

To go on hides no fault: each is logged as an error with its place, and counted, so that somebody mends it.
"""

import threading
import traceback
from collections import Counter

import structlog

FRAMES = 30
"""How many of the innermost calls are logged: a recursion has thousands."""
_log = structlog.get_logger("node.unforeseen")


class UnforeseenFailures:
    """Logs and counts them; of any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def note(self, place: str, error: BaseException, **whom: str) -> None:
        """Writes one down; its words are left out, which may hold what no log may hold.

        Args:
            place: which of the node's tasks met it.
            whom: whose answer or record brought it, for the log.
        """
        with self._lock:
            self._counts[place] += 1
        frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
        lines = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
        _log.error("unforeseen failure", place=place, kind=type(error).__name__, traceback=lines, **whom)

    def by_place(self) -> dict[str, int]:
        """How many there were since the start, by place."""
        with self._lock:
            return dict(self._counts)
