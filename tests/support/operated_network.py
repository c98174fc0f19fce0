"""A network as an operator has it: one directory, its commands, and kill -9."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from node_processes import wait_until
from phr_commands import Ran, run_phr
from records_flow import SYSTEM, bundle, observation

from cli.exit_codes import ExitCode
from engines.postgres_cluster import remove_cluster

CARE = "provider,consumer,custodian"
NUMBER = "12345"


class Network:
    """A network of one directory, by its commands."""

    def __init__(self, directory: Path, *engines: str) -> None:
        self.directory = directory
        self.engines = engines
        self.files = directory.parent / "files"
        self.files.mkdir()
        self.passphrase = self.files / "passphrase"
        self.passphrase.touch(mode=0o600)
        self.passphrase.write_text("correct horse battery staple\n")

    def phr(self, *words: object, expect: int = 0) -> Ran:
        known = {"PHR_NETWORK": str(self.directory), "PHR_PASSPHRASE_FILE": str(self.passphrase)}
        done = run_phr(*words, "--json", environment=known)
        assert done.exit_code == expect, done
        return done

    def running(self, *members: str) -> "Iterator[Network]":
        """Makes it, with a patient at One who has a record; stops it and takes away what lies elsewhere."""
        try:
            self.phr("network", "up", self.directory, *self.engines, *members)
            self.phr("patient", "create", "minji", "--phrase-file", self.files / "phrase")
            ticket = self.phr("patient", "register", "One", "--wallet", "minji").document
            self.phr("hospital", "register", ticket["code"], "--as", "One", "--patient", f"{SYSTEM}|{NUMBER}")
            self.publish()
            yield self
        finally:
            run_phr("network", "down", self.directory)
            if (self.directory / "postgres").exists():
                remove_cluster(self.directory / "postgres")

    def up(self, *, expect: int = 0) -> Ran:
        return self.phr("network", "up", self.directory, *self.engines, expect=expect)

    def status(self) -> Any:
        """How the network is; the exit code says whether something does not work."""
        done = run_phr("network", "status", self.directory, "--json")
        broken = {part["state"] for part in done.document["parts"]} & {"stopped", "not ready"}
        assert done.exit_code == (ExitCode.UNREACHABLE if broken else ExitCode.DONE), done
        return done.document

    def parts(self) -> dict[str, dict[str, Any]]:
        return {part["name"]: part for part in self.status()["parts"]}

    def states(self) -> set[str]:
        return {part["state"] for part in self.parts().values()}

    def require_ready(self) -> None:
        """All parts are ready; a busy machine may keep one from saying so for a moment."""
        wait_until(lambda: self.states() == {"ready", "keys only"}, "all parts are ready")

    def publish(self) -> None:
        bundle_file = self.files / f"bundle-{len(list(self.files.iterdir()))}.json"
        bundle_file.write_bytes(bundle(NUMBER, observation(float(len(list(self.files.iterdir()))))))
        self.phr("hospital", "publish", bundle_file, "--as", "One", "--patient", f"{SYSTEM}|{NUMBER}")

    def newest(self) -> tuple[int, Any]:
        """How many records the patient sees, and what she reads of the newest."""
        records = self.phr("patient", "records", "--wallet", "minji").document
        opened = self.phr("patient", "read", records[0]["record_id"], "--wallet", "minji").document
        return len(records), opened["content"]


def kill(*pids: object) -> None:
    for pid in pids:
        process = psutil.Process(int(str(pid)))
        children = process.children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
        # PostgreSQL's others end by themselves when their first process is gone.
        psutil.wait_procs(children, 60)
