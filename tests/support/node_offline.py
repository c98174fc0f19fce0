"""A node that was initialised and never started: for what needs neither chain nor network."""

import json
from pathlib import Path

from crypto.passphrase import PassphraseCost
from ledger.deploy import Deployment
from node.config import NodeConfig
from node.initialise import initialise_node
from node.node import Node
from wire.patients import SignedMessage

CHEAP = PassphraseCost(memory_kib=64, iterations=1, lanes=1, scrypt_n=2)
"""For keystores of tests only."""
NOWHERE = Deployment(b"\x01" * 20, 1, 31337, b"\x02" * 32, b"\x03" * 32)
"""A ledger that nobody deployed."""


def initialise_offline(directory: Path, **changes: object) -> SignedMessage:
    """Initialises a node in ``directory``/node; what ``initialise_node`` returns."""
    deployment = directory / "ledger.json"
    deployment.write_text(json.dumps(NOWHERE.to_json()))
    settings: dict[str, object] = {
        "name": "Seoul Hospital",
        "endpoint": "https://seoul.example",
        "port": 0,
        "rpc_url": "http://127.0.0.1:1",
        "deployment": deployment,
        "cost": CHEAP,
    }
    return initialise_node(directory / "node", **settings | changes)  # type: ignore[arg-type]


def offline_node(directory: Path) -> Node:
    """A node whose parts are all there, of a ledger that is not."""
    initialise_offline(directory)
    return Node(NodeConfig.load(directory / "node"))
