#!/usr/bin/env python3
"""Memory and disk of each part of a network after many records, and how they grow.

The network is one of `phr network up`, every part a process of its own; a bundle's twenty results become twenty records
of one transaction each. ``disk`` is what the file system set aside (``st_blocks``), without the logs of processes.

usage: growth.py [records] [options of `phr network up`: --engine bft --storage kubo --database postgres]
"""

import secrets
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from consortium import show
from operated_network import CARE, NUMBER, Network
from records_flow import SYSTEM, bundle, observation

from cli.places import NetworkPlace, read_network
from cli.staff_client import read_token
from wire.staff import PATIENT_IDENTIFIER_HEADER, encode_patient_identifier

RECORDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
OPTIONS = sys.argv[2:] or ["--engine", "bft", "--storage", "kubo", "--database", "postgres"]
RECORDS_PER_BUNDLE = 20
CLIENTS = 4
SAMPLES = 5
IDLE_SECONDS = 180.0
"""How long nothing is done at the end, to see what time alone adds."""
MEMBERS = ("One", "Two", "Three", "Four")


def allocated_bytes(directory: Path, without: Path | None = None) -> int:
    """What the files below a directory take of the disk."""
    total = 0
    for path in directory.rglob("*"):
        if path.suffix == ".log" or (without is not None and path.is_relative_to(without)):
            continue
        try:
            total += path.lstat().st_blocks * 512
        except FileNotFoundError:
            continue  # A database merged its files meanwhile.
    return total


def disk_bytes(place: NetworkPlace) -> dict[str, int]:
    """The disk of each part, by its name in `phr network status`."""
    used = {}
    for member in place.members:
        used[member.name] = allocated_bytes(member.directory, member.kubo_directory)
        if member.kubo_directory is not None:
            used[f"{member.name} Kubo"] = allocated_bytes(member.kubo_directory)
    if place.has_postgres:
        used["PostgreSQL"] = allocated_bytes(place.postgres_directory)
    validators = [name for member in place.members for name in member.validators]
    used |= {
        f"validators, {len(validators)} together" if validators else "chain": allocated_bytes(
            place.chain_directory
        )
    }
    return used


def sample(network: Network, place: NetworkPlace) -> dict[str, Any]:
    """The chain's height, and MiB of memory and disk of each part."""
    parts = network.parts()
    return {
        "height": max(part["final_block"] or 0 for part in parts.values()),
        "memory_mib": {name: round((part["memory_bytes"] or 0) / 2**20, 1) for name, part in parts.items()},
        "disk_mib": {name: round(used / 2**20, 1) for name, used in disk_bytes(place).items()},
    }


def publish(client: httpx.Client, count: int) -> None:
    """One bundle with a result in each of ``count`` years, each of which becomes a record."""
    results = [observation(secrets.randbelow(10**9) / 1e8, f"{2024 - n}-03-02") for n in range(count)]
    answer = client.post("/staff/publications", content=bundle(NUMBER, *results))
    answer.raise_for_status()
    told: dict[str, Any] = answer.json()
    assert (told["state"], len(told["records"])) == ("published", count), told


def fill(client: httpx.Client, records: int) -> float:
    """Publish so many records; the seconds that it took."""
    bundles = [RECORDS_PER_BUNDLE] * (records // RECORDS_PER_BUNDLE)
    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda count: publish(client, count), bundles))
    return time.perf_counter() - start


def measure(network: Network) -> dict[str, Any]:
    """Publish all records, with a look at every part between."""
    place = read_network(network.directory)
    author = place.members[0]
    headers = {
        "Authorization": f"Bearer {read_token(author.directory / 'staff-token')}",
        PATIENT_IDENTIFIER_HEADER: encode_patient_identifier(SYSTEM, NUMBER),
    }
    samples: dict[int, Any] = {0: sample(network, place)}
    seconds = []
    with httpx.Client(base_url=author.endpoint, headers=headers, timeout=600, trust_env=False) as client:
        for number in range(1, SAMPLES + 1):
            seconds.append(round(fill(client, RECORDS // SAMPLES), 1))
            samples[number * (RECORDS // SAMPLES)] = sample(network, place)
    time.sleep(IDLE_SECONDS)
    idle = {"seconds": IDLE_SECONDS} | sample(network, place)
    return {
        "options": OPTIONS,
        "seconds_of_each_fifth": seconds,
        "after_records": samples,
        "after_idling": idle,
    }


def main() -> None:
    with TemporaryDirectory(prefix="phr-bench-") as directory:
        made = Network(Path(directory) / "network", *OPTIONS)
        members = [word for name in MEMBERS for word in ("--member", f"{name}={CARE}")]
        with contextmanager(made.running)(*members) as network:
            show(measure(network))


if __name__ == "__main__":
    main()
