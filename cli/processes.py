"""Background processes of a network on this machine: started detached, known by pid and start time, ended by us alone.

A pid file holds the pid and when that process was started, so that a pid which the system has since given to
another program is never signalled.
"""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.json_files import json_bytes, read_json
from cli.texts import _
from crypto.private_file import atomic_write_private

STOP_TIMEOUT_SECONDS = 30.0


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
            known = read_json(self._pid_path)
            process = psutil.Process(int(known["pid"]))
            same = (
                abs(process.create_time() - float(known["started"])) < 1
                and process.status() != psutil.STATUS_ZOMBIE
            )
            return process if same else None
        except (OSError, ValueError, TypeError, KeyError, psutil.NoSuchProcess):
            return None

    def start(self, command: list[str]) -> psutil.Process:
        """Start it, unless it runs already, detached from this terminal."""
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
            )
        return self.remember(child.pid)

    def remember(self, pid: int) -> psutil.Process:
        """Take a process that runs as this one, so that whoever comes later finds and ends it."""
        process = psutil.Process(pid)
        known = {"pid": pid, "started": process.create_time()}
        atomic_write_private(self._pid_path, json_bytes(known))
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
            lines = self.log_path.read_text(errors="replace").strip().splitlines()
        except OSError:
            return _("it left no log")
        return lines[-1][-500:] if lines else _("it left no log")


def wait_for(background: Background, ready: Callable[[], bool], timeout_seconds: float) -> None:
    """Wait until a process answers.

    Raises:
        CommandError: it ended, or did not answer in time; with its last words.
    """
    deadline = time.monotonic() + timeout_seconds
    while not ready():
        if background.process() is None:
            raise CommandError(
                _("{name} did not start: {words} (whole log: {path})").format(
                    name=background.name, words=background.last_words(), path=background.log_path
                ),
                ExitCode.UNREACHABLE,
            )
        if time.monotonic() > deadline:
            raise CommandError(
                _("{name} does not answer after {seconds:.0f} s; see {path}").format(
                    name=background.name, seconds=timeout_seconds, path=background.log_path
                ),
                ExitCode.UNREACHABLE,
            )
        time.sleep(0.05)
