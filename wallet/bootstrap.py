"""Meeting a network for the first time: which ledger is it, and which members' nodes say so."""

from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from wallet.agreement import QUORUM, agree
from wallet.content import KnownNode
from wallet.directory import Directory, comparable_members
from wallet.errors import NodeError, NodesDisagree, TooFewNodes
from wallet.nodes import NodeClient, describe_ledger
from wallet.pin import Pin
from wallet.transport import NodeTransport
from wire.ledger import LedgerDescription

_NO_MEMBER = bytes(20)


@dataclass(frozen=True, slots=True)
class Network:
    """A ledger, and the nodes that the wallet met there."""

    pin: Pin
    nodes: tuple[KnownNode, ...]


def meet(urls: Sequence[str], http: httpx.Client) -> Network:
    """What nodes of at least two members say alike of their ledger.

    Which ledger is the right one nobody can say at first sight: the person chose these nodes. From here on the
    wallet is bound to it.

    Raises:
        TooFewNodes: fewer than two different members answered.
        NodesDisagree: they follow different ledgers.
    """
    urls = tuple(dict.fromkeys(url.strip().rstrip("/") for url in urls))
    transports = [NodeTransport(url, _NO_MEMBER, url, http) for url in urls]
    met: dict[bytes, tuple[str, LedgerDescription]] = {}
    failures = []
    for url, answer in zip(urls, _describe_all(transports), strict=True):
        if isinstance(answer, NodeError):
            failures.append(str(answer))
        else:
            met.setdefault(answer.member, (url, answer))
    if len(met) < QUORUM:
        raise TooFewNodes(
            f"expected nodes of {QUORUM} different members; came {len(met)} ({'; '.join(failures) or 'no more given'})"
        )
    sides: dict[Pin, list[str]] = {}
    for url, description in met.values():
        sides.setdefault(Pin.of(description), []).append(url)
    if len(sides) > 1:
        groups = tuple(tuple(side) for side in sides.values())
        shown = " | ".join(" and ".join(side) for side in groups)
        raise NodesDisagree("the ledger", groups, f"these nodes follow different ledgers: {shown}")
    nodes = tuple(KnownNode(url=url, member=member, name=url) for member, (url, _) in met.items())
    return Network(next(iter(sides)), nodes)


def clients_of(network: Network, http: httpx.Client) -> list[NodeClient]:
    """Clients of the nodes that were met, and of every other active member that two of them agree on."""
    clients = [NodeClient(node.url, node.member, node.name, http, network.pin) for node in network.nodes]
    directory = Directory.of(agree(clients, NodeClient.members, comparable_members, "the members").view)
    named = [
        NodeClient(member.endpoint, member.address, member.name, http, network.pin)
        for member in directory.members
        if member.active
    ]
    met = {node.member for node in network.nodes}
    return sorted(named, key=lambda client: client.member not in met)


def _describe_all(transports: Sequence[NodeTransport]) -> list[LedgerDescription | NodeError]:
    answers: list[LedgerDescription | NodeError] = []
    for transport in transports:
        try:
            answers.append(describe_ledger(transport))
        except NodeError as error:
            answers.append(error)
    return answers
