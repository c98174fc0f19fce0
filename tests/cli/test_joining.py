"""A consortium of two organisations, each with commands of its own machine only, as docs/operations/setup.md has it."""

import json
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from phr_commands import Ran, make_private, run_phr

from cli.exit_codes import ExitCode
from engines.binaries import find_binary
from engines.errors import EngineNotBuilt
from ledger.anvil import Anvil
from ledger.ports import free_ports
from node.config import NodeConfig
from node.node import Node

PROJECT = Path(__file__).parents[2]


def run(*words: object, expect: ExitCode = ExitCode.DONE) -> Ran:
    done = run_phr(*words, environment={"COLUMNS": "100"})
    assert done.exit_code == expect, done
    assert "Traceback" not in done.err
    return done


@contextmanager
def running(directory: Path) -> Iterator[Node]:
    """The node of a directory, as `phr node run` runs it."""
    node = Node(NodeConfig.load(directory))
    node.start()
    try:
        yield node
    finally:
        node.stop()


@dataclass(frozen=True)
class Founded:
    """A chain with a contract that the administrator's machine deployed."""

    anvil: Anvil
    place: Path
    passphrase: Path
    deployment: Path
    account: str

    @property
    def on_chain(self) -> tuple[object, ...]:
        return ("--rpc", self.anvil.url, "--engine", "anvil", "--deployment", self.deployment)

    def admin(self, *words: object, expect: ExitCode = ExitCode.DONE) -> Ran:
        secret = ("--network", self.place, "--passphrase-file", self.passphrase, "--yes")
        return run("admin", *words, *secret, expect=expect)


@pytest.fixture
def founded(anvil: Anvil, tmp_path: Path) -> Founded:
    place, deployment = tmp_path / "consortium", tmp_path / "deployment.json"
    passphrase = make_private(tmp_path / "passphrase", "correct horse battery staple\n")
    made = run("admin", "create", place / "administrator", "--passphrase-file", passphrase, "--json").document
    deployed = run(
        *("admin", "deploy", "--administrator", place / "administrator", "--passphrase-file", passphrase),
        *("--rpc", anvil.url, "--engine", "anvil", "--threshold", 2, "--out", deployment, "--yes", "--json"),
    ).document
    assert deployed["codeHash"] == json.loads(deployment.read_text())["codeHash"]
    return Founded(anvil, place, passphrase, deployment, made["account"])


def _ready(url: str) -> dict[str, Any]:
    return httpx.get(f"{url}/ready", trust_env=False).json()  # type: ignore[no-any-return]


def test_organisations_found_a_consortium_each_on_its_own_machine(founded: Founded, tmp_path: Path) -> None:
    joined = run("network", "join", founded.place, *founded.on_chain, "--json").document
    assert joined["administrator"] == founded.account
    assert joined["minimum_threshold"] == 2
    for name, port in zip(("Seoul Hospital", "Busan Hospital"), free_ports(2), strict=True):
        own = tmp_path / name.split()[0]
        node = own / "node"
        account = run("node", "keys", node, "--json").document["account"]
        endpoint = f"http://127.0.0.1:{port}"
        run("node", "init", node, "--name", name, "--endpoint", endpoint, "--port", port, *founded.on_chain)
        enrolment = json.loads((node / "enrolment.json").read_text())
        assert enrolment["message"]["member"].casefold() == account, "init takes up the keys that were there"
        founded.admin("enrol", node / "enrolment.json", "--role", "provider,consumer,custodian")
        described = run("network", "join", own / "network", *founded.on_chain, "--node", node, "--json")
        assert described.document["members"] == [name]
        with running(node) as started:
            started.ledger.wait_for_block(0, 120)
            deadline = time.monotonic() + 120
            while not _ready(endpoint)["ready"]:
                assert time.monotonic() < deadline, _ready(endpoint)
                # This chain makes no idle blocks, and a node is ready once it saw the head move.
                founded.anvil.mine()
            # Commands of this organisation's machine find its own node, and nobody else's.
            assert run("hospital", "patients", "--as", "Hospital", "--network", own / "network").out
        assert run("auditor", "verify", "--member", name, "--network", own / "network", "--json").document[
            "complete"
        ]
    listed = run("admin", "members", "--network", founded.place, "--json").document
    assert [member["name"] for member in listed] == ["Seoul Hospital", "Busan Hospital"]


def test_administrator_files_are_private_and_never_made_twice(founded: Founded) -> None:
    account = founded.place / "administrator" / "account.json"
    before = account.read_bytes()
    assert stat.S_IMODE(account.stat().st_mode) == 0o600
    again = run(
        *("admin", "create", founded.place / "administrator", "--passphrase-file", founded.passphrase),
        expect=ExitCode.BAD_INPUT,
    )
    assert "is there already" in again.line
    assert account.read_bytes() == before


def test_administrator_is_told_a_public_key_of_its_account(tmp_path: Path) -> None:
    from coincurve import PublicKey

    from ledger.addresses import from_public_key

    passphrase = make_private(tmp_path / "passphrase", "correct horse\n")
    made = run("admin", "create", tmp_path / "a", "--passphrase-file", passphrase, "--json").document
    key = bytes.fromhex(made["public_key"].removeprefix("0x"))
    assert len(key) == 33
    assert "0x" + from_public_key(PublicKey(key).format(compressed=False)).hex() == made["account"]


def test_nothing_is_deployed_where_the_deployment_cannot_be_written(founded: Founded) -> None:
    with founded.anvil.chain() as chain:
        before = chain.transaction_count(bytes.fromhex(founded.account.removeprefix("0x")))
        refused = run(
            *("admin", "deploy", "--administrator", founded.place / "administrator", "--engine", "anvil"),
            *("--passphrase-file", founded.passphrase, "--rpc", founded.anvil.url, "--threshold", 2),
            *("--out", founded.deployment, "--yes"),
            expect=ExitCode.BAD_INPUT,
        )
        assert "exists" in refused.line
        assert chain.transaction_count(bytes.fromhex(founded.account.removeprefix("0x"))) == before


def test_joining_twice_changes_nothing(founded: Founded) -> None:
    run("network", "join", founded.place, *founded.on_chain)
    before = (founded.place / "network.json").read_bytes()
    refused = run("network", "join", founded.place, *founded.on_chain, expect=ExitCode.BAD_INPUT)
    assert "already" in refused.line
    assert (founded.place / "network.json").read_bytes() == before


def test_engine_that_nobody_knows_is_refused_with_those_that_are_known(founded: Founded) -> None:
    words = ("network", "join", founded.place, "--rpc", founded.anvil.url, "--deployment", founded.deployment)
    assert "anvil, bft" in run(*words, "--engine", "geth", expect=ExitCode.USAGE).line


def test_node_with_engines_of_its_own_has_them_in_its_settings(founded: Founded, tmp_path: Path) -> None:
    node = tmp_path / "node"
    secret = make_private(tmp_path / "kubo-secret", "secret\n")
    url = make_private(tmp_path / "database-url", f"sqlite:///{tmp_path / 'elsewhere.db'}\n")
    run(
        *("node", "init", node, "--name", "Seoul", "--endpoint", "https://seoul.example", "--engine", "bft"),
        *("--rpc", "http://127.0.0.1:8545", "--rpc", "https://busan.example:8546"),
        *("--deployment", founded.deployment, "--store", "kubo", "--kubo-url", "http://127.0.0.1:5001"),
        *("--kubo-secret-file", secret, "--database-url-file", url),
    )
    config = NodeConfig.load(node)
    assert config.rpc_urls == ("http://127.0.0.1:8545", "https://busan.example:8546")
    assert (config.engine, config.store, config.kubo_url) == ("bft", "kubo", "http://127.0.0.1:5001")
    assert (config.kubo_secret_file, config.database_url_file) == (secret, url)
    assert (tmp_path / "elsewhere.db").exists()


@pytest.fixture
def ipfs() -> Path:
    try:
        return find_binary(PROJECT, "ipfs")
    except EngineNotBuilt as error:
        pytest.skip(str(error))


def test_custodians_make_their_kubo_with_one_key_and_name_each_other(ipfs: Path, tmp_path: Path) -> None:
    key = tmp_path / "swarm.key"
    first, second = tmp_path / "first", tmp_path / "second"
    run("node", "kubo", first, "--swarm-key", key, "--make-swarm-key", "--listen", "/ip4/127.0.0.1/tcp/4001")
    run("node", "kubo", second, "--swarm-key", key, "--listen", "/ip4/127.0.0.1/tcp/4002", "--rpc-port", 5002)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert (first / "repository" / "swarm.key").read_text() == key.read_text()
    assert (second / "repository" / "swarm.key").read_text() == key.read_text()
    other = json.loads((second / "peer.json").read_text())
    named = run("node", "kubo", first, "--peer", second / "peer.json", "--json").document
    assert named == {"peers": [other["peer_id"]]}
    config = json.loads((first / "repository" / "config").read_text())
    assert config["Peering"]["Peers"] == [{"ID": other["peer_id"], "Addrs": [other["address"]]}]
    # Again, with the same key: nothing is made anew.
    before = (first / "repository" / "config").read_bytes()
    run("node", "kubo", first, "--swarm-key", key)
    assert (first / "repository" / "config").read_bytes() == before


def test_swarm_key_is_never_overwritten_and_never_told(ipfs: Path, tmp_path: Path) -> None:
    key = tmp_path / "swarm.key"
    words = ("node", "kubo", tmp_path / "kubo", "--swarm-key", key, "--make-swarm-key")
    made = run(*words)
    digits = key.read_text().split()[-1]
    assert re.fullmatch("[0-9a-f]{64}", digits)
    assert digits not in made.out + made.err
    refused = run(*words, expect=ExitCode.BAD_INPUT)
    assert "exists" in refused.line
    assert key.read_text().split()[-1] == digits


@pytest.mark.parametrize("text", ["", "/key/swarm/psk/1.0.0/\n/base16/\nabc\n", "x" * 100, "a b " + "g" * 64])
def test_file_that_is_no_swarm_key_is_refused(ipfs: Path, tmp_path: Path, text: str) -> None:
    key = make_private(tmp_path / "swarm.key", text)
    refused = run("node", "kubo", tmp_path / "kubo", "--swarm-key", key, expect=ExitCode.LOCKED)
    assert "no swarm key" in refused.line
    assert not (tmp_path / "kubo").exists()


@pytest.mark.parametrize("text", ["", "[]", '{"peer_id": 1, "address": "/ip4/1"}', '{"peer_id": "a"}'])
def test_file_that_names_no_peer_is_refused(ipfs: Path, tmp_path: Path, text: str) -> None:
    run("node", "kubo", tmp_path / "kubo", "--swarm-key", tmp_path / "key", "--make-swarm-key")
    before = (tmp_path / "kubo" / "repository" / "config").read_bytes()
    (tmp_path / "peer.json").write_text(text)
    run("node", "kubo", tmp_path / "kubo", "--peer", tmp_path / "peer.json", expect=ExitCode.BAD_INPUT)
    assert (tmp_path / "kubo" / "repository" / "config").read_bytes() == before


def _enrolled(founded: Founded, tmp_path: Path, name: str = "Seoul Hospital") -> str:
    run("network", "join", founded.place, *founded.on_chain)
    node = tmp_path / "node"
    run("node", "init", node, "--name", name, "--endpoint", "http://127.0.0.1:1", *founded.on_chain)
    founded.admin("enrol", node / "enrolment.json", "--role", "provider,consumer,custodian")
    return name


def test_administrator_gives_a_member_other_roles(founded: Founded, tmp_path: Path) -> None:
    name = _enrolled(founded, tmp_path)
    founded.admin("roles", name, "--role", "consumer,auditor")
    [listed] = run("admin", "members", "--network", founded.place, "--json").document
    assert set(listed["roles"]) == {"consumer", "auditor"}
    founded.admin("roles", name, "--role", "king", expect=ExitCode.USAGE)


def _successor(founded: Founded, out: Path) -> Path:
    run(
        *("admin", "deploy", "--administrator", founded.place / "administrator", "--engine", "anvil"),
        *("--passphrase-file", founded.passphrase, "--rpc", founded.anvil.url, "--threshold", 3),
        *("--out", out, "--yes"),
    )
    return out


def test_sealed_ledger_names_its_successor_and_enrols_nobody(founded: Founded, tmp_path: Path) -> None:
    name = _enrolled(founded, tmp_path)
    successor = _successor(founded, tmp_path / "successor.json")
    sealed = founded.admin("seal", "--successor", successor, "--json").document
    assert sealed["successor"].casefold() == json.loads(successor.read_text())["address"].casefold()
    refused = founded.admin("seal", "--successor", successor, expect=ExitCode.REFUSED)
    assert "sealed" in refused.line
    # What protects goes on.
    founded.admin("suspend", name)
    again = tmp_path / "again"
    run("node", "init", again, "--name", "Late", "--endpoint", "http://127.0.0.1:2", *founded.on_chain)
    late = founded.admin("enrol", again / "enrolment.json", "--role", "provider", expect=ExitCode.REFUSED)
    assert "use its successor" in late.line


def test_ledger_is_never_sealed_in_favour_of_itself_or_of_what_is_no_ledger(
    founded: Founded, tmp_path: Path
) -> None:
    name = _enrolled(founded, tmp_path)
    founded.admin("seal", "--successor", founded.deployment, expect=ExitCode.BAD_INPUT)
    nowhere = json.loads(founded.deployment.read_text()) | {"address": "0x" + "11" * 20}
    (tmp_path / "nowhere.json").write_text(json.dumps(nowhere))
    founded.admin("seal", "--successor", tmp_path / "nowhere.json", expect=ExitCode.FAILED)
    founded.admin("roles", name, "--role", "consumer")


def test_node_rotates_its_keys_by_command(founded: Founded, tmp_path: Path) -> None:
    _enrolled(founded, tmp_path)
    node = tmp_path / "node"
    before = (node / "keystore").read_bytes()
    rotated = run("node", "rotate", node, "--endpoint", "https://seoul.example", "--json").document
    assert rotated == {"version": 2, "endpoint": "https://seoul.example", "keys_changed": True}
    [listed] = run("admin", "members", "--network", founded.place, "--json").document
    assert (listed["key_version"], listed["endpoint"]) == (2, "https://seoul.example")
    assert (node / "keystore").read_bytes() != before
    run("node", "rotate", node, "--keep-keys", expect=ExitCode.USAGE)
