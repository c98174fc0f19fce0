"""A member's peer: publishes, keeps and releases health records by consent on the ledger, over HTTP.

Start with ``node.py``, the composition root: it makes every service from its collaborators and starts them together.
"""

from node.config import NodeConfig
from node.errors import ConfigurationError, NodeError
from node.initialise import add_staff, end_staff, initialise_node, renew_enrolment
from node.node import Node
from node.server import run

__all__ = [
    "ConfigurationError",
    "Node",
    "NodeConfig",
    "NodeError",
    "add_staff",
    "end_staff",
    "initialise_node",
    "renew_enrolment",
    "run",
]
