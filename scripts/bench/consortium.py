"""A consortium for benchmarks: chain, contract and three members, each member's node a process of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from node_fixtures import Member, Network, start_network
from records_flow import Case, observation

from ledger.engine import ANVIL, Engine
from wire.staff import PATIENT_IDENTIFIER_HEADER, encode_patient_identifier

READY_SECONDS = 180


@dataclass
class NodeProcess:
    """One member's node as a process, called by its staff."""

    member: Member
    process: subprocess.Popen[bytes]
    url: str
    http: httpx.Client

    def post(self, path: str, body: bytes, about: tuple[str, str] | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.member.staff_token}", "Accept-Encoding": "identity"}
        if about is not None:
            headers[PATIENT_IDENTIFIER_HEADER] = encode_patient_identifier(*about)
        answer = self.http.post(self.url + path, content=body, headers=headers)
        answer.raise_for_status()
        return answer

    @property
    def resident_kib(self) -> int:
        """Memory of the process now, in KiB (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    def stop(self) -> None:
        self.http.close()
        self.process.terminate()
        self.process.wait(30)


@contextmanager
def consortium(engine: Engine = ANVIL) -> Iterator[tuple[Network, Case, Member]]:
    """A network in this process, with a patient of its first member who consented to the second one."""
    with TemporaryDirectory(prefix="phr-bench-") as directory:
        network = start_network(Path(directory), engine=engine)
        try:
            case = Case.begin(network)
            case.grant(network.members[1])
            yield network, case, network.members[1]
        finally:
            network.stop()


@contextmanager
def as_processes(network: Network) -> Iterator[list[NodeProcess]]:
    """The members' nodes, taken out of this process and started as processes."""
    urls = [member.url for member in network.members]
    for member in network.members:
        member.node.stop()
    nodes = []
    try:
        for member, url in zip(network.members, urls, strict=True):
            with (member.directory / "bench.log").open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "node", str(member.directory)], stdout=log, stderr=log
                )
            nodes.append(NodeProcess(member, process, url, httpx.Client(timeout=600, trust_env=False)))
        for node in nodes:
            _wait_ready(node)
        yield nodes
    finally:
        for node in nodes:
            node.stop()


def _wait_ready(node: NodeProcess) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            if node.http.get(node.url + "/ready").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"{node.url} did not get ready")
        time.sleep(0.1)


def large_bundle(number: str, size_bytes: int, seed: int = 0) -> bytes:
    """A bundle of laboratory results of one day, as near below ``size_bytes`` as whole results come."""
    from records_flow import bundle

    one = len(json.dumps(observation(5.0))) + 90
    results = [
        observation(round(4 + (seed * 7919 + index) % 997 / 100, 2)) for index in range(size_bytes // one)
    ]
    return bundle(number, *results)


def milliseconds(seconds: float) -> float:
    return round(seconds * 1e3, 1)


def show(figures: dict[str, object]) -> None:
    print(json.dumps(figures, indent=2))
