"""A node, from its directory to its answers."""

from node_fixtures import Network

from wire.ledger import LedgerDescription, MembersView


def test_health_of_running_node_is_ok(network: Network) -> None:
    answer = network.members[0].call("GET", "/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ready_of_enrolled_node_tells_no_problem(network: Network) -> None:
    answer = network.members[0].call("GET", "/ready")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "problems": [], "warnings": []})


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
