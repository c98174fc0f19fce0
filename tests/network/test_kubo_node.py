"""A consortium whose custodians keep blocks in Kubo: the whole way of a record, and what daemons can do to it."""

import json
import time
from collections.abc import Callable, Iterator

import pytest
from kubo_fixtures import flatfs_files
from node_fixtures import Network, start_network
from records_flow import Case, bundle, condition, observation
from sqlalchemy import select

from engines.kubo import KuboDaemon
from node.tables_custody import block_references
from storage import Cid, KuboBlockStore, corrupt_blocks, missing
from wire.staff import Publication

pytestmark = pytest.mark.network

_WAIT_SECONDS = 60.0


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Three members, a Kubo each."""
    running = start_network(tmp_path_factory.mktemp("network"), store="kubo")
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def all_running(network: Network, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test finds all daemons running; a custodian that failed is called again soon."""
    monkeypatch.setattr("node.breaker.OPEN_SECONDS", 0.2)
    monkeypatch.setattr("node.breaker.LONGEST_OPEN_SECONDS", 0.2)
    yield
    for daemon in _daemons(network):
        daemon.start()


@pytest.fixture
def case(network: Network) -> Case:
    return Case.begin(network)


def _daemons(network: Network) -> tuple[KuboDaemon, ...]:
    assert network.swarm is not None
    return network.swarm.daemons


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)


def _needed(case: Case, publication: Publication) -> list[set[Cid]]:
    """What each member's node needs of a publication's records."""
    state = case.provider.node.ledger.snapshot().state
    holders = {state.records[record.record_id].header_digest for record in publication.records}
    found = []
    for member in case.network.members:
        with member.node.database.read() as connection:
            rows = connection.execute(select(block_references)).all()
        found.append({Cid.parse(row.cid) for row in rows if bytes(row.holder) in holders})
    return found


def _store(network: Network, index: int) -> KuboBlockStore:
    store = network.members[index].node.records.blocks.store
    assert isinstance(store, KuboBlockStore)
    return store


def test_publish_and_read_keep_the_ciphertext_pinned_in_every_custodians_kubo(case: Case) -> None:
    publication = case.publish(observation(5.4), condition())
    case.grant(case.network.members[1])
    read = case.read(case.network.members[1])
    assert len(read.records) == len(publication.records)
    _wait_until(lambda: all(_needed(case, publication)))
    for index, needed in enumerate(_needed(case, publication)):
        assert missing(_store(case.network, index), needed) == frozenset()
        directory = case.network.members[index].directory
        assert not (directory / "blocks").exists(), "the embedded store is not used beside Kubo"


def test_publish_while_the_own_kubo_is_down_is_refused_whole_and_works_afterwards(case: Case) -> None:
    before = len(case.provider.node.ledger.snapshot().state.records)
    content = bundle(case.number, observation(5.4))
    _daemons(case.network)[0].kill()
    refused = case.post_bundle(content)
    assert refused.status_code == 503, refused.text
    assert refused.json()["code"] == "store-unavailable"
    assert "start the daemon" in refused.json()["detail"]
    case.network.wait_for_all()
    assert len(case.provider.node.ledger.snapshot().state.records) == before
    _daemons(case.network)[0].start()
    answer = case.post_bundle(content)
    assert answer.status_code == 200, answer.text
    published = Publication.model_validate_json(answer.content)
    _wait_until(lambda: _resumed(case, published).state == "published")
    again = Publication.model_validate_json(case.post_bundle(content).content)
    assert [record.record_id for record in again.records] == [
        record.record_id for record in published.records
    ]
    case.network.wait_for_all()
    assert len(case.provider.node.ledger.snapshot().state.records) == before + len(published.records)


def test_node_whose_kubo_is_down_is_not_ready_and_says_why_until_it_is_back(case: Case) -> None:
    status = case.provider.node.status
    _daemons(case.network)[0].kill()
    # Another task may meet the silence first.
    _wait_until(lambda: any("block store" in problem for problem in status.health().problems))
    assert not status.health().ready
    _daemons(case.network)[0].start()
    _wait_until(lambda: status.health().ready)


def test_read_with_the_kubo_of_one_custodian_down_takes_the_blocks_from_the_others(case: Case) -> None:
    reader = case.network.members[1]
    publication = case.publish(observation(6.1))
    case.grant(reader)
    _wait_until(lambda: all(_needed(case, publication)))
    for down in (0, 1):
        _daemons(case.network)[down].kill()
        assert case.read(reader).records
        _daemons(case.network)[down].start()


def test_every_kubo_killed_between_publications_loses_no_published_record(case: Case) -> None:
    reader = case.network.members[1]
    case.grant(reader)
    publications = []
    for value in range(3):
        publications.append(case.publish(observation(float(value), day=f"2024-03-0{value + 1}")))
        for daemon in _daemons(case.network):
            daemon.kill()
        for daemon in _daemons(case.network):
            daemon.start()
    read = {record.record_id for record in case.read(reader).records}
    assert {record.record_id for publication in publications for record in publication.records} <= read
    for index in range(len(case.network.members)):
        assert list(corrupt_blocks(_store(case.network, index))) == []


def test_read_where_two_kubos_give_wrong_bytes_takes_the_third_and_names_the_liars(case: Case) -> None:
    """Attack: block stores whose files were swapped; the CIDs are recomputed, so nothing wrong is ever read."""
    reader = case.network.members[1]
    publication = case.publish(observation(7.2))
    case.grant(reader)
    _wait_until(lambda: all(_needed(case, publication)))
    swapped = min(_needed(case, publication)[0])
    for daemon in _daemons(case.network)[:2]:
        daemon.stop()
        [path] = flatfs_files(daemon, swapped)
        path.write_bytes(bytes(path.stat().st_size))
        daemon.start()
    assert case.read(reader).records
    for index in (0, 1):
        named = {cid: str(error) for cid, error in corrupt_blocks(_store(case.network, index))}
        assert set(named) == {swapped}
        assert _daemons(case.network)[index].rpc_url in named[swapped]


def test_publish_with_a_kubo_near_its_limit_is_refused_with_a_clear_text_until_there_is_room(
    case: Case,
) -> None:
    daemon = _daemons(case.network)[0]
    config_path = daemon.repository / "config"
    config = config_path.read_bytes()
    limited = json.loads(config)
    limited["Datastore"]["StorageMax"] = "200MB"  # less than the reserve that a node keeps
    daemon.stop()
    config_path.write_text(json.dumps(limited))
    daemon.start()
    answer = case.post_bundle(bundle(case.number, observation(5.4)))
    assert (answer.status_code, answer.json()["code"]) == (507, "store-full")
    assert "reserve" in answer.json()["detail"]
    daemon.stop()
    config_path.write_bytes(config)
    daemon.start()
    published = case.publish(observation(5.4))
    _wait_until(lambda: _resumed(case, published).state == "published")


def _resumed(case: Case, publication: Publication) -> Publication:
    case.provider.node.records.publisher.resume()
    answer = case.provider.call("GET", f"/staff/publications/{publication.publication_id}", staff=True)
    return Publication.model_validate_json(answer.content)
