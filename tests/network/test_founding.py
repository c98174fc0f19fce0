"""The setup and the restore of docs/operations/, command by command, with four organisations' real validators."""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from phr_commands import Ran, make_private, run_phr
from records_flow import SYSTEM, bundle, observation

from cli.exit_codes import ExitCode
from engines.binaries import find_binary
from engines.errors import EngineNotBuilt
from ledger.chain import Chain
from ledger.engine import BFT
from ledger.errors import LedgerError
from ledger.ports import free_ports

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]
PROJECT = Path(__file__).parents[2]
NAMES = ("Seoul Hospital", "Busan Hospital", "Hanok Clinic", "Authority")
DEADLINE_SECONDS = 180.0
NOT_ENROLLED = "this member is not enrolled: give enrolment.json to the administrator"
GENESIS_TIME = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
"""In the past, whatever the clock of this machine says: validators wait until it has come."""


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def phr(*words: object, expect: ExitCode = ExitCode.DONE) -> Ran:
    done = run_phr(*words, environment={"COLUMNS": "100"})
    assert done.exit_code == expect, done
    return done


@dataclass
class Organisation:
    """One organisation's machine: only its own directory is ever written by its commands."""

    name: str
    directory: Path
    binary: Path
    ports: list[int]
    process: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        return self.directory / "chain"

    @property
    def rpc(self) -> str:
        return f"http://127.0.0.1:{self.ports[1]}"

    def chain(self, *words: object) -> Any:
        done = subprocess.run(
            [self.binary, *map(str, words)], cwd=self.directory, capture_output=True, text=True, timeout=180
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start(self) -> None:
        with (self.directory / "chain.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "start", "--home", self.home], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def stop(self, *, kill: bool = False) -> None:
        if self.process is not None:
            self.process.kill() if kill else self.process.terminate()
            self.process.wait(60)
            self.process = None

    def height(self) -> int:
        try:
            with Chain(self.rpc, BFT, timeout_seconds=5) as chain:
                return chain.final_block().number
        except LedgerError:
            return -1


@dataclass(frozen=True)
class Consortium:
    """What the organisations agreed on, and their machines."""

    organisations: list[Organisation]
    consortium: Path
    passphrase: Path

    def height(self) -> int:
        return max(one.height() for one in self.organisations)

    def wait_for_blocks(self, count: int) -> None:
        wanted = self.height() + count
        wait_until(lambda: self.height() >= wanted, f"no {count} further blocks")


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    try:
        binary = find_binary(PROJECT, "phr-chain")
    except EngineNotBuilt as error:
        pytest.skip(str(error))
    root = tmp_path_factory.mktemp("founding")
    passphrase = make_private(root / "passphrase", "correct horse battery staple\n")
    ports = free_ports(4 * len(NAMES))
    organisations = [
        Organisation(name, root / name.split()[0], binary, ports[4 * i : 4 * i + 4])
        for i, name in enumerate(NAMES)
    ]
    found = Consortium(organisations, root / "consortium", passphrase)
    try:
        _found(found)
        yield found
    finally:
        for one in organisations:
            one.stop()


def _found(found: Consortium) -> None:
    administrator = phr(
        "admin", "create", found.consortium / "administrator", "--passphrase-file", found.passphrase, "--json"
    ).document["account"]
    # 3. Keys, each on its own machine; the public halves are handed round.
    accounts, identities = [], []
    for one in found.organisations:
        one.directory.mkdir()
        accounts.append(phr("node", "keys", one.directory / "node", "--json").document["account"])
        identities.append(one.chain("init", "--home", one.home, "--name", one.name))
    digests = set()
    for place, one in enumerate(found.organisations):
        # 4. The ceremony: everybody makes the genesis, each with the files in another order.
        handed = [other.home / "validator.json" for other in found.organisations]
        files = [word for path in handed[place:] + handed[:place] for word in ("--validator", path)]
        members = [word for account in accounts[place:] + accounts[:place] for word in ("--member", account)]
        made = one.chain(
            *("genesis", "--chain-id", "phr-1", "--evm-chain-id", 8480, "--genesis-time", GENESIS_TIME),
            *("--administrator", administrator, *members, *files, "--out", "genesis.json"),
        )
        assert made["sha256"] == hashlib.sha256((one.directory / "genesis.json").read_bytes()).hexdigest()
        digests.add(made["sha256"])
        # 5. The others as peers, and nobody else.
        peers = [
            word
            for other, identity in zip(found.organisations, identities, strict=True)
            if other is not one
            for word in ("--peer", f"{identity['node_id']}@127.0.0.1:{other.ports[0]}")
        ]
        configured = one.chain(
            *("configure", "--home", one.home, "--genesis", "genesis.json", *peers),
            *("--p2p-listen", f"127.0.0.1:{one.ports[0]}", "--json-rpc", f"127.0.0.1:{one.ports[1]}"),
            *("--comet-rpc", f"127.0.0.1:{one.ports[2]}"),
        )
        assert configured["genesis_sha256"] == made["sha256"]
    assert len(digests) == 1
    for one in found.organisations:
        one.start()
    wait_until(lambda: min(one.height() for one in found.organisations) > 1, "the chain does not begin")
    # 6. The contract.
    phr(
        *(
            "admin",
            "deploy",
            "--administrator",
            found.consortium / "administrator",
            "--threshold",
            2,
            "--yes",
        ),
        *("--passphrase-file", found.passphrase, "--rpc", found.organisations[0].rpc),
        *("--out", found.consortium / "deployment.json"),
    )


def test_four_organisations_found_a_consortium_with_the_commands_of_the_setup(consortium: Consortium) -> None:
    deployment = consortium.consortium / "deployment.json"
    on_chain = ("--engine", "bft", "--deployment", deployment)
    endpoints = [one.rpc for one in consortium.organisations]
    joined = phr(
        "network", "join", consortium.consortium, "--rpc", endpoints[0], *on_chain, "--json"
    ).document
    assert joined["minimum_threshold"] == 2
    nodes: list[subprocess.Popen[bytes]] = []
    try:
        for place, one in enumerate(consortium.organisations[:3]):
            own_first = [word for url in endpoints[place:] + endpoints[:place] for word in ("--rpc", url)]
            directory, url = one.directory / "node", f"http://127.0.0.1:{one.ports[3]}"
            seen = phr("network", "join", one.directory / "network", *own_first, *on_chain, "--json").document
            assert seen["administrator"] == joined["administrator"]
            phr(
                *("node", "init", directory, "--name", one.name, "--endpoint", url, "--port", one.ports[3]),
                *(*own_first, *on_chain),
            )
            with (one.directory / "node.log").open("ab") as log:
                nodes.append(
                    subprocess.Popen([sys.executable, "-m", "node", directory], stdout=log, stderr=log)
                )
            _wait_for_problems(url, [NOT_ENROLLED])
            phr(
                *(
                    "admin",
                    "enrol",
                    directory / "enrolment.json",
                    "--role",
                    "provider,consumer,custodian",
                    "--yes",
                ),
                *("--network", consortium.consortium, "--passphrase-file", consortium.passphrase),
            )
            _wait_for_problems(url, [])
        listed = phr("admin", "members", "--network", consortium.consortium, "--json").document
        assert [member["name"] for member in listed] == list(NAMES[:3])
        _first_record(consortium, on_chain)
        for one in consortium.organisations[:3]:
            words = (
                "auditor",
                "verify",
                "--member",
                one.name,
                "--network",
                one.directory / "staff",
                "--json",
            )
            verified = phr(*words).document
            assert verified["complete"]
            assert verified["decisions"] == 1
    finally:
        for node in nodes:
            node.terminate()
        assert [node.wait(120) for node in nodes] == [0, 0, 0]


def test_members_and_validators_of_other_machines_come_and_go_by_the_administrators_commands(
    consortium: Consortium, tmp_path: Path
) -> None:
    """docs/operations/changes.md, on the administrator's machine, which runs neither node nor validator."""
    first, leaving = consortium.organisations[0], consortium.organisations[3]
    described, deployment = tmp_path / "consortium", consortium.consortium / "deployment.json"
    on_chain = ("--rpc", first.rpc, "--engine", "bft", "--deployment", deployment)
    phr("network", "join", described, *on_chain)
    shutil.copytree(consortium.consortium / "administrator", described / "administrator")
    decides = (
        # The second must tell the same of the chain as the first.
        *(
            "--comet-rpc",
            ",".join(f"http://127.0.0.1:{one.ports[2]}" for one in consortium.organisations[:2]),
        ),
        *("--network", described),
        *("--passphrase-file", consortium.passphrase, "--yes"),
    )

    def status() -> Any:
        return first.chain("status", "--home", first.home)

    def names() -> set[str]:
        return {
            member["name"] for member in phr("admin", "members", "--network", described, "--json").document
        }

    account = phr("node", "keys", tmp_path / "node", "--json").document["account"]
    endpoint = ("--endpoint", "http://127.0.0.1:1", "--name", "Daegu Clinic")
    phr("node", "init", tmp_path / "node", *endpoint, *on_chain)
    phr("network", "member", "add", tmp_path / "node" / "enrolment.json", "--role", "consumer", *decides)
    assert account in [member.casefold() for member in status()["members"]]
    assert "Daegu Clinic" in names()
    phr("network", "member", "remove", "Daegu Clinic", *decides)
    assert account not in [member.casefold() for member in status()["members"]]

    phr("network", "validator", "remove", leaving.name, *decides)
    wait_until(lambda: len(status()["validators"]) == 3, "the validator keeps its vote")
    phr("network", "validator", "add", leaving.home / "validator.json", *decides)
    wait_until(lambda: len(status()["validators"]) == 4, "the validator gets no vote")
    consortium.wait_for_blocks(3)


def _first_record(consortium: Consortium, on_chain: tuple[object, ...]) -> None:
    """9. A test patient: registered, published at the first hospital, read at the second."""
    seoul, busan = consortium.organisations[:2]
    files, urls = consortium.consortium, [f"http://127.0.0.1:{one.ports[3]}" for one in (seoul, busan)]
    for one in consortium.organisations[:3]:
        node = ("--node", one.directory / "node")
        phr("network", "join", one.directory / "staff", "--rpc", one.rpc, *on_chain, *node)
    token = seoul.directory / "kim.token"
    phr("node", "staff", seoul.directory / "node", "kim", "--role", "records clerk", "--token-file", token)
    wallet = ("--wallet", files / "test.vault", "--passphrase-file", consortium.passphrase)
    phr(
        *("patient", "create", files / "test.vault", "--phrase-file", files / "phrase"),
        *("--passphrase-file", consortium.passphrase, "--node", urls[0], "--node", urls[1]),
    )
    code = phr("patient", "register", "Seoul Hospital", *wallet, "--json").document["code"]
    (files / "bundle.json").write_bytes(bundle("TEST-1", observation(5.4)))
    desk = ("--as", "Seoul", "--patient", f"{SYSTEM}|TEST-1", "--token-file", token)
    phr("hospital", "register", code, *desk, "--network", seoul.directory / "staff")
    phr("hospital", "publish", files / "bundle.json", *desk, "--network", seoul.directory / "staff")
    granted = ("--category", "laboratory", "--for", "7 days", "--introduce", "Test Patient", "--yes")
    phr("patient", "grant", "Busan Hospital", *granted, *wallet)
    read = phr(
        *("member", "read", "--as", "Busan", "--patient", "Test Patient", "--category", "laboratory"),
        *("--network", busan.directory / "staff", "--json"),
    ).document
    [record] = read["records"]
    assert record["reason"] == "PERMITTED"
    assert b"5.4" in base64.b64decode(record["content"])


def _wait_for_problems(url: str, expected: list[str]) -> None:
    wait_until(lambda: _problems(url) == expected, f"{url} does not say {expected}")


def _problems(url: str) -> list[str]:
    try:
        answer = httpx.get(f"{url}/ready", trust_env=False, timeout=5).json()
    except httpx.TransportError as error:
        return [str(error)]
    return list(answer["problems"])


def test_validator_without_its_data_comes_back_under_its_key_with_a_newer_memory(
    consortium: Consortium,
) -> None:
    """docs/operations/backup.md, "Restoring a validator", the second way."""
    lost = consortium.organisations[3]
    consortium.wait_for_blocks(2)
    signed_before = json.loads((lost.home / "data" / "priv_validator_state.json").read_text())
    lost.stop(kill=True)
    shutil.rmtree(lost.home / "data")
    beyond = consortium.height() + 20
    assert beyond > int(signed_before["height"])
    (lost.home / "data").mkdir(mode=0o700)
    state = lost.home / "data" / "priv_validator_state.json"
    make_private(state, json.dumps({"height": str(beyond), "round": 0, "step": 0}))
    lost.start()
    wait_until(lambda: lost.height() >= beyond, "the restored validator does not catch up")
    wait_until(
        lambda: int(json.loads(state.read_text())["height"]) > beyond,
        "the restored validator does not sign again",
    )
    consortium.wait_for_blocks(3)
    with Chain(lost.rpc, BFT) as one, Chain(consortium.organisations[0].rpc, BFT) as other:
        number = min(one.final_block().number, other.final_block().number)
        assert one.block(number).hash == other.block(number).hash
    # Its vote counts: without it and one more there would be no blocks.
    consortium.organisations[0].stop()
    consortium.wait_for_blocks(3)
    consortium.organisations[0].start()
    wait_until(
        lambda: consortium.organisations[0].height() >= consortium.height() - 1, "it does not catch up"
    )


def test_validator_whose_memory_is_missing_does_not_start(consortium: Consortium) -> None:
    """Whoever restores keys without a memory is stopped, not trusted."""
    one = consortium.organisations[2]
    one.stop()
    state = one.home / "data" / "priv_validator_state.json"
    kept = state.read_bytes()
    state.unlink()
    one.start()
    assert one.process is not None
    assert one.process.wait(60) != 0
    make_private(state, kept.decode())
    one.start()
    wait_until(lambda: one.height() >= consortium.height() - 1, "it does not come back")
