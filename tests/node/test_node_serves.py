"""A node, from its directory to its answers."""

import time
from collections.abc import Callable
from typing import Any

from lying_endpoint import LyingEndpoint
from node_fixtures import Member, Network

from wire.ledger import LedgerDescription, MembersView
from wire.staff import NodeStatus


def test_health_of_running_node_is_ok(network: Network) -> None:
    answer = network.members[0].call("GET", "/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ready_of_enrolled_node_tells_no_problem(network: Network) -> None:
    well = {"ready": True, "degraded": False, "problems": [], "warnings": []}

    def says_so() -> bool:
        answer = network.members[0].call("GET", "/ready")
        return (answer.status_code, answer.json()) == (200, well)

    # A busy machine may keep the chain or a task waiting for a moment.
    wait_until(says_so)


def test_ready_of_node_whose_other_endpoint_is_away_is_degraded_and_not_red(
    new_network: Callable[..., Network],
) -> None:
    network = new_network()
    member = network.members[0]
    second = LyingEndpoint(network.anvil.url)
    try:
        configuration = member.directory / "node.toml"
        text = configuration.read_text()
        assert text.count(f'"{network.anvil.url}"') == 1
        configuration.write_text(
            text.replace(f'"{network.anvil.url}"', f'"{network.anvil.url}", "{second.url}"')
        )
        member.restart()
        wait_until(lambda: shown(member, "/ready")["degraded"] is False)
        second.down()
        wait_until(lambda: shown(member, "/ready")["degraded"] is True)
        found = member.call("GET", "/ready")
        assert (found.status_code, found.json()["ready"], found.json()["problems"]) == (200, True, [])
        assert any("believed alone" in warning for warning in found.json()["warnings"])
        status = NodeStatus.model_validate_json(member.call("GET", "/staff/status", staff=True).content)
        assert (status.ready, status.degraded) == (True, True)
        assert "phr_degraded 1.0" in member.call("GET", "/metrics", staff=True).text
        second.up()
        wait_until(lambda: shown(member, "/ready")["degraded"] is False)
    finally:
        second.close()


def shown(member: Member, path: str) -> dict[str, Any]:
    """A public document of a node, whatever its status."""
    document: dict[str, Any] = member.call("GET", path).json()
    return document


def wait_until(condition: Callable[[], bool], timeout_seconds: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)


def test_ledger_and_members_of_every_node_agree(network: Network) -> None:
    for member in network.members:
        described = LedgerDescription.model_validate_json(member.call("GET", "/ledger").content)
        assert (described.contract, described.member) == (network.deployment.address, member.address)
        listed = MembersView.model_validate_json(member.call("GET", "/members").content)
        assert {one.name for one in listed.members} == {one.name for one in network.members}
        assert {one.encryption_key for one in listed.members} == {
            one.node.identity.current_encryption_key.public for one in network.members
        }


def test_registration_by_code_reaches_the_ledger_with_its_identifiers(network: Network) -> None:
    seoul = network.members[0]
    patient = network.register(seoul, (("urn:oid:2.16.840", "MRN-1"),))
    state = seoul.call("GET", patient.path, key=patient.key).json()
    assert (state["provider"], state["status"]) == ("0x" + seoul.address.hex(), "active")
    found = seoul.call("GET", "/staff/patients", staff=True, about=("urn:oid:2.16.840", "MRN-1")).json()
    assert [one["patient"] for one in found] == ["0x" + patient.address.hex()]
    assert seoul.node.keyrings.current_keyring(patient.address).digest == patient.keyring.public().digest
