"""Runs a node whose database is on a small file system of its own, which can be filled and freed.

Usage: unshare --mount … small_disk.py sqlite|postgres DIRECTORY MOUNT_POINT MEBIBYTES

DIRECTORY is a node's that does not run; it is copied to the small disk (sqlite) or used where it is, with a new
database of PostgreSQL there. Says one JSON document a line, and does what lines on standard input say: fill, free,
check, stop. The file system is a tmpfs of this mount namespace: it ends with the process, whatever ends it.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from engines.postgres import PostgresServer
from engines.postgres_cluster import create_cluster
from node.config import NodeConfig
from node.initialise import add_staff
from node.local_verify import local_check
from node.logs import configure_logs
from node.node import Node

STAFF = ("disk-watcher", "operator")


class SmallDisk:
    """The file system, what fills it, and what lies on it."""

    def __init__(self, kind: str, directory: Path, mount_point: Path, mebibytes: int) -> None:
        options = f"size={mebibytes}m,mode=0711"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(mount_point)], check=True)
        self._place, self._filler = mount_point, mount_point / "filler"
        self._origin = directory
        self._server: PostgresServer | None = None
        # The reserve that blocks and deposits keep free would refuse before the database has to.
        os.environ["PHR_NODE_FREE_DISK_BYTES"] = "0"
        if kind == "postgres":
            self._server = create_cluster(mount_point / "postgres")
            assert self._server.directory.is_relative_to(mount_point)
            self._server.start()
            os.environ["PHR_NODE_DATABASE_URL"] = self._server.create_database(
                "node", mount_point / "node.pgpass"
            )
            self.directory = directory
        else:
            self.directory = mount_point / "node"
            shutil.copytree(directory, self.directory)

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        self._filler.unlink()
        if self._server is not None:
            # PostgreSQL ends itself where it cannot write its log; whoever supervises it starts it again.
            self._server.start()

    def check(self) -> str:
        """What the database says of its own soundness: "ok"."""
        if self._server is None:
            with closing(sqlite3.connect(self.directory / "node.db")) as connection:
                return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
        checked = self._server.run(
            "pg_amcheck",
            "-h",
            str(self._server.socket_directory),
            "--install-missing",
            "--heapallindexed",
            "node",
        )
        return checked.strip() or "ok"

    def end(self) -> None:
        if self._server is not None:
            self._server.stop()
        else:
            shutil.copytree(self.directory, self._origin, dirs_exist_ok=True)


def say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


def main() -> None:
    kind, directory, mount_point, mebibytes = sys.argv[1:]
    configure_logs()  # to standard error: standard output is for the test
    disk = SmallDisk(kind, Path(directory), Path(mount_point), int(mebibytes))
    node = Node(NodeConfig.load(disk.directory))
    token = add_staff(disk.directory, *STAFF)
    node.start()
    node.wait_until_ready(90)
    seen = node.ledger.wait_for_block(0, 90)
    node.ledger.wait_for_block(seen.final.number + 1, 90)
    say(ready=True, token=token)
    for line in sys.stdin:
        match line.strip():
            case "fill":
                disk.fill()
                say(full=shutil.disk_usage(mount_point).free)
            case "free":
                disk.free()
                say(free=shutil.disk_usage(mount_point).free)
            case "check":
                snapshot = node.ledger.snapshot()
                block = node.chain.block(snapshot.final.number)
                divergence = local_check(disk.directory)(snapshot.state, block)
                say(check=disk.check(), divergence=None if divergence is None else str(divergence))
            case "stop":
                break
    alive = not node.ended.is_set()
    node.stop()
    disk.end()
    say(ended=True, alive=alive)


if __name__ == "__main__":
    main()
