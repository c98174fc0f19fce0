"""A node's PostgreSQL ends in the middle of everything: nothing acknowledged is lost, nothing happens twice.

Every member's database is on the one server that is killed, so that provider, reader and custodians lose theirs in
the same moment. What a caller does after an error is what callers do: the same again.
"""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
from database_fixtures import TestDatabase
from node_fixtures import Member, Network, start_network
from records_flow import Case, bundle, observation
from sqlalchemy import select

from engines.postgres import PostgresServer
from engines.postgres_cluster import create_cluster, remove_cluster
from ledger.messages import Grant
from node import database
from node.errors import NotInTime
from node.local_verify import local_check
from node.tables import accesses
from vocabulary import Reason
from wire.signing import sign_request
from wire.staff import Publication, ReadResponse

pytestmark = [pytest.mark.network, pytest.mark.timeout(900)]
MOMENTS = 50
PATIENCE_SECONDS = 90.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    directory = tmp_path_factory.mktemp("faults") / "postgres"
    made = create_cluster(directory)
    made.start()
    yield made
    remove_cluster(directory)


@pytest.fixture(scope="module")
def network(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    names = (f"member_{number}" for number in range(10))

    def database_url(place: Path) -> str:
        name = next(names)
        return server.create_database(name, place.parent / f"{name}.pgpass")

    running = start_network(tmp_path_factory.mktemp("network"), database_url=database_url)
    yield running
    server.start()
    running.stop()


def until_done(action: Callable[[], httpx.Response]) -> httpx.Response:
    """Does the same again while the answer is that the node cannot now."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        with suppress(httpx.TransportError):
            answer = action()
            if answer.status_code < 500:
                return answer
            assert answer.status_code in (502, 503, 504), answer.text
            assert answer.json()["code"] != "internal-error", answer.text
        assert time.monotonic() < give_up_at, "the node did not recover"
        threading.Event().wait(0.1)


class Moment:
    """Ends the server a moment after it is entered, in one of both ways, and starts it again."""

    def __init__(self, server: PostgresServer, seed: int) -> None:
        chance = random.Random(seed)
        self._server, self._postmaster = server, bool(seed % 2)
        self._timer = threading.Timer(chance.uniform(0.0, 0.6), self._end)
        self.failed: Exception | None = None

    def _end(self) -> None:
        try:
            assert self._server.kill_postmaster() if self._postmaster else self._server.kill()
            self._server.start()
        except Exception as error:  # noqa: BLE001 - told to the test by __exit__
            self.failed = error

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.join()
        assert self.failed is None, self.failed


class Story:
    """A patient whose records are published, shared, read and unshared; what was acknowledged of it."""

    def __init__(self, network: Network) -> None:
        self.case = Case.begin(network)
        self.reader = network.members[1]
        self.terms: Grant | None = None
        self.published: set[bytes] = set()
        self.opened = 0
        self.asked = 0

    def publish(self, number: int) -> None:
        content = bundle(self.case.number, observation(4.0 + number / 100))
        while True:
            publication = Publication.model_validate_json(
                until_done(lambda: self.case.post_bundle(content)).content
            )
            if publication.state == "published":
                break
        self.published |= {record.record_id for record in publication.records}
        # What is read is what the reader's node has seen; it may be behind, having lost its database too.
        self.case.network.wait_for_all()

    def grant(self) -> None:
        terms = None
        while terms is None:
            # The wallet's own steps: what fails in the middle is begun again with another nonce.
            with suppress(AssertionError, httpx.TransportError, NotInTime):
                terms = self.case.grant(self.reader)
        self.terms = terms

    def read(self) -> None:
        def ask() -> httpx.Response:
            self.asked += 1
            return self.case.ask(self.reader)

        while True:
            read = ReadResponse.model_validate_json(until_done(ask).content)
            assert {record.reason for record in read.records} == {Reason.PERMITTED}
            if all(record.failure is None for record in read.records):
                break
        assert {record.record_id for record in read.records} == self.published
        self.opened += 1

    def revoke(self) -> None:
        assert self.terms is not None
        while True:
            with suppress(AssertionError, httpx.TransportError, NotInTime):
                self.case.revoke(self.terms)
                break


def settle(network: Network) -> None:
    """Lets every node finish what it has under way."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    for member in network.members:
        records = member.node.records
        while records.journal.in_progress() or records.journal.published_but_waiting():
            records.publisher.resume()
            records.steps.repair()
            assert time.monotonic() < deadline
        assert member.node.outbox.pending() == [] or until_empty(member)
    network.wait_for_all()


def until_empty(member: Member) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while member.node.outbox.pending():
        member.node.sender.resume()
        assert time.monotonic() < deadline
        threading.Event().wait(0.2)
    return True


def assert_sound(network: Network, story: Story) -> None:
    """Nothing lost, nothing dangling, nothing double: by the node's own verification and by the ledger."""
    for member in network.members:
        snapshot = member.node.ledger.snapshot()
        block = network.chain.block(snapshot.final.number)
        assert local_check(member.directory)(snapshot.state, block) is None
    state = network.members[2].node.ledger.snapshot().state
    own = {key for key, record in state.records.items() if record.patient == story.case.patient.address}
    assert own == story.published
    custodian = network.members[2].node.records.deposits
    for record_id in own:
        assert custodian.find(record_id, state.records[record_id].header_digest) is not None
    with story.reader.node.database.read() as connection:
        rows = connection.execute(
            select(accesses.c.sequence, accesses.c.record_id).where(
                accesses.c.patient == story.case.patient.address
            )
        ).all()
    assert [row.sequence for row in sorted(rows)] == list(range(1, len(rows) + 1))
    # One request makes at most one decision a record, however often the node had to begin its own steps again.
    for record_id in own:
        assert sum(row.record_id == record_id for row in rows) <= story.asked


def test_database_killed_at_random_moments_loses_and_repeats_nothing(
    network: Network, server: PostgresServer
) -> None:
    story = Story(network)
    story.publish(0)
    acts = 0
    replayed: list[tuple[str, dict[str, str], bytes]] = []
    for moment in range(MOMENTS):
        act = ("grant", "publish", "read", "read", "revoke")[moment % 5]
        with Moment(server, moment):
            if act == "publish":
                story.publish(moment)
            else:
                getattr(story, act)()
        acts += 1
        replayed.append(accepted_request(network))
        if moment % 10 == 9:
            # Every request that was ever accepted is known for ever, whatever the database went through since.
            for path, headers, body in replayed:
                member = network.members[0]
                answer = until_done(
                    partial(member.http.post, member.url + path, content=body, headers=headers)
                )
                assert (answer.status_code, answer.json()["code"]) == (401, "replayed")
    assert acts == MOMENTS
    assert story.opened == 2 * MOMENTS // 5
    settle(network)
    assert_sound(network, story)


def accepted_request(network: Network) -> tuple[str, dict[str, str], bytes]:
    """A request that the first member took just now, as it went over the wire."""
    member = network.members[0]
    patient = network.new_patient()
    path, body = "/registrations", network.registration(patient, member).model_dump_json().encode()

    sent: dict[str, dict[str, str]] = {}

    def post() -> httpx.Response:
        sent["headers"] = sign_request("POST", path, body, member.address, patient.key)
        return member.http.post(member.url + path, content=body, headers=sent["headers"])

    answer = until_done(post)
    assert answer.status_code == 200, answer.text
    return path, sent["headers"], body


def test_nodes_without_their_database_say_so_and_recover_by_themselves(
    network: Network, server: PostgresServer
) -> None:
    case = Case.begin(network)
    content = bundle(case.number, observation(5.0))
    server.kill()
    try:
        member = network.members[0]
        answer = case.post_bundle(content)
        assert (answer.status_code, answer.json()["code"]) == (503, "database-unavailable")
        assert "its operator can look whether it runs" in answer.json()["detail"]
        # Once it is known to be away nobody is kept waiting.
        begun = time.monotonic()
        for _ in range(5):
            assert case.post_bundle(content).status_code == 503
        assert time.monotonic() - begun < 4 * database.PATIENCE_SECONDS
        ready = member.http.get(member.url + "/ready")
        assert ready.status_code == 503
        assert any("database does not answer" in problem for problem in ready.json()["problems"])
        assert member.http.get(member.url + "/health").status_code == 200
    finally:
        server.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        answer = until_done(lambda: case.post_bundle(content))
        if Publication.model_validate_json(answer.content).state == "published":
            break
        assert time.monotonic() < deadline, answer.text
    while any(one.http.get(one.url + "/ready").status_code != 200 for one in network.members):
        assert time.monotonic() < deadline
        threading.Event().wait(0.1)
    assert not any(one.node.ended.is_set() for one in network.members)


_CLAIM = """
import sys
from node.database import Database
database = Database(sys.argv[1])
database.claim()
print("claimed", flush=True)
sys.stdin.read()
"""


def test_claim_of_a_process_that_was_killed_is_free_again(server: PostgresServer, tmp_path: Path) -> None:
    url = server.create_database("claimed", tmp_path / "claimed.pgpass")
    process = subprocess.Popen(
        [sys.executable, "-c", _CLAIM, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    process.kill()
    process.communicate()
    database = TestDatabase(url)
    database.claim()
    server.kill()
    server.start()
    # The session and its lock went with the server: asked again, it is taken again.
    database.claim()
    database.close()
