"""Members' nodes on four validators: the whole story plays; a halted chain is said so and leaves nothing half-done."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from node_fixtures import Member, Network, start_network
from node_processes import wait_until
from records_flow import Case, bundle, observation

from ledger.engine import BFT
from node.asking import FINAL_SECONDS
from wire.staff import Publication

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Three members whose nodes follow four validators."""
    running = start_network(tmp_path_factory.mktemp("bft-nodes"), engine=BFT)
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def _all_run(network: Network) -> None:
    network.validators.start()
    for member in network.members:
        wait_until(lambda member=member: ready(member)["ready"], f"{member.name} is ready")  # type: ignore[misc]


def ready(member: Member) -> dict[str, Any]:
    found: dict[str, Any] = member.call("GET", "/ready").json()
    return found


def published(member: Member) -> int:
    """How many records are on the ledger, as a member sees it."""
    return len(member.node.ledger.snapshot().state.records)


def test_publish_grant_read_and_revoke_on_validators(network: Network) -> None:
    case, reader = Case.begin(network), network.members[1]
    publication = case.publish(observation(5.4))
    terms = case.grant(reader)
    answer = case.read(reader)
    assert [record.failure for record in answer.records] == [None] * len(publication.records)
    assert all(record.content for record in answer.records)
    case.revoke(terms)
    refused = case.read(reader)
    assert not any(record.content for record in refused.records)


def test_one_validator_killed_nodes_stay_ready_work_and_name_it(network: Network) -> None:
    case, reader = Case.begin(network), network.members[1]
    case.grant(reader)
    network.validators.kill(0)
    case.publish(observation(6.1))
    assert all(record.content for record in case.read(reader).records)
    for member in network.members:
        found = ready(member)
        assert found["ready"], found
        assert any(network.validators.rpc_urls[0] in warning for warning in found["warnings"]), found
    network.validators.restart(0)
    for member in network.members:
        wait_until(
            lambda member=member: not ready(member)["warnings"],  # type: ignore[misc]
            f"{member.name} goes back to the validator",
        )


def test_two_validators_killed_nodes_say_so_and_leave_nothing_half_done(network: Network) -> None:
    case, reader = Case.begin(network), network.members[1]
    case.publish(observation(5.0))
    case.grant(reader)
    accesses = len(reader.node.ledger.accesses_of(case.patient.address))
    records = published(reader)
    network.validators.kill(2, 3)
    for member in network.members:
        wait_until(lambda member=member: not ready(member)["ready"], f"{member.name} says so")  # type: ignore[misc]
        answer = member.call("GET", "/ready")
        assert answer.status_code == 503
        assert any("has not advanced" in problem for problem in answer.json()["problems"]), answer.text
    began = time.monotonic()
    asked = case.ask(reader)
    assert asked.status_code == 503, asked.text
    assert asked.json()["code"] == "chain-halted"
    refused = case.post_bundle(bundle(case.number, observation(7.7)))
    assert refused.status_code == 503, refused.text
    assert refused.json()["code"] == "chain-halted"
    assert time.monotonic() - began < FINAL_SECONDS, "a refusal needs no patience"
    assert reader.node.outbox.pending() == []
    assert case.provider.node.outbox.pending() == []
    network.validators.launch(2)
    network.validators.restart(3)
    network.validators.wait_until_answers(2)
    for member in network.members:
        wait_until(lambda member=member: ready(member)["ready"], f"{member.name} works again")  # type: ignore[misc]
    assert len(reader.node.ledger.accesses_of(case.patient.address)) == accesses
    assert published(reader) == records
    assert all(record.content for record in case.read(reader).records)
    assert len(reader.node.ledger.accesses_of(case.patient.address)) == accesses + 1
    case.publish(observation(7.7))
    assert published(reader) == records + 1


def test_halt_in_the_middle_of_publishing_completes_it_once(network: Network) -> None:
    """The chain halts before the node can notice: what was begun is queued, and completes when the chain resumes."""
    case = Case.begin(network)
    case.publish(observation(4.1))
    records = published(case.provider)
    content = bundle(case.number, observation(4.2))
    network.validators.kill(2, 3)
    with ThreadPoolExecutor(1) as pool:
        posting = pool.submit(case.post_bundle, content)
        wait_until(lambda: bool(case.provider.node.outbox.pending()), "the publication's transaction waits")
        network.validators.launch(2)
        network.validators.restart(3)
        network.validators.wait_until_answers(2)
        answer = posting.result()
    assert answer.status_code == 200, answer.text

    def complete() -> bool:
        return published(case.provider) == records + 1 and not case.provider.node.outbox.pending()

    wait_until(complete, "the publication that was begun is on the ledger")
    again = case.post_bundle(content)
    assert again.status_code == 200, again.text
    assert Publication.model_validate_json(again.content).records
    network.wait_for_all()
    assert published(case.provider) == records + 1
