"""Publishing and reading while custodians are down, keyrings rotate, and deadlines pass."""

import time
from collections.abc import Callable

import httpx
import pytest
from node_fixtures import HOSPITAL, Network, TestPatient
from records_flow import Case, bundle, observation

from crypto.envelope import Header
from ledger.messages import KeyringRotation
from vocabulary import Category, Reason
from wire.staff import Publication


def wait_until(condition: Callable[[], bool], timeout_seconds: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)


def state_of(case: Case, publication: Publication) -> Publication:
    answer = case.provider.call("GET", f"/staff/publications/{publication.publication_id}", staff=True)
    return Publication.model_validate_json(answer.content)


def ends(case: Case, publication: Publication, state: str) -> bool:
    """Whether a publication is in ``state``, after the node tried once more."""
    case.provider.node.records.publisher.resume()
    return state_of(case, publication).state == state


def rotate(case: Case, *, deliver: bool = True) -> None:
    """As a wallet revokes: fresh keys for a category, at the next epoch."""
    rotated = case.patient.keyring.rotate([Category.LABORATORY])
    public = rotated.public()
    message = KeyringRotation(case.patient.address, rotated.epoch, public.digest, 5)
    case.network.relay(case.provider, case.patient, message)
    case.patient.keyring = rotated
    if deliver:
        put_keyring(case, case.patient)


def put_keyring(case: Case, patient: TestPatient) -> None:
    answer = case.provider.call(
        "PUT", f"{patient.path}/keyring", patient.keyring.public().to_bytes(), key=patient.key
    )
    assert answer.status_code == 204, answer.text


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A custodian that failed is called again soon."""
    monkeypatch.setattr("node.breaker.OPEN_SECONDS", 0.2)
    monkeypatch.setattr("node.breaker.LONGEST_OPEN_SECONDS", 0.2)


@pytest.fixture
def network(new_network: Callable[..., Network]) -> Network:
    return new_network()


@pytest.fixture
def case(network: Network) -> Case:
    return Case.begin(network)


def publish_with_one_custodian_down(case: Case, content: bytes = b"") -> Publication:
    """One custodian of three is down: t + 1 = 3 acknowledgements are needed, so the ledger is not told yet."""
    case.network.members[2].node.stop()
    answer = case.post_bundle(content or bundle(case.number, observation(5.4)))
    assert answer.status_code == 200, answer.text
    publication = Publication.model_validate_json(answer.content)
    assert publication.state == "sealed"
    assert "2 of 3 custodians" in publication.detail
    assert case.network.members[2].name in publication.detail
    state = case.provider.node.ledger.snapshot().state
    assert not [record for record in publication.records if record.record_id in state.records]
    return publication


def test_publish_with_a_custodian_down_waits_and_ends_published_when_it_is_back(case):
    publication = publish_with_one_custodian_down(case)
    case.network.members[2].restart()
    wait_until(lambda: ends(case, publication, "published"))


def test_publish_same_bundle_while_it_waits_joins_the_same_publication(case):
    content = bundle(case.number, observation(5.4))
    publication = publish_with_one_custodian_down(case, content)
    again = Publication.model_validate_json(case.post_bundle(content).content)
    assert (again.publication_id, again.state) == (publication.publication_id, "sealed")


def test_publish_survives_a_restart_of_the_provider_in_between(case):
    publication = publish_with_one_custodian_down(case)
    case.provider.restart()
    case.network.members[2].restart()
    wait_until(lambda: ends(case, publication, "published"))


def test_publish_across_a_rotation_is_sealed_again_for_the_new_epoch_and_opens(case):
    publication = publish_with_one_custodian_down(case)
    rotate(case)
    case.network.members[2].restart()
    wait_until(lambda: ends(case, publication, "published"))
    record_id = publication.records[0].record_id
    record = case.provider.node.ledger.snapshot().state.records[record_id]
    deposit = case.provider.node.records.deposits.find(record_id, record.header_digest)
    assert record.epoch == Header.from_bytes(deposit.header).epoch == 2
    reader = case.network.members[1]
    case.grant(reader)
    (read,) = case.read(reader).records
    assert (read.failure, b"5.4" in read.content) == (None, True)


def test_publish_across_a_rotation_waits_for_the_keyring_and_says_so(case):
    publication = publish_with_one_custodian_down(case)
    rotate(case, deliver=False)
    case.network.members[2].restart()
    wait_until(lambda: ends(case, publication, "sealed") and "keyring" in state_of(case, publication).detail)
    put_keyring(case, case.patient)
    wait_until(lambda: ends(case, publication, "published"))


def test_publish_past_its_deadline_is_abandoned_and_leaves_nothing_anywhere(case):
    publication = publish_with_one_custodian_down(case)
    case.network.anvil.set_next_block_time(case.network.now() + 2 * 3600)
    case.network.anvil.mine()
    wait_until(lambda: ends(case, publication, "abandoned"))
    assert "deadline" in state_of(case, publication).detail
    for member in case.network.members[:2]:
        records = member.node.records
        wait_until(
            lambda records=records: records.sweeper.sweep() is not None and records.deposits.count() == (0, 0)
        )
    case.network.members[2].restart()
    fresh = Publication.model_validate_json(case.post_bundle(bundle(case.number, observation(5.4))).content)
    assert fresh.publication_id != publication.publication_id
    wait_until(lambda: ends(case, fresh, "published"))


def test_read_with_one_custodian_down_of_three_works(case):
    case.publish()
    reader = case.network.members[1]
    case.grant(reader)
    case.network.members[2].node.stop()
    (record,) = case.read(reader).records
    assert (record.failure, b"5.4" in record.content) == (None, True)


def test_read_with_two_custodians_down_fails_clearly_for_its_record(case):
    case.publish()
    reader = case.network.members[1]
    case.grant(reader)
    for down in (case.network.members[0], case.network.members[2]):
        down.node.stop()
    (record,) = case.read(reader).records
    assert record.reason is Reason.PERMITTED
    assert record.content is None
    assert "1 good shares came, 2 are needed" in record.failure
    assert case.network.members[0].name in record.failure


def test_publish_when_custodians_are_too_few_is_refused_before_anything_is_sealed(new_network):
    network = new_network({"Only Hospital": HOSPITAL})
    case = Case.begin(network)
    answer = case.post_bundle(bundle(case.number, observation(5.4)))
    assert (answer.status_code, answer.json()["code"]) == (503, "too-few-custodians")
    assert case.provider.node.records.journal.count_in_progress() == 0


def test_read_through_five_custodians_with_two_down_works(new_network, monkeypatch):
    names = ("Seoul Hospital", "Busan Hospital", "Jeju Clinic", "Daegu Hospital", "Suwon Clinic")
    network = new_network(dict.fromkeys(names, HOSPITAL))
    case = Case.begin(network)
    # Whoever was not ready yet when it was asked last gets no share while others do.
    wait_until(lambda: case.provider.node.records.peers.probe() == 0)
    case.publish()
    reader = network.members[1]
    case.grant(reader)
    for down in (network.members[3], network.members[4]):
        down.node.stop()
    # Whoever waited for those that are down would wait for longer than a test may take.
    monkeypatch.setattr(reader.node.records.reading._collector, "_collect_seconds", 3600.0)
    monkeypatch.setattr(reader.node.records.peers, "_call_seconds", 3600.0)
    (record,) = case.read(reader).records
    assert (record.failure, b"5.4" in record.content) == (None, True)


def test_publish_batch_of_more_than_twenty_records_lands_whole(case):
    days = [f"{year}-03-02" for year in range(1995, 2021)]
    publication = case.publish(*(observation(5 + index / 100, day) for index, day in enumerate(days)))
    state = case.provider.node.ledger.snapshot().state
    assert publication.state == "published"
    assert all(record.record_id in state.records for record in publication.records)


def test_publish_over_a_dead_endpoint_names_the_member(case):
    publication = publish_with_one_custodian_down(case)
    with pytest.raises(httpx.HTTPError):
        case.network.members[2].call("GET", "/health")
    assert case.network.members[2].name in state_of(case, publication).detail


def test_publishing_at_the_disks_reserve_is_refused_and_leaves_nothing(case, monkeypatch):
    node = case.provider.node.records
    before = node.blocks.held_bytes()
    with monkeypatch.context() as full:
        full.setattr(node.blocks, "_free_bytes", lambda: node.blocks._reserve_bytes)
        answer = case.post_bundle(bundle(case.number, observation(6.6)))
    assert (answer.status_code, answer.json()["code"]) == (507, "store-full")
    assert node.blocks.held_bytes() == before
    assert node.journal.count_in_progress() == 0
    assert case.publish(observation(6.6)).state == "published"
