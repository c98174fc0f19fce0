"""Kubo and PostgreSQL as an operator has them: kept over down and up, back after kill -9, missing when away."""

import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from node_processes import wait_until
from operated_network import CARE, Network, kill

from cli.exit_codes import ExitCode

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, ipfs_binary: Path) -> Iterator[Network]:
    made = Network(
        tmp_path_factory.mktemp("operator") / "network", "--storage", "kubo", "--database", "postgres"
    )
    yield from made.running("--member", f"One={CARE}", "--member", f"Two={CARE}", "--member", "Three=auditor")


def test_status_names_every_part_with_its_kind_and_the_stores_peers(network: Network) -> None:
    parts = network.parts()
    assert {name: part["kind"] for name, part in parts.items()} == {
        "PostgreSQL": "database",
        "One Kubo": "store",
        "Two Kubo": "store",
        "chain": "chain",
        "One": "node",
        "Two": "node",
        "Three": "keys",
    }
    wait_until(
        lambda: {network.parts()[f"{name} Kubo"]["peers"] for name in ("One", "Two")} == {1},
        "they are connected",
    )
    assert all(part["memory_bytes"] > 10**6 for part in parts.values() if part["kind"] != "keys")
    # Each has a log of its own, and no key of its directory is open to others.
    logs = [part["log"] for part in parts.values() if part["log"]]
    assert len(set(logs)) == len(logs)
    assert all(Path(log).exists() for log in logs)


def test_up_after_down_brings_back_everything_and_down_leaves_no_process(network: Network) -> None:
    before = network.newest()
    stopped = network.phr("network", "down").document["stopped"]
    assert stopped[:2] == ["One", "Two"]
    assert set(stopped) == {"One", "Two", "PostgreSQL", "One Kubo", "Two Kubo", "chain"}
    mine = str(network.directory)
    assert not [p for p in psutil.process_iter(["cmdline"]) if mine in " ".join(p.info["cmdline"] or [])]
    assert network.phr("network", "down").document["stopped"] == []
    network.up()
    network.require_ready()
    assert network.newest() == before


@pytest.mark.parametrize("names", [("One Kubo",), ("PostgreSQL",), ("chain",), ("Two",), ()])
def test_up_after_kill_of_a_part_brings_it_back_with_everything(
    network: Network, names: tuple[str, ...]
) -> None:
    network.publish()
    before, parts = network.newest(), network.parts()
    killed = names or tuple(name for name, part in parts.items() if part["pid"])
    kill(*(parts[name]["pid"] for name in killed))
    shown = network.parts()
    assert all(shown[name]["state"] == "stopped" for name in killed)
    network.up()
    network.require_ready()
    assert {name for name, part in network.parts().items() if part["pid"] != parts[name]["pid"]} >= set(
        killed
    )
    assert network.newest() == before


def test_up_with_a_port_taken_names_the_part_its_words_and_its_log_and_starts_the_rest(
    network: Network,
) -> None:
    network.phr("network", "down")
    port = int(network.parts()["Two Kubo"]["endpoint"].rpartition(":")[2])
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        failed = network.up(expect=ExitCode.UNREACHABLE)
    assert "Two Kubo" in failed.line
    assert "address already in use" in failed.line
    assert "kubo.log" in failed.line
    wait_until(
        lambda: {network.parts()[name]["state"] for name in ("One", "One Kubo")} == {"ready"},
        "the rest is ready",
    )
    network.up()
    network.require_ready()


def test_up_with_other_engines_than_it_was_made_with_is_refused(network: Network) -> None:
    refused = network.phr("network", "up", network.directory, "--database", "sqlite", expect=ExitCode.USAGE)
    assert "anvil, kubo, postgres" in refused.line
