"""Members' nodes as processes of their own, which a test kills, cuts off and starts again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from node_fixtures import Member, Network

PATIENCE_SECONDS = 90.0


def wait_until(condition: Callable[[], bool], what: str, timeout_seconds: float = PATIENCE_SECONDS) -> None:
    """Waits for a condition; fails with ``what`` when it does not come true in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_seconds:.0f} s"
        time.sleep(0.05)


class Forks:
    """Where node processes come from (``node_forks``)."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("node_forks.py")
        self._parent = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._answer() == "ready"

    def start(self, directory: Path) -> int:
        """A new process of the node in a directory; its id."""
        assert self._parent.stdin is not None
        self._parent.stdin.write(f"{directory}\t{directory / 'process.log'}\n")
        self._parent.stdin.flush()
        return int(self._answer())

    def stop(self) -> None:
        """Starts no more."""
        self._parent.communicate(timeout=30)

    def _answer(self) -> str:
        assert self._parent.stdout is not None
        return self._parent.stdout.readline().strip()


@dataclass
class NodeProcess:
    """One member's node, as a process; ``member`` calls it as if it ran in the test's own."""

    member: Member
    forks: Forks = field(repr=False)
    process_id: int | None = None

    def start(self) -> None:
        """Starts it, and does not wait."""
        self.process_id = self.forks.start(self.member.directory)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Ends it by a signal; returns when it is gone."""
        if self.process_id is None:
            return
        with suppress(ProcessLookupError):
            os.kill(self.process_id, number)
        wait_until(lambda: not self.is_running(), f"{self.member.name} has ended")
        self.process_id = None

    def stop(self) -> None:
        """Tells it to end; returns when it has."""
        self.kill(signal.SIGTERM)

    def is_running(self) -> bool:
        """Whether its process is there."""
        if self.process_id is None:
            return False
        try:
            os.kill(self.process_id, 0)
        except ProcessLookupError:
            return False
        return True

    def get(self, path: str) -> Any:
        """A public view, parsed; None when it does not answer."""
        with suppress(httpx.HTTPError, ValueError):
            return self.member.http.get(self.member.url + path, timeout=5).json()
        return None

    def is_ready(self) -> bool:
        """Whether it says so."""
        return bool((self.get("/ready") or {}).get("ready"))

    def answers(self) -> bool:
        """Whether it answers at all."""
        return self.get("/health") is not None

    def status(self) -> dict[str, Any]:
        """What its operator sees."""
        answer = self.member.call("GET", "/staff/status", staff=True)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def final_block(self) -> int:
        """How far it followed the ledger; -1 when it does not say."""
        return int(((self.get("/ledger") or {}).get("final") or {}).get("number", -1))


@contextmanager
def as_processes(network: Network) -> Iterator[list[NodeProcess]]:
    """Takes the nodes out of this process and starts each as one of its own; all are ready.

    The network's helpers work on: what waited for nodes in this process now waits for the processes.
    """
    for member in network.members:
        member.node.stop()
    forks = Forks()
    nodes = [NodeProcess(member, forks) for member in network.members]

    def wait_for_all() -> None:
        number = network.chain.final_block().number
        for node in nodes:
            if node.is_running():
                wait_until(lambda node=node: node.final_block() >= number, f"{node.member.name} at {number}")

    network.wait_for_all = wait_for_all  # type: ignore[method-assign]
    try:
        for node in nodes:
            node.start()
        for node in nodes:
            wait_until(node.is_ready, f"{node.member.name} ready")
        yield nodes
    finally:
        for node in nodes:
            node.stop()
        forks.stop()
