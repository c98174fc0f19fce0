"""Running a node as a process of its own, until it is told to end or cannot go on."""

import gc
import signal
from pathlib import Path

import structlog

from node.config import NodeConfig
from node.logs import configure_logs
from node.node import Node

_log = structlog.get_logger("node.server")


def run(directory: Path) -> None:
    """Runs the node of a directory; returns after SIGTERM or SIGINT. Logs go to standard error, as JSON lines.

    Raises:
        ConfigurationError, crypto.KeyfileError: the node cannot start.
        Exception: what made it impossible to go on, such as ``ledger.ChainReplaced``.
    """
    configure_logs()
    node = Node(NodeConfig.load(directory))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: node.ended.set())
    try:
        node.start()
        # What start-up made stays: the collector need not walk it each time that a bundle makes many objects.
        gc.collect()
        gc.freeze()
        _log.info("listening", host=node.config.host, port=node.port, member="0x" + node.address.hex())
        node.ended.wait()
    finally:
        node.stop()
    _log.info("ended")
    if node.failed is not None:
        raise node.failed
