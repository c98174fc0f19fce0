#!/usr/bin/env python3
"""Durable puts and gets of 64 KiB and 1 MiB: the embedded store, Kubo, and a bare synced file, in turns in one run.

Then what a custodian asks of its store: puts from 8 threads, which of so many blocks it lacks, deletions, a large file,
and what that takes of memory and disk. Needs the built ipfs (./scripts/network build).

usage: block_stores.py [ROUNDS [BLOCKS]]      default 60 rounds of each size; 5000 small blocks
"""

import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROJECT = Path(__file__).parents[2]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests/support")]

from kubo_fixtures import new_swarm, store_of  # noqa: E402

from engines import find_binary  # noqa: E402
from engines.kubo import KuboDaemon  # noqa: E402
from storage import (  # noqa: E402
    BlockStore,
    Cid,
    Codec,
    EmbeddedBlockStore,
    KuboBlockStore,
    missing,
    put_many,
    unixfs,
)

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 60
BLOCKS = int(sys.argv[2]) if len(sys.argv) > 2 else 5000
SIZES = {"64 KiB": 64 * 1024, "1 MiB": 1024 * 1024}
LARGE_BYTES = 300 * 1024 * 1024
THREADS = 8


class BareFile:
    """What no durable store can avoid: write, fsync, rename, fsync the directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory

    def put(self, block: bytes) -> Cid:
        cid = Cid.of(block)
        path = self._directory / str(cid)
        descriptor = os.open(path.with_suffix(".new"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, block)
        os.fsync(descriptor)
        os.close(descriptor)
        path.with_suffix(".new").rename(path)
        directory = os.open(self._directory, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        return cid

    def get(self, cid: Cid) -> bytes:
        block = (self._directory / str(cid)).read_bytes()
        assert Cid.of(block) == cid
        return block


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def row(name: str, times: list[float], bare: list[float]) -> None:
    ordered = sorted(times)
    median, p95 = statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
    ratio = median / statistics.median(bare)
    print(
        f"  {name:<22} median {median * 1000:8.2f} ms   p95 {p95 * 1000:8.2f} ms   {ratio:6.1f} x bare file"
    )


def in_turns(stores: dict[str, BareFile | BlockStore], swarm_get: Callable[[Cid], bytes]) -> None:
    for label, size_bytes in SIZES.items():
        puts: dict[str, list[float]] = {name: [] for name in stores}
        gets: dict[str, list[float]] = {name: [] for name in stores} | {"Kubo, from another": []}
        for _ in range(ROUNDS):
            block = os.urandom(size_bytes)
            cid = Cid.of(block)
            for name, store in stores.items():
                puts[name].append(seconds(lambda store=store, block=block: store.put(block)))
            for name, store in stores.items():
                gets[name].append(seconds(lambda store=store, cid=cid: store.get(cid)))
            gets["Kubo, from another"].append(seconds(lambda cid=cid: swarm_get(cid)))
        print(f"durable put of {label}")
        for name, times in puts.items():
            row(name, times, puts["bare file"])
        print(f"get of {label}, hashed")
        for name, times in gets.items():
            row(name, times, gets["bare file"])


def custodian(name: str, store: BlockStore) -> None:
    """What a custodian with many records does."""
    blocks = [b"%s %d" % (name.encode(), number) * 40 for number in range(BLOCKS)]
    with ThreadPoolExecutor(THREADS) as pool:
        took = seconds(lambda: list(pool.map(store.put, blocks)))
    batched = [(b"batched " + block, Codec.RAW) for block in blocks]
    in_batches = seconds(lambda: put_many(store, batched))
    cids = [Cid.of(block) for block in blocks]
    absent = {Cid.of(b"absent %d" % number) for number in range(BLOCKS // 100)}
    looked = seconds(lambda: missing(store, [*cids, *absent]))
    assert missing(store, [*cids, *absent]) == absent
    deleted = [seconds(lambda cid=cid: store.delete(cid)) for cid in cids[:50]]
    print(
        f"  {name:<10} put by {THREADS} threads {BLOCKS / took:5.0f}/s   as one list {BLOCKS / in_batches:5.0f}/s   "
        f"which of {BLOCKS} are missing {looked * 1000:6.0f} ms   delete {statistics.median(deleted) * 1000:5.1f} ms"
    )


class Pattern:
    """A large content that is made as it is read."""

    def __init__(self, size_bytes: int) -> None:
        self._left, self._number = size_bytes, 0

    def read(self, size: int, /) -> bytes:
        size = min(size, self._left, 65536)
        self._left -= size
        self._number += 1
        return (self._number.to_bytes(8, "big") * 8192)[:size]


def large(name: str, store: BlockStore) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    root = unixfs.add(store, Pattern(LARGE_BYTES))
    added = time.perf_counter() - began
    read = seconds(lambda: sum(map(len, unixfs.cat(store, root))))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    mebibytes = LARGE_BYTES / 2**20
    print(
        f"  {name:<10} add {added:5.1f} s ({mebibytes / added:4.0f} MiB/s)   cat {read:5.1f} s "
        f"({mebibytes / read:4.0f} MiB/s)   memory grew by {grown / 1024:.0f} MiB"
    )


def daemon_figures(daemon: KuboDaemon) -> None:
    process = daemon.background.process()
    assert process is not None
    size_bytes = sum(path.stat().st_size for path in daemon.repository.rglob("*") if path.is_file())
    print(f"  memory {process.memory_info().rss / 2**20:.0f} MiB, repository {size_bytes / 2**20:.0f} MiB")
    daemon.kill()
    print(f"  killed and started again in {seconds(daemon.start):.2f} s")


def main() -> None:
    directory = Path(tempfile.mkdtemp(prefix="phr-bench-storage-"))
    try:
        with new_swarm(directory, find_binary(PROJECT, "ipfs"), 2) as swarm:
            kubo, other = (store_of(daemon) for daemon in swarm.daemons)
            embedded = EmbeddedBlockStore(directory / "embedded")
            bare = BareFile(directory / "bare")
            print(f"load average {os.getloadavg()[0]:.1f}")
            in_turns({"bare file": bare, "embedded": embedded, "Kubo": kubo}, other.from_swarm(30).get)
            both: dict[str, BlockStore] = {"embedded": embedded, "Kubo": kubo}
            print("a custodian's work")
            for name, store in both.items():
                custodian(name, store)
            print(f"a file of {LARGE_BYTES // 2**20} MiB")
            for name, store in both.items():
                large(name, store)
            print("the daemon afterwards")
            daemon_figures(swarm.daemons[0])
            assert isinstance(kubo, KuboBlockStore)
            print(f"load average {os.getloadavg()[0]:.1f}")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
