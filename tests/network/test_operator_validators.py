"""The whole real network as an operator has it: validators that die, come back, come and go; members that do."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from operated_network import CARE, Network, kill

from cli.exit_codes import ExitCode
from engines import EngineNotBuilt, find_binary

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]
PROJECT = Path(__file__).parents[2]
VALIDATORS = {"One validator", "Two validator", "Three validator", "One validator 2"}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, ipfs_binary: Path) -> Iterator[Network]:
    try:
        find_binary(PROJECT, "phr-chain")
    except EngineNotBuilt as error:
        pytest.skip(str(error))
    directory = tmp_path_factory.mktemp("operator") / "network"
    made = Network(directory, "--engine", "bft", "--storage", "kubo", "--database", "postgres")
    yield from made.running("--member", f"One={CARE}", "--member", f"Two={CARE}", "--member", "Three=auditor")


def of_kind(network: Network, kind: str) -> dict[str, dict[str, Any]]:
    return {name: part for name, part in network.parts().items() if part["kind"] == kind}


def wait_until(holds: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_status_shows_the_height_and_every_validators_peers_power_and_lag(network: Network) -> None:
    shown = network.status()
    assert {"engine": "bft", "validators": 4, "validators_up": 4}.items() <= shown["chain"].items()
    assert shown["chain"]["height"] > 0
    assert shown["chain"]["final_age_seconds"] < 30
    validators = {part["name"]: part for part in shown["parts"] if part["kind"] == "validator"}
    assert set(validators) == VALIDATORS
    assert all(part["voting_power"] == 10 for part in validators.values())
    wait_until(lambda: {part["peers"] for part in of_kind(network, "validator").values()} == {3})
    wait_until(lambda: all(part["lag_blocks"] <= 5 for part in of_kind(network, "node").values()))
    wait_until(lambda: all(part["under_replicated"] == 0 for part in of_kind(network, "node").values()))


def test_validator_that_was_killed_is_shown_the_others_go_on_and_up_brings_it_back(network: Network) -> None:
    before = network.status()["chain"]["height"]
    kill(network.parts()["Three validator"]["pid"])
    network.publish()
    shown = network.status()
    assert (shown["chain"]["validators_up"], shown["chain"]["validators"]) == (3, 4)
    assert shown["chain"]["height"] > before
    assert network.parts()["Three validator"]["state"] == "stopped"
    network.up()
    wait_until(lambda: of_kind(network, "validator")["Three validator"]["lag_blocks"] <= 2)


def test_status_while_two_validators_are_dead_says_that_the_chain_halted_and_up_resumes(
    network: Network,
) -> None:
    validators = of_kind(network, "validator")
    kill(validators["Two validator"]["pid"], validators["Three validator"]["pid"])
    wait_until(lambda: "no block for" in network.parts()["One validator"]["note"])
    # Nodes wait longer for a block before they say that there is none.
    wait_until(lambda: {network.parts()[name]["state"] for name in ("One", "Two")} == {"not ready"})
    began = time.monotonic()
    shown = network.status()
    assert time.monotonic() - began < 30
    states = {part["name"]: part["state"] for part in shown["parts"]}
    assert states["Two validator"] == states["Three validator"] == "stopped"
    assert states["One validator"] == states["One validator 2"] == "not ready"
    assert states["One"] == states["Two"] == "not ready"
    assert shown["chain"]["final_age_seconds"] > 30
    halted = shown["chain"]["height"]
    network.up()
    network.require_ready()
    wait_until(lambda: network.status()["chain"]["height"] > halted)


def test_up_after_kill_of_everything_at_once_brings_back_the_chain_and_every_record(network: Network) -> None:
    before, parts = network.newest(), network.parts()
    height = network.status()["chain"]["height"]
    kill(*(part["pid"] for part in parts.values() if part["pid"]))
    assert network.states() == {"stopped", "keys only"}
    network.up()
    network.require_ready()
    assert network.newest() == before
    assert network.status()["chain"]["height"] >= height
    assert network.phr("auditor", "verify", "--member", "One").document["complete"] is True


def require_started_again(network: Network, before: dict[str, dict[str, Any]]) -> None:
    """The nodes run as other processes than before, with the list of endpoints that is in their settings now."""
    wait_until(lambda: {part["state"] for part in of_kind(network, "node").values()} == {"ready"})
    pids = {name: part["pid"] for name, part in of_kind(network, "node").items()}
    assert all(pids[name] != part["pid"] for name, part in before.items())


def test_validator_that_is_added_votes_and_one_that_is_removed_is_ended(network: Network) -> None:
    asked = network.phr("network", "validator", "add", "Two", expect=ExitCode.USAGE)
    assert "5 would vote, of which 1 may fail" in asked.line
    assert set(of_kind(network, "validator")) == VALIDATORS
    before = of_kind(network, "node")
    assert network.phr("network", "validator", "add", "Two", "--yes").document["validator"] == "two-2"
    require_started_again(network, before)

    def votes_with_all_the_others() -> bool:
        added = of_kind(network, "validator")["Two validator 2"]
        return (added["state"], added["voting_power"], added["peers"]) == ("ready", 10, 4)

    wait_until(votes_with_all_the_others)
    asked = network.phr("network", "validator", "remove", "two-2", expect=ExitCode.USAGE)
    assert "4 validators remain, of which 1 may fail" in asked.line
    before, gone = of_kind(network, "node"), of_kind(network, "validator")["Two validator 2"]["endpoint"]
    network.phr("network", "validator", "remove", "two-2", "--yes")
    require_started_again(network, before)
    # No node asks the endpoint that is gone.
    assert not [part for part in of_kind(network, "node").values() if gone in part["note"]]
    network.publish()
    assert set(of_kind(network, "validator")) == VALIDATORS
    assert (network.directory / "chain" / "validators" / "two-2" / "config").is_dir()
    assert (
        "two-2"
        in network.phr("network", "validator", "remove", "two-2", "--yes", expect=ExitCode.UNREACHABLE).line
    )
    several = network.phr("network", "validator", "remove", "One", "--yes", expect=ExitCode.USAGE)
    assert "one, one-2" in several.line


def test_member_that_is_added_reads_and_one_that_is_removed_is_refused_and_not_waited_for(
    network: Network,
) -> None:
    network.phr("network", "member", "add", f"Four={CARE}", "--yes")
    wait_until(lambda: of_kind(network, "node")["Four"]["state"] == "ready")
    wait_until(lambda: {part["peers"] for part in of_kind(network, "store").values()} == {2})
    address = next(m["address"] for m in network.phr("admin", "members").document if m["name"] == "Four")
    done = network.phr("network", "member", "remove", "Four", "--yes").document
    assert done["member"] == address
    assert done["chain_block"] > done["ledger_block"] > 0
    assert {m["name"]: m["active"] for m in network.phr("admin", "members").document}["Four"] is False
    wait_until(lambda: of_kind(network, "store")["Four Kubo"]["peers"] == 0)
    began = time.monotonic()
    network.phr("network", "down")
    network.up()
    assert time.monotonic() - began < 120
    parts = network.parts()
    assert parts["Four"]["state"] == "suspended"
    wait_until(lambda: network.parts()["One"]["state"] == "ready")
    # What was taken is given back by the same command.
    network.phr("network", "member", "add", f"Four={CARE}", "--yes")
    wait_until(lambda: network.parts()["Four"]["state"] == "ready")
