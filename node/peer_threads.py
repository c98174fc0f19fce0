"""Threads for calls to one peer, with a bound on what waits for them: a slow peer holds up its own calls alone."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from node.errors import PeerFailed

CALLS_AT_ONCE = 4
DEPOSITS_AT_ONCE = 4
"""Deposits take long, and come as fast as others publish: they have threads of their own."""
MOST_WAITING = 64
PROBES_AT_ONCE = 16
"""Of all peers together, each of which is asked once at a time: whether a peer is well must not wait for its work."""
_Result = TypeVar("_Result")


class BoundedThreads:
    """A few threads, and at most so many calls that wait for one."""

    def __init__(self, threads: int, called: str, most_waiting: int = MOST_WAITING) -> None:
        """Threads are made when needed; ``called`` says in messages what they are for."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=called.replace(" ", "-"))
        self._most = threads + most_waiting
        self._called = called
        self._lock = threading.Lock()
        self._begun = 0

    @property
    def is_full(self) -> bool:
        """Whether the next call would be refused."""
        with self._lock:
            return self._begun >= self._most

    def submit(self, call: Callable[..., _Result], *arguments: Any) -> Future[_Result]:
        """Runs a call in one of the threads.

        Raises:
            PeerFailed: too many wait already.
        """
        with self._lock:
            if self._begun >= self._most:
                raise PeerFailed(
                    f"expected at most {self._most} {self._called} at once; the peer is too slow for more: "
                    "try again later, or use another member's node"
                )
            self._begun += 1
        try:
            future = self._pool.submit(call, *arguments)
        except BaseException:
            self._end()
            raise
        future.add_done_callback(self._end)
        return future

    def close(self, *, wait: bool) -> None:
        """Starts no new calls, and drops those that wait; ``wait`` for those that are under way."""
        self._pool.shutdown(wait=wait, cancel_futures=True)

    def _end(self, _: object = None) -> None:
        with self._lock:
            self._begun -= 1


class PeerThreads:
    """All threads that are kept for one peer."""

    def __init__(self, address: bytes) -> None:
        named = f"0x{address.hex()[:8]}"
        self.calls = BoundedThreads(CALLS_AT_ONCE, f"calls to {named}")
        self.deposits = BoundedThreads(DEPOSITS_AT_ONCE, f"deposits with {named}")

    def close(self, *, wait: bool) -> None:
        """As ``BoundedThreads.close``."""
        self.calls.close(wait=wait)
        self.deposits.close(wait=wait)
