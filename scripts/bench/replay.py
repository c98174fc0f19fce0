"""Replay, end to end: reads a long ledger from Anvil into Parquet, and verifies it.

usage: .venv/bin/python scripts/bench/replay.py [--events 100000] [--runs 3] [--sample 2000]
       .venv/bin/python scripts/bench/replay.py --url http://127.0.0.1:8545 --deployment deployment.json

Beside it, in the same run: the endpoint alone (raw eth_getLogs, unparsed), this program's row-by-row decoder, and
web3.py's decoder an event at a time. Events are logs of the contract; a batch of decisions is one event.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ledger_history import HistoryMaker, Mix
from web3 import Web3
from web3._utils.events import get_event_data

from ledger.anvil import Anvil, find_anvil
from ledger.artifact import artifact
from ledger.blocks import parse_log
from ledger.chain import Chain
from ledger.columns import columns_of, read_columns
from ledger.contract import ConsentLedger
from ledger.deploy import Deployment
from ledger.engine import ANVIL
from ledger.events import decode
from ledger.log_pages import read_pages
from ledger.query import query
from ledger.replay import replay
from ledger.verify import examine, verify

NODE_MODULES = Path(__file__).parents[2] / "node_modules"
BLOCKS_A_REQUEST = 100
SQL = "SELECT requester, reason, count(*) FROM accesses GROUP BY ALL"


@dataclass(frozen=True)
class Taken:
    """Several runs: median and fastest by the clock, and medians of processor time, own and the chain's."""

    wall_seconds: float
    fastest_seconds: float
    cpu_seconds: float
    chain_cpu_seconds: float


class Stopwatch:
    """Measures actions; on a machine that others use too, processor time says more than the clock."""

    def __init__(self, chain_url: str, runs: int) -> None:
        port = int(chain_url.rsplit(":", 1)[1])
        listening = (one for one in psutil.net_connections("tcp4") if one.status == psutil.CONN_LISTEN)
        self._chain = psutil.Process(next(one.pid for one in listening if one.laddr.port == port))
        self._runs = runs

    def taken(self, action: Callable[[], Any]) -> Taken:
        runs = [self._once(action) for _ in range(self._runs)]
        walls, cpus, chain_cpus = zip(*runs, strict=True)
        median = statistics.median
        return Taken(median(walls), min(walls), median(cpus), median(chain_cpus))

    def _once(self, action: Callable[[], Any]) -> tuple[float, float, float]:
        wall, cpu, chain_cpu = time.perf_counter(), time.process_time(), self._chain_cpu_seconds()
        action()
        return (
            time.perf_counter() - wall,
            time.process_time() - cpu,
            self._chain_cpu_seconds() - chain_cpu,
        )

    def _chain_cpu_seconds(self) -> float:
        times = self._chain.cpu_times()
        return float(times.user + times.system)


def raw_bytes(chain: Chain, deployment: Deployment, last_block: int) -> int:
    """All logs in ranges as replay asks for them, but only received: what the endpoint itself can do."""
    total, start = 0, deployment.block_number
    while start <= last_block:
        end = min(start + BLOCKS_A_REQUEST - 1, last_block)
        asked = {"address": "0x" + deployment.address.hex(), "fromBlock": hex(start), "toBlock": hex(end)}
        total += len(chain.request_bytes("eth_getLogs", [asked]))
        start = end + 1
    return total


def web3_decode(logs: list[dict[str, Any]]) -> None:
    """Each log by web3.py, chosen by its topic."""
    web3 = Web3()
    abis = {
        web3.keccak(text=f"{entry['name']}({','.join(map(_type, entry['inputs']))})").hex(): entry
        for entry in artifact().abi
        if entry["type"] == "event"
    }
    for log in logs:
        shaped = {
            **log,
            "topics": [bytes.fromhex(topic[2:]) for topic in log["topics"]],
            "data": bytes.fromhex(log["data"][2:]),
        }
        abi = abis[log["topics"][0].removeprefix("0x")]
        get_event_data(web3.codec, abi, shaped)  # type: ignore[arg-type]


def _type(entry: dict[str, Any]) -> str:
    if entry["type"].startswith("tuple"):
        return f"({','.join(map(_type, entry['components']))})" + entry["type"][5:]
    return str(entry["type"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--sample", type=int, default=2_000)
    parser.add_argument("--url", help="measure a ledger that is there already, on this chain")
    parser.add_argument("--deployment", type=Path, help="its deployment, a JSON file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        if given.url:
            deployment = Deployment.from_json(json.loads(given.deployment.read_text()))
            with Chain(given.url, ANVIL, timeout_seconds=600) as chain:
                measure(chain, deployment, home, given.runs, given.sample)
            return
        with (
            Anvil(home / "chain", binary=find_anvil(NODE_MODULES), block_seconds=None) as anvil,
            anvil.chain(timeout_seconds=600) as chain,
        ):
            maker = HistoryMaker(anvil, chain)
            start = time.perf_counter()
            maker.make(Mix(given.events))
            print(f"made in {time.perf_counter() - start:.0f} s", flush=True)
            measure(chain, maker.deployment, home, given.runs, given.sample)
            anvil.kill()


def measure(chain: Chain, deployment: Deployment, home: Path, runs: int, sample: int) -> None:
    last, load_before = chain.final_block().number, os.getloadavg()[0]
    taken = Stopwatch(chain.url, runs).taken
    size_bytes = raw_bytes(chain, deployment, last)
    raw = taken(lambda: raw_bytes(chain, deployment, last))
    target = home / "replay"
    summary = replay(chain, deployment, target)
    events, decisions = summary.event_count, summary.rows["accesses"]
    print(
        f"{events} events ({size_bytes / 1e6:.0f} MB of JSON, {last} blocks) with {decisions} decisions: {summary.rows}"
    )
    replayed = taken(lambda: replay(chain, deployment, target, replace=True))
    read = taken(lambda: read_columns(chain, deployment.address, deployment.block_number, last))
    verified = taken(lambda: _agreed(verify(chain, deployment)))
    pages = list(read_pages(chain, deployment.address, deployment.block_number, last))
    views, block = ConsentLedger(chain, deployment.address), chain.final_block()
    examined = taken(lambda: _agreed(examine(deployment, pages, views, block)))
    logs = [dict(log) for page in pages for log in page]
    decoded = taken(lambda: columns_of(pages))
    some = random.Random(1).sample(logs, min(sample, len(logs)))
    rows = taken(lambda: [decode(parse_log(log)) for log in some])
    by_web3 = taken(lambda: web3_decode(some))
    asked = taken(lambda: query(target, SQL))
    stored = sum(path.stat().st_size for path in target.iterdir())
    print("| | median | fastest | events/s, fastest | processor: own + chain | events/s of processor time |")
    print("|---|---|---|---|---|---|")
    for what, count, spent in (
        ("replay, end to end", events, replayed),
        ("of which fetched and decoded to columns", events, read),
        ("raw eth_getLogs, received and dropped", events, raw),
        ("columns from logs in memory", events, decoded),
        ("ledger.events.decode, a log at a time", len(some), rows),
        ("web3.py get_event_data, a log at a time", len(some), by_web3),
        ("verify, end to end", events, verified),
        ("verify, logs in memory", events, examined),
    ):
        both = spent.cpu_seconds + spent.chain_cpu_seconds
        print(
            f"| {what} | {spent.wall_seconds:.2f} s | {spent.fastest_seconds:.2f} s "
            f"| {count / spent.fastest_seconds:,.0f} "
            f"| {spent.cpu_seconds:.2f} + {spent.chain_cpu_seconds:.2f} s | {count / both:,.0f} |"
        )
    print(f"decisions replayed: {decisions / replayed.fastest_seconds:,.0f} a second")
    print(f"replay takes {replayed.fastest_seconds / raw.fastest_seconds:.2f} times raw eth_getLogs")
    print(f"Parquet {stored / 1e6:.1f} MB; {SQL}: {asked.wall_seconds:.2f} s")
    print(
        f"load average before and after: {load_before:.1f}, {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )


def _agreed(found: Any) -> None:
    if not found.agrees:
        raise SystemExit(found.first_divergence.text)


if __name__ == "__main__":
    main()
