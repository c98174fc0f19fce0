"""The embedded chain: one Anvil process on a free loopback port, with its state kept in one directory.

For demonstrations and tests. Any local process can forge this chain's state through Anvil's own methods: it makes no
integrity promise. Gas costs nothing, and idle blocks are mined so that time goes on.
"""

import gzip
import os
import platform
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from ledger.blocks import data
from ledger.chain import Chain
from ledger.engine import ANVIL
from ledger.errors import ChainUnreachable, EngineFailed
from ledger.ports import free_ports

CHAIN_ID = 31337
BLOCK_GAS = 1_000_000_000
STATE_FILE = "state.json"
GENESIS_TIME_FILE = "genesis-time"
LOG_FILE = "anvil.log"
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 10.0
_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
PORT_ATTEMPTS = 5


def find_anvil(node_modules: Path) -> Path:
    """Anvil's binary inside the npm package for this operating system and processor.

    Raises:
        EngineFailed: it is not installed; the message says how to install it.
    """
    package = f"anvil-{platform.system().lower()}-{_MACHINES.get(platform.machine(), platform.machine())}"
    binary = node_modules / "@foundry-rs" / package / "bin" / "anvil"
    if not binary.is_file():
        raise EngineFailed(f"no Anvil at {binary}: install it with npm, package @foundry-rs/{package}")
    return binary


class Anvil:
    """One Anvil process; a context manager that starts it, saves its state and ends it.

    Attributes:
        directory: Where its state, its log and its cache are.
        block_seconds: Seconds between blocks, idle ones too; None mines only when there are transactions.
        genesis_time: POSIX seconds of block 0 of a chain that starts anew; None is now.
    """

    def __init__(
        self,
        directory: Path,
        *,
        binary: Path,
        port: int = 0,
        chain_id: int = CHAIN_ID,
        block_seconds: float | None = 1.0,
        genesis_time: int | None = None,
        hardfork: str = "cancun",
    ) -> None:
        self.directory = directory
        self.block_seconds = block_seconds
        self._binary = binary
        self._port = port
        self._chain_id = chain_id
        self._genesis_time = genesis_time
        self._hardfork = hardfork
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Anvil":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The JSON-RPC address; the port stays the same while the object lives, also over a restart."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Starts the process, from the saved state where there is one, and waits until it answers.

        Raises:
            EngineFailed: it ended by itself, or did not answer in time; the message has its own last words.
        """
        if self._process is not None:
            raise EngineFailed("this Anvil already runs: stop it first")
        self.directory.mkdir(parents=True, exist_ok=True)
        pinned = self._port != 0
        for attempt in range(1 if pinned else PORT_ATTEMPTS):
            if not pinned:
                (self._port,) = free_ports(1)
            elif _is_taken(self._port):
                raise EngineFailed(f"Anvil did not start: another process listens on port {self._port}")
            try:
                self._launch()
                return
            except EngineFailed:
                if pinned or attempt == PORT_ATTEMPTS - 1:
                    raise

    def _keep_one_genesis(self) -> None:
        """Leaves only the first genesis block in the saved state.

        Each start of Anvil makes a block 0 of its own before it loads the saved blocks, and saves both; with two of
        them in the file, which one the next start takes is chance.
        """
        state_path, time_path = self.directory / STATE_FILE, self.directory / GENESIS_TIME_FILE
        if not state_path.exists() or not time_path.exists():
            return
        state = orjson.loads(state_path.read_bytes())
        first = int(time_path.read_text())
        kept = [
            block
            for block in state["blocks"]
            if int(block["header"]["number"], 16) or int(block["header"]["timestamp"], 16) == first
        ]
        if len(kept) < len(state["blocks"]):
            _replace(state_path, orjson.dumps({**state, "blocks": kept}))

    def _launch(self) -> None:
        self._keep_one_genesis()
        log_path = self.directory / LOG_FILE
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                self._command(),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={"HOME": str(self.directory), "PATH": os.defpath},
                start_new_session=True,
            )
        self._process = process
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        with self.chain(timeout_seconds=START_TIMEOUT_SECONDS) as chain:
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    chain.chain_id()
                except ChainUnreachable:
                    time.sleep(0.005)
                    continue
                # Another process may own the port: then ours ends, having failed to bind it.
                if process.poll() is None:
                    time_path = self.directory / GENESIS_TIME_FILE
                    if not time_path.exists():
                        _replace(time_path, str(chain.block(0).time).encode())
                    return
        self._end()
        raise EngineFailed(f"Anvil did not start: {log_path.read_text(errors='replace')[-500:].strip()}")

    def stop(self) -> None:
        """Saves the state and ends the process; does nothing when it does not run."""
        if self._process is None:
            return
        try:
            if self._process.poll() is None:
                self.save()
        finally:
            self._end()

    def kill(self) -> None:
        """Ends the process at once, as a power cut would: what was not saved is lost."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def save(self) -> None:
        """Writes the chain's whole state to the directory, atomically (Anvil's own writing is not).

        Raises:
            ChainUnreachable: the process does not answer.
        """
        with self.chain() as chain:
            state = gzip.decompress(data(chain.request("anvil_dumpState")))
        _replace(self.directory / STATE_FILE, state)

    def chain(self, *, timeout_seconds: float = 60.0) -> Chain:
        """A client of this chain; the caller closes it."""
        return Chain(self.url, ANVIL, timeout_seconds=timeout_seconds)

    def mine(self, blocks: int = 1) -> None:
        """Mines blocks at once."""
        self._ask("anvil_mine", [hex(blocks)])

    def set_next_block_time(self, time_seconds: int) -> None:
        """Sets the POSIX time of the next block, which must lie after the latest block's."""
        self._ask("evm_setNextBlockTimestamp", [hex(time_seconds)])

    def _ask(self, method: str, parameters: list[Any]) -> None:
        with self.chain() as chain:
            chain.request(method, parameters)

    def _command(self) -> list[str]:
        options: Mapping[str, object | None] = {
            "--port": self._port,
            "--chain-id": self._chain_id,
            "--hardfork": self._hardfork,
            "--gas-limit": BLOCK_GAS,
            "--gas-price": 0,
            "--block-base-fee-per-gas": 0,
            "--accounts": 0,
            "--cache-path": self.directory / "cache",
            "--block-time": self.block_seconds,
            "--timestamp": self._genesis_time,
        }
        state = self.directory / STATE_FILE
        loading = ["--load-state", str(state)] if state.exists() else []
        mixed = ["--mixed-mining"] if self.block_seconds is not None else []
        given = [text for name, value in options.items() if value is not None for text in (name, str(value))]
        switches = [
            "--quiet",
            "--disable-min-priority-fee",
            "--no-cors",
            "--no-request-size-limit",
            *mixed,
            *loading,
        ]
        return [str(self._binary), *given, *switches]

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        # Connections of an Anvil that just stopped may linger; only a listener is in the way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def _replace(path: Path, content: bytes) -> None:
    """Puts a file in place whole: a crash leaves the old one or the new one."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
