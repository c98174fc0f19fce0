#!/usr/bin/env python3
"""One node under many requests at once: 50 reads, 20 publications, both together, and far more than its bounds.

Each part tells what came (statuses), percentiles of the answers that were given, how long /ready took meanwhile, and
the node's memory. Exits with 1 when a request within the bounds failed, or /ready did not answer.

usage: concurrency.py [ROUNDS]      of each of the 50 readers and 20 publishers; default 4
"""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
from consortium import NodeProcess, as_processes, consortium, large_bundle, milliseconds, show
from records_flow import Case

READERS, PUBLISHERS, FLOOD = 50, 20, 300
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 4
BUNDLE_BYTES = 20_000


class Client:
    """Calls one node, each thread over a connection of its own pool, and counts what came."""

    def __init__(self, node: NodeProcess) -> None:
        self.node = node
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=READERS + PUBLISHERS)
        self.http = httpx.Client(timeout=120, trust_env=False, limits=limits)
        self.statuses: Counter[str] = Counter()
        self.seconds: list[float] = []
        self._lock = threading.Lock()

    def post(self, path: str, body: bytes, headers: dict[str, str], good: Callable[[dict], bool]) -> None:
        headers = headers | {"Authorization": f"Bearer {self.node.member.staff_token}"}
        began = time.perf_counter()
        try:
            answer = self.http.post(self.node.url + path, content=body, headers=headers)
        except httpx.HTTPError as error:
            status = type(error).__name__
        else:
            status = str(answer.status_code)
            if answer.status_code == 200 and not good(answer.json()):
                status = "200, incomplete"
            if answer.status_code == 429 and "Retry-After" not in answer.headers:
                status = "429 without Retry-After"
        with self._lock:
            self.statuses[status] += 1
            if status == "200":
                self.seconds.append(time.perf_counter() - began)

    def read(self, case: Case) -> None:
        body = json.dumps({"patient": "0x" + case.patient.address.hex(), "purpose": "TREAT"}).encode()
        self.post(
            "/staff/reads",
            body,
            {},
            lambda answer: bool(answer["records"]) and all(one["content"] for one in answer["records"]),
        )

    def publish(self, case: Case, seed: int) -> None:
        from wire.staff import PATIENT_IDENTIFIER_HEADER, encode_patient_identifier

        headers = {PATIENT_IDENTIFIER_HEADER: encode_patient_identifier(*case.about)}
        bundle = large_bundle(case.number, BUNDLE_BYTES, seed)
        self.post("/staff/publications", bundle, headers, lambda answer: answer["state"] == "published")

    def figures(self) -> dict[str, object]:
        ordered = sorted(self.seconds) or [0.0]
        return {
            "answers": dict(self.statuses),
            "p50_ms": milliseconds(ordered[len(ordered) // 2]),
            "p95_ms": milliseconds(ordered[int(len(ordered) * 0.95)]),
            "slowest_ms": milliseconds(ordered[-1]),
        }


class Readiness:
    """Asks /ready again and again while something else goes on."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        self._end = threading.Event()
        self.seconds: list[float] = []
        self.failures = 0
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with httpx.Client(timeout=10, trust_env=False) as http:
            while not self._end.is_set():
                began = time.perf_counter()
                try:
                    self.failures += http.get(self._node.url + "/ready").status_code != 200
                except httpx.HTTPError:
                    self.failures += 1
                self.seconds.append(time.perf_counter() - began)
                self._end.wait(0.1)

    def __enter__(self) -> "Readiness":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def figures(self) -> dict[str, object]:
        ordered = sorted(self.seconds)
        return {
            "asked": len(ordered),
            "failed": self.failures,
            "p50_ms": milliseconds(ordered[len(ordered) // 2]),
            "p95_ms": milliseconds(ordered[int(len(ordered) * 0.95)]),
        }


def run(node: NodeProcess, jobs: dict[str, tuple[int, Callable[[Client, int], None]]]) -> dict[str, object]:
    """Each kind of job by so many threads at once; what came of each."""
    clients = {name: Client(node) for name in jobs}
    began = time.perf_counter()
    with Readiness(node) as readiness, ThreadPoolExecutor(sum(count for count, _ in jobs.values())) as pool:
        for name, (count, job) in jobs.items():
            for number in range(count):
                pool.submit(job, clients[name], number)
        pool.shutdown(wait=True)
    seconds = time.perf_counter() - began
    found: dict[str, object] = {}
    for name, client in clients.items():
        figures = client.figures()
        figures["per_second"] = round(client.statuses["200"] / seconds, 1)
        found[name] = figures
        client.http.close()
    return found | {"ready": readiness.figures(), "node_memory_mib": node.resident_kib // 1024}


def main() -> int:
    with consortium() as (network, case, reader):
        case.publish()
        own = [Case.begin(network, reader) for _ in range(PUBLISHERS)]
        with as_processes(network) as nodes:
            node = nodes[1]

            def read(client: Client, _: int) -> None:
                for _round in range(ROUNDS):
                    client.read(case)

            def publish(client: Client, number: int) -> None:
                for turn in range(ROUNDS):
                    client.publish(own[number], number * 1000 + next(seeds) + turn)

            seeds = iter(range(0, 10**9, 100_000))
            parts = {
                "reads": run(node, {"reads": (READERS, read)}),
                "publications": run(node, {"publications": (PUBLISHERS, publish)}),
                "both": run(node, {"reads": (READERS, read), "publications": (PUBLISHERS, publish)}),
                "flood": run(node, {"reads": (FLOOD, lambda client, _: client.read(case))}),
            }
            parts["after"] = run(node, {"reads": (1, read)})
    show({"readers": READERS, "publishers": PUBLISHERS, "flood": FLOOD, "rounds": ROUNDS, **parts})
    failed = [
        f"{part}: {kind} {status}"
        for part, found in parts.items()
        for kind, figures in found.items()
        if isinstance(figures, dict) and "answers" in figures
        for status in figures["answers"]
        if status != "200" and not (part == "flood" and status == "429")
    ]
    failed += [f"{part}: /ready failed" for part, found in parts.items() if found["ready"]["failed"]]
    print("\n".join(failed), file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
