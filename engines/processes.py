"""Background processes on this machine: started detached, known by pid and start, ended by us alone.

A process file holds the pid and when that process was started, so that a pid which the system has since given to
another program is never signalled. The process writes it before it becomes the program (``engines.becoming``), and
whoever starts or stops one holds its lock: of several at once one starts it, and none is lost.
"""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import orjson
import psutil

from engines import becoming
from engines.errors import EngineFailed

STOP_TIMEOUT_SECONDS = 30.0
POLL_SECONDS = 0.1
_PID_FILE_BYTES = 1024
_LAST_WORDS_BYTES = 4096


@dataclass(frozen=True)
class Background:
    """A process by the directory that it works in: ``<directory>/<name>.pid`` and ``<name>.log``."""

    directory: Path
    name: str

    @property
    def log_path(self) -> Path:
        """What the process printed, appended over restarts."""
        return self.directory / f"{self.name}.log"

    @property
    def _pid_path(self) -> Path:
        return self.directory / f"{self.name}.pid"

    @property
    def _lock_path(self) -> Path:
        return self.directory / f"{self.name}.lock"

    def process(self) -> psutil.Process | None:
        """The running process, or None when it is not running (any more)."""
        try:
            with self._pid_path.open("rb") as file:
                known = orjson.loads(file.read(_PID_FILE_BYTES))
            process = psutil.Process(int(known["pid"]))
            same = becoming.identity(process.pid) == known and process.status() != psutil.STATUS_ZOMBIE
            return process if same else None
        except (OSError, ValueError, TypeError, KeyError, psutil.NoSuchProcess):
            return None

    def start(self, command: list[str], environment: Mapping[str, str] | None = None) -> psutil.Process:
        """Start it, unless it runs already, detached from this terminal.

        Args:
            command: the program and its arguments; never a secret.
            environment: the whole environment that it gets; None is this process's own.

        Raises:
            EngineFailed: the program cannot be executed.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with exclusive(self._lock_path) as lock:
            running = self.process()
            return running if running is not None else self._start(command, environment, lock)

    def _start(self, command: list[str], environment: Mapping[str, str] | None, lock: int) -> psutil.Process:
        report, written = os.pipe()
        try:
            note = [
                sys.executable,
                "-I",
                "-S",
                becoming.__file__,
                str(self._pid_path),
                str(lock),
                str(written),
            ]
            with open(self.log_path, "ab", opener=_private) as log:
                os.fchmod(log.fileno(), 0o600)
                child = subprocess.Popen(
                    [*note, *command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=environment,
                    pass_fds=(lock, written),
                )
        finally:
            os.close(written)
        # Nothing more comes once it has become the command.
        with open(report, "rb") as reports:
            failure = reports.read(_LAST_WORDS_BYTES).decode(errors="replace")
        if failure:
            child.wait()
            raise EngineFailed(f"{self.name} cannot be started: {failure}")
        return psutil.Process(child.pid)

    def remember(self, pid: int) -> psutil.Process:
        """Take a process that runs as this one, so that whoever comes later finds and ends it."""
        with exclusive(self._lock_path):
            becoming.note(self._pid_path, pid)
        return psutil.Process(pid)

    def stop(self) -> bool:
        """Ask it to end and wait; kill it when it does not. False when it did not run.

        Raises:
            EngineFailed: it does not end, or is another user's.
        """
        # One that was started a moment ago holds the lock until it has noted who it is.
        if not self._lock_path.exists() and not self._pid_path.exists():
            return False
        with exclusive(self._lock_path):
            process = self.process()
            if process is not None:
                try:
                    _end(process)
                except psutil.Error as error:
                    raise EngineFailed(
                        f"{self.name} (process {process.pid}) cannot be ended: {error}"
                    ) from error
            self._pid_path.unlink(missing_ok=True)
        return process is not None

    def last_words(self) -> str:
        """The end of its log, for an error message."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, self.log_path.stat().st_size - _LAST_WORDS_BYTES))
                lines = log.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return "it left no log"
        return lines[-1][-500:] if lines else "it left no log"


@contextmanager
def exclusive(path: Path, *, wait: bool = True) -> Iterator[int]:
    """Holds the lock of a file, which is made where there is none; yields its descriptor.

    Raises:
        BlockingIOError: somebody else holds it, and ``wait`` is False.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield descriptor
    finally:
        os.close(descriptor)


def _private(path: str, flags: int) -> int:
    """Opens a file that only its user may read."""
    return os.open(path, flags, 0o600)


def _end(process: psutil.Process) -> None:
    # It may end by itself at any of these lines.
    with suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(STOP_TIMEOUT_SECONDS)


class Watched(Protocol):
    """A process that can be waited for: a ``Background``, or an engine that keeps its own process file."""

    @property
    def log_path(self) -> Path:
        """What it says."""

    def process(self) -> psutil.Process | None:
        """The running process, or None."""

    def last_words(self) -> str:
        """The end of its log."""


def wait_for(watched: Watched, ready: Callable[[], bool], timeout_seconds: float, called: str = "") -> None:
    """Wait until a process answers.

    Args:
        called: how people know it, where its files have another name.

    Raises:
        EngineFailed: it ended, or did not answer in time; with its last words and the path of its log.
    """
    deadline = time.monotonic() + timeout_seconds
    name, path = called or watched.log_path.stem, watched.log_path
    while not ready():
        if watched.process() is None:
            raise EngineFailed(f"{name} did not start: {watched.last_words()} (whole log: {path})")
        if time.monotonic() > deadline:
            raise EngineFailed(
                f"{name} does not answer after {timeout_seconds:.0f} s: {watched.last_words()} (whole log: {path})"
            )
        time.sleep(POLL_SECONDS)
