"""Where the time of one job goes: seconds by named step, for the answers of a node to its own staff."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up the seconds of named steps; not shared between threads."""

    def __init__(self) -> None:
        self.seconds_by_step: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times what runs inside under ``name``."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.seconds_by_step[name] = round(self.seconds_by_step.get(name, 0.0) + spent, 6)


NewStopwatch = Callable[[], Stopwatch]
"""Makes the stopwatch of one job."""
