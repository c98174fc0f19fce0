"""The consortium's chain as processes of this machine: validators, each with its own directory, keys, ports and log.

Made by ``engines.bft_ceremony``. No key leaves its directory (0700; key files 0600).

<directory>/chain.json                     the validators, written last
<directory>/validators/<name>/             one validator: config/ (keys, genesis), data/, validator.json, chain.log
"""

import os
import re
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil

from engines.errors import EngineFailed, EnginesError
from engines.processes import Background, wait_for
from ledger.chain import Chain
from ledger.engine import BFT
from ledger.errors import LedgerError

DESCRIPTION_FILE = "chain.json"
START_SECONDS = 90.0
_COMMAND_SECONDS = 60.0
_DESCRIPTION_BYTES = 1024 * 1024
_NOT_OF_A_SLUG = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class ValidatorPlace:
    """One validator on this machine.

    Attributes:
        directory: Its home: keys, configuration, data and log.
        name: Its name in the genesis.
        node_id: The address (40 hexadecimal digits) of its connection key.
        p2p_port, json_rpc_port, comet_rpc_port: Where it listens on 127.0.0.1: for the other validators, for Ethereum
            JSON-RPC, and for ``phr-chain status``, ``propose`` and ``submit``.
    """

    directory: Path
    name: str
    node_id: str
    p2p_port: int
    json_rpc_port: int
    comet_rpc_port: int

    @property
    def rpc_url(self) -> str:
        """Its Ethereum JSON-RPC endpoint."""
        return f"http://127.0.0.1:{self.json_rpc_port}"

    @property
    def background(self) -> Background:
        """Its process."""
        return Background(self.directory, "chain")

    def height(self, timeout_seconds: float = 5.0) -> int | None:
        """Its latest block, which is final; None while it does not answer."""
        try:
            with Chain(self.rpc_url, BFT, timeout_seconds=timeout_seconds) as chain:
                return chain.final_block().number
        except LedgerError:
            return None


@dataclass(frozen=True, slots=True)
class BftChain:
    """A chain whose validators all run on this machine; read from its directory by :func:`open_chain`."""

    directory: Path
    binary: Path
    chain_id: str
    evm_chain_id: int
    genesis_sha256: str
    validators: tuple[ValidatorPlace, ...]

    @property
    def rpc_urls(self) -> tuple[str, ...]:
        """The validators' JSON-RPC endpoints."""
        return tuple(validator.rpc_url for validator in self.validators)

    def start(self) -> None:
        """Starts every validator that does not run, and waits until each of them answers.

        Raises:
            EngineFailed: one ended, or does not answer in time; with its last words.
        """
        for index in range(len(self.validators)):
            self.launch(index)
        for index in range(len(self.validators)):
            self.wait_until_answers(index)

    def launch(self, index: int) -> psutil.Process:
        """Starts one validator, if it does not run, without waiting for it."""
        validator = self.validators[index]
        command = [str(self.binary), "start", "--home", str(validator.directory)]
        return validator.background.start(command, _environment(validator.directory))

    def wait_until_answers(self, index: int, timeout_seconds: float = START_SECONDS) -> None:
        """Waits until one validator answers; raises EngineFailed."""
        validator = self.validators[index]
        wait_for(
            validator.background,
            lambda: validator.height() is not None,
            timeout_seconds,
            f"validator {validator.name}",
        )

    def restart(self, index: int) -> None:
        """Starts one validator again and waits until it answers; raises EngineFailed."""
        self.launch(index)
        self.wait_until_answers(index)

    def stop(self, index: int | None = None) -> list[str]:
        """Ends one validator cleanly, or all; the names of those that ran."""
        chosen = self.validators if index is None else (self.validators[index],)
        running = [
            (validator, process)
            for validator in chosen
            if (process := validator.background.process()) is not None
        ]
        for _, process in running:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        for validator in chosen:
            validator.background.stop()
        return [validator.name for validator, _ in running]

    def kill(self, *indices: int) -> None:
        """Ends validators at once, as a power cut would; all of them when none is named."""
        chosen = [self.validators[index] for index in indices] or list(self.validators)
        processes = [process for one in chosen if (process := one.background.process()) is not None]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for process in processes:
            process.wait()

    def heights(self) -> list[int | None]:
        """The latest block of each validator; None for one that does not answer."""
        return [validator.height() for validator in self.validators]

    def wait_for_height(
        self, number: int, timeout_seconds: float = 60.0, indices: Sequence[int] | None = None
    ) -> None:
        """Waits until validators (all, unless some are named) have a block.

        Raises:
            EngineFailed: one has not got there in time, or does not answer.
        """
        chosen = range(len(self.validators)) if indices is None else indices
        deadline = time.monotonic() + timeout_seconds
        for index in chosen:
            while (height := self.validators[index].height()) is None or height < number:
                if time.monotonic() > deadline:
                    validator = self.validators[index]
                    raise EngineFailed(
                        f"validator {validator.name} is at block {height}, and not at {number} after "
                        f"{timeout_seconds:.0f} s (log: {validator.background.log_path})"
                    )
                time.sleep(BFT.poll_seconds)

    def status(self, index: int) -> dict[str, Any]:
        """What ``phr-chain status`` says of one running validator; raises EngineFailed."""
        home = self.validators[index].directory
        return run_program(self.binary, home, "status", "--home", str(home))


def open_chain(directory: Path, binary: Path) -> BftChain:
    """A chain from its directory, running or not.

    Raises:
        EnginesError: there is none, or its description cannot be read.
    """
    path = directory / DESCRIPTION_FILE
    try:
        with path.open("rb") as file:
            found = orjson.loads(file.read(_DESCRIPTION_BYTES))
        validators = tuple(
            ValidatorPlace(
                directory / entry["directory"],
                str(entry["name"]),
                str(entry["node_id"]),
                int(entry["p2p_port"]),
                int(entry["json_rpc_port"]),
                int(entry["comet_rpc_port"]),
            )
            for entry in found["validators"]
        )
        return BftChain(
            directory,
            binary,
            str(found["chain_id"]),
            int(found["evm_chain_id"]),
            str(found["genesis_sha256"]),
            validators,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnginesError(f"expected a chain's description in {path}: {error}") from error


def describe_chain(chain: BftChain) -> bytes:
    """The content of ``chain.json``: what :func:`open_chain` reads."""
    return orjson.dumps(
        {
            "chain_id": chain.chain_id,
            "evm_chain_id": chain.evm_chain_id,
            "genesis_sha256": chain.genesis_sha256,
            "validators": [
                {
                    "name": validator.name,
                    "directory": str(validator.directory.relative_to(chain.directory)),
                    "node_id": validator.node_id,
                    "p2p_port": validator.p2p_port,
                    "json_rpc_port": validator.json_rpc_port,
                    "comet_rpc_port": validator.comet_rpc_port,
                }
                for validator in chain.validators
            ],
        },
        option=orjson.OPT_INDENT_2,
    )


def run_program(binary: Path, home: Path, *arguments: str) -> dict[str, Any]:
    """One command of the program, by the JSON document that it prints."""
    try:
        done = subprocess.run(
            [str(binary), *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_COMMAND_SECONDS,
            env=_environment(home),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineFailed(f"{binary.name} {arguments[0]} could not be run: {error}") from error
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip()[-1000:]
        raise EngineFailed(f"{binary.name} {arguments[0]} failed for {home}: {words}")
    try:
        document = orjson.loads(done.stdout)
    except orjson.JSONDecodeError as error:
        raise EngineFailed(f"{binary.name} {arguments[0]} did not print a JSON document") from error
    if not isinstance(document, dict):
        raise EngineFailed(f"{binary.name} {arguments[0]} did not print a JSON object")
    return document


def _environment(home: Path) -> dict[str, str]:
    """Nothing of this process's environment: what a validator reads lies in its home."""
    return {"HOME": str(home), "PATH": os.defpath}


def slug_of(name: str) -> str:
    """A validator's folder: its name in lower case, letters of every script and digits."""
    return _NOT_OF_A_SLUG.sub("-", name.lower()).strip("-")
