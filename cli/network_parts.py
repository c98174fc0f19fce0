"""The processes of a network, in the order in which they start: database, stores and chain, then the nodes.

Every engine is a part with the same five words, so that starting, stopping and looking know none of them.
"""

import ssl
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from cli.chain_keeper import end_orphan
from cli.errors import CommandError
from cli.places import MemberPlace, NetworkPlace
from cli.staff_client import StaffClient, read_token
from engines.binaries import LINKS, find_binary
from engines.errors import EnginesError
from engines.kubo import KuboDaemon
from engines.postgres import PostgresServer
from engines.processes import Background, Watched
from ledger.anvil import find_anvil
from ledger.chain import Chain
from ledger.engine import ANVIL, Engine
from ledger.errors import LedgerError
from wire.staff import NodeStatus

PROJECT = Path(__file__).resolve().parent.parent
NODE_MODULES = PROJECT / "node_modules"
LOOK_SECONDS = 5.0
"""How long a part may take to say how it is."""


class Kind(StrEnum):
    """What a process of a network does."""

    DATABASE = "database"
    STORE = "store"
    CHAIN = "chain"
    VALIDATOR = "validator"
    NODE = "node"
    KEYS = "keys"
    """No process: a member that has only keys."""


@dataclass(frozen=True)
class Part:
    """One process of a network."""

    name: str
    """Its own name in this network."""
    kind: Kind
    endpoint: str
    watched: Watched
    start: Callable[[], object]
    """Starts it, unless it runs; does not wait until it is ready."""
    is_ready: Callable[[], bool]
    stop: Callable[[], bool]
    """Ends it; False when it did not run."""
    look: Callable[[], dict[str, Any]] = field(default=dict)
    """What else is known of it while it runs: keys of ``network_status.PartStatus``."""
    member: MemberPlace | None = None


def look_at(part: Part) -> dict[str, Any]:
    """What a running part says of itself; where it does not answer, a note that says so."""
    try:
        return part.look()
    except (EnginesError, LedgerError, httpx.HTTPError, OSError) as error:
        return {"note": str(error) or type(error).__name__}


def stages_of(place: NetworkPlace) -> list[list[Part]]:
    """The parts that run on this machine; those of a stage start together, and need those before."""
    engines = engine_parts(place)
    nodes = [_node(member) for member in place.members if member.runs_node]
    return [stage for stage in (engines, nodes) if stage]


def engine_parts(place: NetworkPlace) -> list[Part]:
    """What nodes stand on: the database server, the members' stores, the chain."""
    parts = [_postgres(place)] if place.has_postgres else []
    parts += [_kubo(member, member.kubo_directory) for member in place.members if member.kubo_directory]
    if place.keeps_chain and place.engine is ANVIL:
        parts.append(_anvil(place))
    elif place.keeps_chain:
        from cli.network_validators import validator_parts

        parts += validator_parts(PROJECT, place)
    return parts


def built(project: Path, name: str) -> Path:
    """Where an engine's binary is once it is built: what only stops or looks needs no more."""
    return project / LINKS / name


def _postgres(place: NetworkPlace) -> Part:
    server = PostgresServer.open(place.postgres_directory)
    return Part(
        name="PostgreSQL",
        kind=Kind.DATABASE,
        endpoint=str(server.socket_directory),
        watched=server,
        start=server.start,
        is_ready=server.is_ready,
        stop=server.stop,
    )


def _kubo(member: MemberPlace, directory: Path) -> Part:
    daemon = KuboDaemon(directory, built(PROJECT, "ipfs"))

    def start() -> None:
        find_binary(PROJECT, "ipfs")
        daemon.start()

    return Part(
        name=f"{member.name} Kubo",
        kind=Kind.STORE,
        endpoint=daemon.rpc_url,
        watched=daemon.background,
        start=start,
        is_ready=daemon.answers,
        stop=daemon.stop,
        look=lambda: {"peers": len(daemon.connected_peers())},
    )


def _anvil(place: NetworkPlace) -> Part:
    background = Background(place.chain_directory, "chain")
    port = urlsplit(place.rpc_url).port
    assert port is not None

    def end_lost_engine() -> bool:
        """End the engine where its keeper was killed and left it."""
        return end_orphan(background.directory, find_anvil(NODE_MODULES), port)

    def start() -> None:
        if background.process() is not None:
            if chain_height(place.rpc_url, ANVIL) is not None:
                return
            # A keeper whose engine was killed has not noticed yet.
            background.stop()
        end_lost_engine()
        background.start(
            [
                sys.executable,
                "-m",
                "cli.chain_keeper",
                str(background.directory),
                str(NODE_MODULES),
                str(port),
            ]
        )

    def stop() -> bool:
        kept, orphaned = background.stop(), end_lost_engine()
        return kept or orphaned

    return Part(
        name="chain",
        kind=Kind.CHAIN,
        endpoint=place.rpc_url,
        watched=background,
        start=start,
        is_ready=lambda: chain_height(place.rpc_url, ANVIL) is not None,
        stop=stop,
        look=partial(look_at_chain, place.rpc_url, ANVIL),
    )


def _node(member: MemberPlace) -> Part:
    background = Background(member.directory, "node")
    return Part(
        name=member.name,
        kind=Kind.NODE,
        endpoint=member.endpoint,
        watched=background,
        start=lambda: background.start([sys.executable, "-m", "node", str(member.directory)]),
        is_ready=lambda: bool((ask_node(member, "/ready") or {}).get("ready")),
        stop=background.stop,
        look=partial(_look_at_node, member),
        member=member,
    )


def chain_height(url: str, engine: Engine) -> int | None:
    """The number of the final block at an endpoint, or None where it does not answer."""
    try:
        with Chain(url, engine, timeout_seconds=LOOK_SECONDS) as chain:
            return chain.final_block().number
    except LedgerError:
        return None


def look_at_chain(url: str, engine: Engine) -> dict[str, Any]:
    """The final block at an endpoint and its time."""
    try:
        with Chain(url, engine, timeout_seconds=LOOK_SECONDS) as chain:
            block = chain.final_block()
    except LedgerError as error:
        return {"note": str(error)}
    return {"final_block": block.number, "final_time": block.time}


def _look_at_node(member: MemberPlace) -> dict[str, Any]:
    """What the node tells its own staff; what it tells everybody, where it has not read the ledger yet."""
    try:
        token = read_token(member.directory / "staff-token")
        client = StaffClient(member.endpoint, token, timeout_seconds=LOOK_SECONDS)
        status = client.get("/staff/status", NodeStatus)
    except CommandError as error:
        readiness = ask_node(member, "/ready")
        problems = readiness.get("problems", ()) if readiness else (error,)
        return _causes([str(problem) for problem in problems])
    replication = status.replication
    return {
        "final_block": status.final_block,
        "final_age_seconds": status.final_age_seconds,
        "peers": sum(peer.ready and peer.calls == "closed" for peer in status.peers),
        "under_replicated": replication.published_under_replicated,
        "missing_here": replication.blocks_missing + replication.wraps_missing,
        **_causes((*status.problems, *status.warnings)),
    }


def _causes(causes: Sequence[str]) -> dict[str, Any]:
    """What ails a part, as a note for machines and one by one for people."""
    return {"note": "; ".join(causes), "causes": tuple(causes)}


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    """The certificates that this machine trusts; reading them takes longer than a request."""
    return ssl.create_default_context()


def ask_node(member: MemberPlace, path: str) -> dict[str, Any] | None:
    """A public document of a node, whatever its status; None where there is no answer."""
    try:
        answer = httpx.get(member.endpoint + path, timeout=LOOK_SECONDS, trust_env=False, verify=_trusted())
        document = answer.json()
    except (httpx.HTTPError, ValueError):
        return None
    return document if isinstance(document, dict) else None
