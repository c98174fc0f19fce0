"""Background processes on this machine: started detached, known by pid and start time, ended by us alone.

A pid file holds the pid and when that process was started, so that a pid which the system has since given to
another program is never signalled.
"""

import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import orjson
import psutil

from crypto.private_file import atomic_write_private
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

    def process(self) -> psutil.Process | None:
        """The running process, or None when it is not running (any more)."""
        try:
            with self._pid_path.open("rb") as file:
                known = orjson.loads(file.read(_PID_FILE_BYTES))
            process = psutil.Process(int(known["pid"]))
            same = (
                abs(process.create_time() - float(known["started"])) < 1
                and process.status() != psutil.STATUS_ZOMBIE
            )
            return process if same else None
        except (OSError, ValueError, TypeError, KeyError, psutil.NoSuchProcess):
            return None

    def start(self, command: list[str], environment: Mapping[str, str] | None = None) -> psutil.Process:
        """Start it, unless it runs already, detached from this terminal.

        Args:
            command: the program and its arguments; never a secret.
            environment: the whole environment that it gets; None is this process's own.
        """
        running = self.process()
        if running is not None:
            return running
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
            )
        return self.remember(child.pid)

    def remember(self, pid: int) -> psutil.Process:
        """Take a process that runs as this one, so that whoever comes later finds and ends it."""
        process = psutil.Process(pid)
        known = {"pid": pid, "started": process.create_time()}
        atomic_write_private(self._pid_path, orjson.dumps(known))
        return process

    def stop(self) -> bool:
        """Ask it to end and wait; kill it when it does not. False when it did not run."""
        process = self.process()
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_SECONDS)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(STOP_TIMEOUT_SECONDS)
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
