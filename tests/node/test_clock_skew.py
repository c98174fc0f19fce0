"""A node whose machine's clock is ten minutes off: decisions follow the chain's time, and the operator is told."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from node_fixtures import Member, Network
from node_processes import wait_until
from records_flow import Case, observation

SKEWED = """
import datetime, runpy, sys, time
skew_seconds, true_time = float(sys.argv.pop(1)), time.time
time.time = lambda: true_time() + skew_seconds
class Skewed(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds=skew_seconds)
datetime.datetime = Skewed
runpy.run_module("node", run_name="__main__", alter_sys=True)
"""
"""A node of this program on a machine with another clock; its monotonic clock is right, as such clocks are."""


def answers(member: Member) -> dict[str, Any]:
    """What /ready says; nothing while the process does not answer."""
    try:
        found: dict[str, Any] = member.call("GET", "/ready").json()
        return found
    except httpx.HTTPError:
        return {}


def follow(network: Network, member: Member) -> None:
    """Waits until a node in a process of its own is at the chain's final head."""
    number = network.chain.final_block().number

    def reached() -> bool:
        return int(member.call("GET", "/ledger").json()["final"]["number"]) >= number

    wait_until(reached, f"{member.name} at block {number}")


@pytest.mark.parametrize("skew_seconds", [600, -600], ids=["fast", "slow"])
def test_node_ten_minutes_off_works_with_its_peers_by_the_chains_time(
    new_network: Callable[..., Network], skew_seconds: int
) -> None:
    network = new_network()
    provider, skewed, clinic = network.members
    skewed.node.stop()
    command = [sys.executable, "-c", SKEWED, str(skew_seconds), str(skewed.directory)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # A fast one cannot tell its clock from a chain client that lies ten minutes behind: it releases nothing.
        said = "set the clock" if skew_seconds > 0 else "behind the chain's: set it"
        wait_until(lambda: said in str(answers(skewed)), "the node names its clock")
        wait_until(
            lambda: answers(skewed).get("ready") is (skew_seconds < 0),
            "ready only where it does all its work",
        )

        # Its peers take its requests, and it takes theirs and its patients'.
        case = Case.begin(network, provider)
        case.publish(observation(5.4))
        case.grant(skewed)
        follow(network, skewed)
        records = case.read(skewed).records
        assert records
        assert all(record.content for record in records), records
        expired = case.grant(clinic, valid_until=network.now() + 60, deliver=True)
        network.anvil.set_next_block_time(expired.valid_until + 1)
        network.anvil.mine()
        network.wait_for_all()
        assert not any(record.content for record in case.read(clinic).records)

        # What it publishes itself is dated by the chain's time, so others take it into custody and it lands.
        own = Case.begin(network, skewed)
        follow(network, skewed)
        own.publish(observation(6.2))
        follow(network, skewed)
        own.grant(clinic)
        assert all(record.content for record in own.read(clinic).records)
    finally:
        process.terminate()
        process.wait(120)
