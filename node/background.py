"""Threads behind the node: one follows the ledger, one does what is due from time to time. Both end when told."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from ledger.errors import ChainReplaced, EventUnknown, LedgerError, StateInconsistent
from ledger.follow import Follower
from node.database_errors import DatabaseFull, DatabaseUnavailable
from node.ledger_view import FinalBlock, LedgerView

POLL_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0
LONGEST_DATABASE_PAUSE_SECONDS = 2.0
JOIN_SECONDS = 15.0
READY_SECONDS = 0.5
RETRY_SECONDS = 5.0
_log = structlog.get_logger("node.background")


class Following:
    """Keeps the ledger view at the chain's final head; an unreachable chain or database is waited for, a replaced chain
    is fatal."""

    def __init__(
        self,
        follower: Follower,
        ledger: LedgerView,
        on_fatal: Callable[[Exception], None],
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """Follows once started.

        Args:
            on_fatal: told, once and from the thread, why the node cannot go on: its history is not the chain's.
        """
        self._follower = follower
        self._ledger = ledger
        self._on_fatal = on_fatal
        self._poll_seconds = poll_seconds
        self._ending = False
        self._wake = threading.Event()
        self._problem: str | None = "the ledger was not read yet"
        self._thread = threading.Thread(target=self._run, name="follow-ledger", daemon=True)

    def start(self) -> None:
        """Begins to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and waits for it."""
        self._ending = True
        self._wake.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(JOIN_SECONDS)

    def wake(self) -> None:
        """Looks at the chain now instead of at the next turn."""
        self._wake.set()

    def problem(self) -> str | None:
        """What keeps it from following, in words; None when it follows."""
        return self._problem

    def _run(self) -> None:
        pause = self._poll_seconds
        while not self._ending:
            self._wake.clear()
            try:
                self._advance()
                pause = self._poll_seconds
            except (ChainReplaced, EventUnknown, StateInconsistent) as error:
                self._fail(error)
                return
            except LedgerError as error:
                self._problem = f"the chain cannot be read: {error}"
                _log.warning("the chain cannot be read", kind=type(error).__name__)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            except (DatabaseUnavailable, DatabaseFull) as error:
                self._problem = f"what the ledger says cannot be kept: {error.detail}"
                _log.warning("the database cannot be used", kind=type(error).__name__)
                pause = min(pause * 2, LONGEST_DATABASE_PAUSE_SECONDS)
            except Exception as error:  # noqa: BLE001 - a thread that died unseen would serve stale state for ever
                self._fail(error)
                return
            self._wake.wait(pause)

    def _advance(self) -> None:
        self._follower.advance()
        view = self._follower.view
        at = view.checkpoint
        final = FinalBlock(at.block_number, at.block_hash, at.block_time)
        self._ledger.publish(view.state, final, view.advanced_at_seconds)
        self._problem = None

    def _fail(self, error: Exception) -> None:
        self._problem = f"the node cannot go on: {error}"
        _log.critical("the node cannot go on", kind=type(error).__name__, detail=str(error))
        self._on_fatal(error)


@dataclass
class _Task:
    name: str
    every_seconds: float
    action: Callable[[], object]
    due_at: float = 0.0
    problem: str | None = field(default=None)


class Housekeeping:
    """Does each of its tasks again and again, one at a time; one that fails is tried again soon."""

    def __init__(self, ready: Callable[[float], bool]) -> None:
        """Begins once ``ready`` says so, which may wait for as many seconds as it is given."""
        self._ready = ready
        self._tasks: list[_Task] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def every(self, seconds: float, name: str, action: Callable[[], object]) -> None:
        """Adds a task, before the start; it is first done at once."""
        self._tasks.append(_Task(name, seconds, action))

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the task at hand."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_SECONDS)

    def problems(self) -> tuple[str, ...]:
        """The tasks that failed at their last turn, in words."""
        return tuple(task.problem for task in self._tasks if task.problem is not None)

    def _run(self) -> None:
        while not self._ready(READY_SECONDS) and not self._end.is_set():
            continue
        while not self._end.is_set():
            for task in self._tasks:
                if time.monotonic() >= task.due_at and not self._end.is_set():
                    self._do(task)
            nearest = min((task.due_at for task in self._tasks), default=time.monotonic() + 1.0)
            self._end.wait(max(nearest - time.monotonic(), 0.05))

    @staticmethod
    def _do(task: _Task) -> None:
        pause = task.every_seconds
        try:
            task.action()
            task.problem = None
        except (DatabaseUnavailable, DatabaseFull) as error:
            # All tasks meet it at once: readiness tells it in the same words, once.
            task.problem = error.detail
            pause = min(pause, RETRY_SECONDS)
            _log.warning("a task failed", task=task.name, kind=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - one failing task must not end the others; readiness tells of it
            task.problem = f"{task.name} fails: {type(error).__name__}"
            pause = min(pause, RETRY_SECONDS)
            _log.error("a task failed", task=task.name, kind=type(error).__name__)
        task.due_at = time.monotonic() + pause
