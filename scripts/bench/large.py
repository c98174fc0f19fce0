#!/usr/bin/env python3
"""A large file through a consortium of three: throughput by step, and how far the memory of each process rises.

usage: large.py [--mib 300] [--store embedded|kubo]

The reference of the same run: SHA-256 of the file, and one copy of it in blocks of 1 MiB, each one synced.
"""

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from hashlib import file_digest
from pathlib import Path

import structlog
from consortium import NodeProcess, as_processes, show
from files_flow import Noise
from memory_peaks import Growth, measured_growth
from node_fixtures import start_network
from records_flow import SYSTEM, Case
from wallet_flow import PASSPHRASE, Person

PROJECT = Path(__file__).parents[2]
PHR = PROJECT / ".venv" / "bin" / "phr"
DESCRIBED = ("--category", "imaging", "--date", "2026-03-01", "--media-type", "application/octet-stream")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mib", type=int, default=300)
    parser.add_argument("--store", choices=("embedded", "kubo"), default="embedded")
    arguments = parser.parse_args()
    # The lines that the nodes log in this process, while the consortium is founded, are no figures.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="phr-large-") as directory:
        place = Path(directory)
        network = start_network(place, store=arguments.store)
        try:
            case = Case.begin(network)
            case.grant(network.members[1])
            person = Person.begin(network, place)
            file = place / "study.bin"
            with file.open("wb") as made:
                made.writelines(Noise(arguments.mib * 2**20))
            daemons = () if network.swarm is None else network.swarm.daemons
            pids = [process.pid for daemon in daemons if (process := daemon.background.process())]
            with as_processes(network) as nodes:
                found = measure(case, person, nodes, pids, file, place)
        finally:
            network.stop()
    show({"mib": arguments.mib, "store": arguments.store} | found)


def measure(
    case: Case, person: Person, nodes: list[NodeProcess], daemons: list[int], file: Path, place: Path
) -> dict[str, object]:
    """Each step once, on processes that just started."""
    size_mib = file.stat().st_size / 2**20
    author, reader = nodes[0], nodes[1]
    provider = author.member
    number = person.numbers[provider.name]
    pids = [node.process.pid for node in nodes] + daemons
    found: dict[str, object] = {"reference_mib_per_second": reference(file, place)}
    start_seconds, base_mib, _ = phr("hospital", "patients", "--as", provider.directory)
    found["client_start_seconds"] = round(start_seconds, 1)

    for name, whose in (
        ("publish", f"{SYSTEM}|{number}"),
        ("publish_for_reading", f"{SYSTEM}|{case.number}"),
    ):
        with measured_growth(pids) as growth:
            seconds, cli_mib, out = phr(
                *("hospital", "publish", file, "--as", provider.directory, "--patient", whose),
                *(*DESCRIBED, "--yes", "--json"),
            )
        steps = {step: round(spent, 1) for step, spent in json.loads(out)["seconds_by_step"].items()}
        found[name] = row(size_mib, seconds, growth, cli_mib - base_mib) | {"node_seconds_by_step": steps}
    wait_for_custodians(nodes)

    patient = "0x" + case.patient.address.hex()
    with measured_growth(pids) as growth:
        seconds, cli_mib, _ = phr(
            *("member", "read", "--as", reader.member.directory, "--patient", patient),
            *("--out", place / "read"),
        )
    (saved,) = (place / "read").iterdir()
    assert digest(saved) == digest(file)
    found["read_by_a_member"] = row(size_mib, seconds, growth, cli_mib - base_mib)

    with measured_growth(pids) as growth:
        seconds, wallet_mib = as_patient(person, place / "own")
    assert digest(place / "own") == digest(file)
    found["read_by_the_patient"] = row(size_mib, seconds, growth, wallet_mib)
    return found


def row(size_mib: float, seconds: float, growth: Growth, client_mib: int) -> dict[str, object]:
    rises, worked = growth.growth_mib, growth.processor_seconds
    return {
        "seconds": round(seconds, 1),
        "mib_per_second": round(size_mib / seconds, 1),
        "growth_mib": {"author": rises[0], "others": rises[1:3], "client": client_mib}
        | ({"kubo": rises[3:]} if rises[3:] else {}),
        "processor_seconds": {"author": worked[0], "others": worked[1:3]}
        | ({"kubo": worked[3:]} if worked[3:] else {}),
    }


def phr(*words: object) -> tuple[float, int, str]:
    """Seconds, peak memory in MiB, and output of one run of `phr`."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [str(PHR), *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, (words, out, err)
    return time.perf_counter() - began, usage.ru_maxrss // 1024, out


def as_patient(person: Person, path: Path) -> tuple[float, int]:
    """Seconds, and how far memory rises, of a wallet that saves the one file that it has."""
    person.wallet.close()
    script = (
        "import resource, sys, time; from pathlib import Path; from wallet import Wallet\n"
        "wallet = Wallet.open(Path(sys.argv[1]), sys.argv[2])\n"
        "(record,) = wallet.records().records\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; began = time.perf_counter()\n"
        "wallet.read(record.record_id, Path(sys.argv[3]))\n"
        "print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(person.path), PASSPHRASE, str(path)],
        check=True,
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )
    seconds, rise_kib = done.stdout.split()
    return float(seconds), int(rise_kib) // 1024


def reference(file: Path, place: Path) -> dict[str, float]:
    """What the machine does with the same bytes and nothing else."""
    size_mib = file.stat().st_size / 2**20
    began = time.perf_counter()
    digest(file)
    hashed = time.perf_counter()
    blocks = place / "blocks"
    blocks.mkdir()
    with file.open("rb") as source:
        for number, block in enumerate(iter(lambda: source.read(2**20), b"")):
            with (blocks / str(number)).open("wb") as target:
                target.write(block)
                target.flush()
                os.fsync(target.fileno())
    copied = time.perf_counter()
    return {
        "sha256": round(size_mib / (hashed - began)),
        "synced_blocks": round(size_mib / (copied - hashed)),
    }


def digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return file_digest(file, "sha256").digest()


def wait_for_custodians(nodes: list[NodeProcess]) -> None:
    """Until nobody waits for a deposit: what follows is measured alone."""
    deadline = time.monotonic() + 300
    for node in nodes:
        while True:
            headers = {"Authorization": f"Bearer {node.member.staff_token}"}
            status = node.http.get(node.url + "/staff/status", headers=headers).json()
            if status["publications_in_progress"] == 0 and status["deposits_without_record"] == 0:
                break
            assert time.monotonic() < deadline, status
            time.sleep(0.5)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
