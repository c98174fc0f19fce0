"""How long a new node takes to catch up with a long ledger, through one endpoint and through four that it compares.

usage: .venv/bin/python scripts/bench/catch_up.py [--events 100000]

The history is made on Anvil; four endpoints are four addresses of the same chain. Taken in as a node does: read,
decoded, folded, and committed to its database page by page. The first half tells whether the time grows with the
square of the length of the history.
"""

import argparse
import resource
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
from ledger_history import HistoryMaker, Mix

from ledger.anvil import Anvil, find_anvil
from ledger.chain import Chain
from ledger.deploy import Deployment
from ledger.endpoints import connect
from ledger.engine import ANVIL
from ledger.follow import Follower
from node.database import Database
from node.follow_store import DatabaseFollowStore

NODE_MODULES = Path(__file__).parents[2] / "node_modules"
ENDPOINTS = 4


class Passing(BaseHTTPRequestHandler):
    """Passes a request on to the chain: an address of its own for it."""

    protocol_version = "HTTP/1.1"
    upstream = ""
    client = httpx.Client(timeout=600, trust_env=False)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        content = self.client.post(
            self.upstream, content=body, headers={"content-type": "application/json"}
        ).content
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


def catch_up(chain: Chain, deployment: Deployment, directory: Path) -> None:
    """Follows from nothing to the head, and prints what it took for each fifth of the events and for all."""
    database = Database(f"sqlite:///{directory / 'node.db'}")
    database.migrate()
    store = DatabaseFollowStore(database)
    marks: list[tuple[int, float]] = []
    total, began, cpu = 0, time.perf_counter(), time.process_time()
    commit = store.commit

    def counted(events: object, checkpoint: object, snapshot: object) -> None:
        nonlocal total
        commit(events, checkpoint, snapshot)  # type: ignore[arg-type]
        total += len(events)  # type: ignore[arg-type]
        marks.append((total, time.process_time() - cpu))

    store.commit = counted  # type: ignore[method-assign]
    follower = Follower(chain, deployment, store)
    taken = follower.advance()
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    half = next(seconds for count, seconds in marks if count >= taken / 2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"  {taken} events: {wall:.1f} s ({taken / wall:,.0f}/s), {used:.1f} s of processor, of which the first half "
        f"of the events {half:.1f} s; {peak} MB at most"
    )
    database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        Anvil(Path(directory) / "chain", binary=find_anvil(NODE_MODULES), block_seconds=None) as anvil,
        anvil.chain(timeout_seconds=600) as chain,
    ):
        maker = HistoryMaker(anvil, chain)
        maker.make(Mix(given.events))
        Passing.upstream = anvil.url
        servers = [ThreadingHTTPServer(("127.0.0.1", 0), Passing) for _ in range(ENDPOINTS)]
        for server in servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        urls = [f"http://127.0.0.1:{server.server_port}" for server in servers]
        for label, some in (("one endpoint", urls[:1]), (f"{ENDPOINTS} endpoints, two of which agree", urls)):
            place = Path(directory) / f"node-{len(some)}"
            place.mkdir()
            print(label)
            with connect(some, ANVIL, maker.deployment) as through:
                catch_up(through, maker.deployment, place)
        for server in servers:
            server.shutdown()


if __name__ == "__main__":
    main()
