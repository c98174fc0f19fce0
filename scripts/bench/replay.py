"""Replay, end to end: reads a long ledger from Anvil into Parquet, and verifies it.

usage: .venv/bin/python scripts/bench/replay.py [--events 100000] [--runs 3] [--sample 2000]

Beside it, in the same run: the endpoint alone (raw eth_getLogs, unparsed), this program's row-by-row decoder, and
web3.py's decoder an event at a time. Events are logs of the contract; a batch of decisions is one event.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from ledger.events import decode
from ledger.log_pages import read_pages
from ledger.query import query
from ledger.replay import replay
from ledger.verify import examine, verify

NODE_MODULES = Path(__file__).parents[2] / "node_modules"
SQL = "SELECT requester, reason, count(*) FROM accesses GROUP BY ALL"


def seconds(action: Callable[[], Any]) -> float:
    """How long an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def median_seconds(action: Callable[[], Any], runs: int) -> float:
    return statistics.median(seconds(action) for _ in range(runs))


def raw_bytes(chain: Chain, deployment: Deployment, last_block: int) -> int:
    """All logs in ranges as replay asks for them, but only received: what the endpoint itself can do."""
    total, start = 0, deployment.block_number
    while start <= last_block:
        end = min(start + 1_999, last_block)
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
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        with (
            Anvil(home / "chain", binary=find_anvil(NODE_MODULES), block_seconds=None) as anvil,
            anvil.chain(timeout_seconds=600) as chain,
        ):
            maker = HistoryMaker(anvil, chain)
            made = seconds(lambda: maker.make(Mix(given.events)))
            print(f"made in {made:.0f} s", flush=True)
            measure(chain, maker.deployment, home, given.runs, given.sample)
            anvil.kill()


def measure(chain: Chain, deployment: Deployment, home: Path, runs: int, sample: int) -> None:
    last = chain.final_block().number
    size_bytes = raw_bytes(chain, deployment, last)
    raw = median_seconds(lambda: raw_bytes(chain, deployment, last), runs)
    target = home / "replay"
    summary = replay(chain, deployment, target)
    events, decisions = summary.event_count, summary.rows["accesses"]
    print(
        f"{events} events ({size_bytes / 1e6:.0f} MB of JSON, {last} blocks) with {decisions} decisions: {summary.rows}"
    )
    replayed = median_seconds(lambda: replay(chain, deployment, target, replace=True), runs)
    read = median_seconds(
        lambda: read_columns(chain, deployment.address, deployment.block_number, last), runs
    )
    verified = median_seconds(lambda: _agreed(verify(chain, deployment)), runs)
    pages = list(read_pages(chain, deployment.address, deployment.block_number, last))
    views, block = ConsentLedger(chain, deployment.address), chain.final_block()
    examined = median_seconds(lambda: _agreed(examine(deployment, pages, views, block)), runs)
    logs = [dict(log) for page in pages for log in page]
    decoded = median_seconds(lambda: columns_of(pages), runs)
    some = random.Random(1).sample(logs, min(sample, len(logs)))
    rows = median_seconds(lambda: [decode(parse_log(log)) for log in some], runs)
    by_web3 = median_seconds(lambda: web3_decode(some), runs)
    asked = median_seconds(lambda: query(target, SQL), runs)
    stored = sum(path.stat().st_size for path in target.iterdir())
    for what, count, taken in (
        ("replay, end to end", events, replayed),
        ("  of which fetched and decoded to columns", events, read),
        ("raw eth_getLogs, received and dropped", events, raw),
        ("columns from logs in memory", events, decoded),
        ("ledger.events.decode, a log at a time", len(some), rows),
        ("web3.py get_event_data, a log at a time", len(some), by_web3),
        ("verify, end to end", events, verified),
        ("verify, logs in memory", events, examined),
    ):
        print(f"{what:44} {taken:7.2f} s {count / taken:9.0f} events/s")
    print(f"{'decisions replayed':44} {replayed:7.2f} s {decisions / replayed:9.0f} decisions/s")
    print(f"replay / raw eth_getLogs: {replayed / raw:.2f} times; Parquet {stored / 1e6:.1f} MB")
    print(f"query: {SQL}: {asked:.2f} s")


def _agreed(found: Any) -> None:
    if not found.agrees:
        raise SystemExit(found.first_divergence.text)


if __name__ == "__main__":
    main()
