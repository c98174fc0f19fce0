"""Starts nodes as processes of their own, quickly: forked from one that has imported everything and done nothing.

Reads lines "DIRECTORY<tab>LOG" from standard input and answers each with the new process's id. What runs is
``node.server.run``, as in ``python -m node``; only the imports were done before. Ends with its standard input; the
nodes go on.
"""

import os
import signal
import sys
from pathlib import Path

from node.server import run


def start(directory: Path, log: Path) -> int:
    """A node's process; returns its id in the parent, and never in the child."""
    process_id = os.fork()
    if process_id:
        return process_id
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        run(directory)
        status = 0
    finally:
        os._exit(status)


def main() -> None:
    # Whoever is killed is gone at once, and needs nobody to wait for it.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        directory, log = line.rstrip("\n").split("\t")
        print(start(Path(directory), Path(log)), flush=True)


if __name__ == "__main__":
    main()
