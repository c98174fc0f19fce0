"""Background processes: of several who start one, one does; none is lost, whoever is killed; none is ended twice."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import orjson
import psutil
import pytest

from engines.errors import EngineFailed
from engines.processes import Background, exclusive, wait_for

COMMAND = [
    sys.executable,
    "-c",
    "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); time.sleep(600)",
]


@pytest.fixture
def background(tmp_path: Path) -> Iterator[Background]:
    made = Background(tmp_path / "place", "worker")
    yield made
    made.stop()
    for pid in started(tmp_path):
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)


def command(tmp_path: Path) -> list[str]:
    return [*COMMAND, str(tmp_path / "started")]


def started(tmp_path: Path) -> list[int]:
    """Every process that was ever started here."""
    path = tmp_path / "started"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def wait_until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_start_by_several_at_once_starts_one(background: Background, tmp_path: Path) -> None:
    barrier = Barrier(8)

    def start() -> int:
        barrier.wait()
        return background.start(command(tmp_path)).pid

    with ThreadPoolExecutor(8) as pool:
        pids = {future.result() for future in [pool.submit(start) for _ in range(8)]}
    assert len(pids) == 1
    wait_until(lambda: started(tmp_path))
    assert started(tmp_path) == list(pids)
    assert background.stop() is True
    assert not psutil.pid_exists(pids.pop()) or background.process() is None


def start_and_be_killed_at_once(background: Background, words: list[str]) -> None:
    script = textwrap.dedent(
        """
        import os, signal, subprocess, sys
        from pathlib import Path
        from engines.processes import Background

        real = subprocess.Popen

        def killed(*arguments, **options):
            real(*arguments, **options)
            os.kill(os.getpid(), signal.SIGKILL)

        subprocess.Popen = killed
        Background(Path(sys.argv[1]), "worker").start(sys.argv[2:])
        """
    )
    done = subprocess.run([sys.executable, "-c", script, str(background.directory), *words], timeout=240)
    assert done.returncode == -signal.SIGKILL


def test_start_by_one_that_is_killed_at_once_leaves_a_process_that_the_next_one_finds(
    background: Background, tmp_path: Path
) -> None:
    start_and_be_killed_at_once(background, command(tmp_path))
    found = background.start(command(tmp_path))
    wait_until(lambda: started(tmp_path))
    assert started(tmp_path) == [found.pid]
    assert background.stop() is True


def test_stop_of_a_process_whose_starter_was_killed_before_it_noted_itself_ends_it(
    background: Background, tmp_path: Path
) -> None:
    start_and_be_killed_at_once(background, command(tmp_path))
    assert background.stop() is True
    assert background.process() is None


def test_start_of_a_program_that_is_not_there_says_so_and_leaves_nothing(background: Background) -> None:
    with pytest.raises(EngineFailed, match=r"worker cannot be started: .*No such file"):
        background.start(["/nowhere/program"])
    assert background.process() is None
    assert background.stop() is False


def test_started_process_has_the_command_and_environment_that_were_given_and_no_lock(
    background: Background, tmp_path: Path
) -> None:
    words = [*command(tmp_path), "with spaces", "", "$HOME"]
    process = background.start(words, {"ONLY": "this"})
    # While the kernel puts the program in place of the one before, it has neither words nor environment.
    wait_until(lambda: process.cmdline() and process.environ())
    assert process.cmdline() == words
    assert process.environ() == {"ONLY": "this"}
    with exclusive(background.directory / "worker.lock", wait=False):
        assert not [
            fd for fd in os.listdir(f"/proc/{process.pid}/fd") if _target(process.pid, fd).endswith(".lock")
        ]


def _target(pid: int, descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{descriptor}")
    except FileNotFoundError:
        return ""


def test_directory_and_log_are_for_their_user_alone_whatever_the_umask(
    background: Background, tmp_path: Path
) -> None:
    before = os.umask(0)
    try:
        background.start(command(tmp_path))
    finally:
        os.umask(before)
    files = {path.name: path.stat().st_mode & 0o777 for path in background.directory.iterdir()}
    assert files == {"worker.log": 0o600, "worker.pid": 0o600, "worker.lock": 0o600}
    assert background.directory.stat().st_mode & 0o777 == 0o700


def test_stop_of_one_that_ends_at_that_moment_is_no_error(
    background: Background, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = background.start(command(tmp_path))
    process.kill()
    process.wait(30)
    assert not process.is_running()
    monkeypatch.setattr(Background, "process", lambda _self: process)
    assert background.stop() is True


def test_stop_waits_for_one_that_starts_it_and_ends_what_was_started(
    background: Background, tmp_path: Path
) -> None:
    background.start(command(tmp_path))
    with ThreadPoolExecutor(1) as pool:
        with exclusive(background.directory / "worker.lock"):
            stopping = pool.submit(background.stop)
            assert not stopping.done()
        assert stopping.result(60) is True
    assert background.process() is None


def test_stop_of_one_that_ignores_the_signal_kills_it(
    background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    deaf = [sys.executable, "-c", ignore + "print('deaf', flush=True); time.sleep(600)"]
    process = background.start(deaf)
    wait_for(background, lambda: background.last_words() == "deaf", 60)
    real = psutil.Process.wait
    # Its patience is over at once; what comes after the kill is waited for.
    monkeypatch.setattr("engines.processes.STOP_TIMEOUT_SECONDS", 0.01)
    monkeypatch.setattr(
        psutil.Process, "kill", lambda self: (self.send_signal(signal.SIGKILL), real(self, 60))
    )
    assert background.stop() is True
    assert not process.is_running()


def test_process_file_of_a_number_given_to_another_program_is_not_ours(background: Background) -> None:
    background.directory.mkdir()
    own = background.remember(os.getpid())
    assert own.pid == os.getpid()
    path = background.directory / "worker.pid"
    known = orjson.loads(path.read_bytes())
    for other in ({"started_ticks": known["started_ticks"] - 1}, {"boot": "another"}):
        path.write_bytes(orjson.dumps(known | other))
        assert background.process() is None
        assert background.stop() is False
    for junk in (b"", b"[]", b'{"pid": "x", "started_ticks": 1}', b'{"pid": 1}'):
        path.write_bytes(junk)
        assert background.process() is None
