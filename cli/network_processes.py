"""Starting, stopping and looking at the processes of a network on this machine."""

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from cli.chain_keeper import end_orphan
from cli.places import MemberPlace, NetworkPlace
from cli.texts import _
from engines.processes import Background, wait_for
from ledger.anvil import find_anvil
from ledger.chain import Chain
from ledger.engine import ANVIL
from ledger.errors import LedgerError

START_TIMEOUT_SECONDS = 60.0
NODE_MODULES = Path(__file__).resolve().parent.parent / "node_modules"


@dataclass(frozen=True)
class PartStatus:
    """One process of a network."""

    name: str
    state: str
    endpoint: str
    final_block: int | None
    pid: int | None
    memory_bytes: int | None
    note: str

    def document(self) -> dict[str, Any]:
        """The same with stable keys."""
        return asdict(self)


def chain_process(place: NetworkPlace) -> Background:
    """The process that keeps the embedded chain."""
    return Background(place.directory / "chain", "chain")


def node_process(member: MemberPlace) -> Background:
    """A member's node."""
    return Background(member.directory, "node")


def start_chain(place: NetworkPlace) -> None:
    """Start the chain and wait until it answers."""
    background = chain_process(place)
    _end_orphan(place)
    background.start(
        [
            sys.executable,
            "-m",
            "cli.chain_keeper",
            str(background.directory),
            str(NODE_MODULES),
            str(_port(place)),
        ]
    )
    wait_for(background, lambda: _chain_height(place) is not None, START_TIMEOUT_SECONDS)


def start_network(place: NetworkPlace, say: Callable[[str], None]) -> None:
    """Start whatever does not run, and wait until every node is ready."""
    if chain_process(place).process() is None or _chain_height(place) is None:
        # A keeper whose engine was killed has not noticed yet.
        chain_process(place).stop()
        start_chain(place)
        say(_("The chain runs at {url}.").format(url=place.rpc_url))
    nodes = [member for member in place.members if member.runs_node]
    for member in nodes:
        node_process(member).start([sys.executable, "-m", "node", str(member.directory)])
    for member in nodes:
        wait_for(node_process(member), partial(_is_ready, member), START_TIMEOUT_SECONDS)
        say(_("{name} is ready at {url}.").format(name=member.name, url=member.endpoint))


def stop_network(place: NetworkPlace) -> list[str]:
    """Stop the nodes, then the chain; the names of what ran."""
    stopped = [member.name for member in place.members if node_process(member).stop()]
    kept, orphaned = chain_process(place).stop(), _end_orphan(place)
    return stopped + (["chain"] if kept or orphaned else [])


def _port(place: NetworkPlace) -> int:
    port = urlsplit(place.rpc_url).port
    assert port is not None
    return port


def _end_orphan(place: NetworkPlace) -> bool:
    """End the chain's engine where its keeper was killed and left it."""
    return end_orphan(chain_process(place).directory, find_anvil(NODE_MODULES), _port(place))


def network_status(place: NetworkPlace) -> list[PartStatus]:
    """Every process of the network, as it is now."""
    height = _chain_height(place)
    parts = [_status("chain", chain_process(place), place.rpc_url, height, height is not None, "")]
    for member in place.members:
        if not member.runs_node:
            parts.append(PartStatus(member.name, _("keys only"), "", None, None, None, ""))
            continue
        answer = _get(member, "/ledger")
        final = answer["final"]["number"] if answer else None
        readiness = _get(member, "/ready") or {}
        note = "; ".join(readiness.get("problems", ()))
        parts.append(
            _status(
                member.name, node_process(member), member.endpoint, final, bool(readiness.get("ready")), note
            )
        )
    return parts


def _status(
    name: str, background: Background, endpoint: str, final_block: int | None, ready: bool, note: str
) -> PartStatus:
    process = background.process()
    if process is None:
        return PartStatus(name, _("stopped"), endpoint, None, None, None, "")
    state = _("ready") if ready else _("not ready")
    return PartStatus(name, state, endpoint, final_block, process.pid, process.memory_info().rss, note)


def _chain_height(place: NetworkPlace) -> int | None:
    try:
        with Chain(place.rpc_url, ANVIL, timeout_seconds=5) as chain:
            return chain.final_block().number
    except LedgerError:
        return None


def _is_ready(member: MemberPlace) -> bool:
    return bool((_get(member, "/ready") or {}).get("ready"))


def _get(member: MemberPlace, path: str) -> dict[str, Any] | None:
    try:
        response = httpx.get(member.endpoint + path, timeout=5, trust_env=False)
        document = response.json()
        return document if isinstance(document, dict) else None
    except (httpx.HTTPError, ValueError):
        return None
