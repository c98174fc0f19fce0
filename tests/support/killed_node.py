"""Runs a node as a process that kills itself (SIGKILL) at a named moment of a publication, or never.

Usage: killed_node.py DIRECTORY STEP MOMENT COUNT. MOMENT is "before" or "after", COUNT which occurrence of the step.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.config import NodeConfig
from node.node import Node
from node.stopwatch import Stopwatch


class KillingStopwatch(Stopwatch):
    """A stopwatch that ends the process when the moment has come."""

    step_name, moment, remaining = "", "", 0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        here = name == self.step_name
        if here and self.moment == "before":
            self._count_down()
        with super().step(name):
            yield
        if here and self.moment == "after":
            self._count_down()

    @classmethod
    def _count_down(cls) -> None:
        cls.remaining -= 1
        if cls.remaining == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    directory, KillingStopwatch.step_name, KillingStopwatch.moment, count = sys.argv[1:]
    KillingStopwatch.remaining = int(count)
    node = Node(NodeConfig.load(Path(directory)), new_stopwatch=KillingStopwatch)
    node.start()
    node.wait_until_ready(90)
    seen = node.ledger.wait_for_block(0, 90)
    node.ledger.wait_for_block(seen.final.number + 1, 90)
    print("ready", flush=True)
    node.ended.wait()


if __name__ == "__main__":
    main()
