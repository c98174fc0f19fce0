"""Nodes killed with -9 at fifty random moments while records are published, shared, read and unshared.

Four members' nodes are processes of their own. A worker each publishes, grants and revokes, and reads, without a
pause; meanwhile one node after another is killed and started again. Afterwards: nothing acknowledged is lost, nothing
dangles, no permit and no release of a share is there twice, and every node's own verification finds nothing.

The seed is printed; PHR_KILL_SEED=… repeats the choice of victims and moments.
"""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import pytest
from node_fixtures import HOSPITAL, Network, start_network
from node_processes import NodeProcess, as_processes, wait_until
from records_flow import Case, bundle, observation
from sqlalchemy import select

from ledger.messages import NO_RECORD, Grant, Revocation, SignedMessage
from node.config import NodeConfig
from node.local_verify import local_check
from node.node import Node
from node.tables import accesses
from node.tables_custody import releases
from vocabulary import LAST_DAY, Category, Purpose, category_mask, purpose_mask
from wire.patients import RelayRequest, RelayResponse
from wire.staff import Publication, ReadResponse

pytestmark = [pytest.mark.network, pytest.mark.timeout(900)]
FOUR = ("Seoul Hospital", "Busan Hospital", "Jeju Clinic", "Daegu Hospital")
KILLS = int(os.environ.get("PHR_KILLS", "50"))


@pytest.fixture(scope="module")
def seed() -> int:
    chosen = int(os.environ.get("PHR_KILL_SEED", random.SystemRandom().randrange(2**32)))
    print(f"\nseed of the kills: PHR_KILL_SEED={chosen}", flush=True)
    return chosen


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    # Two of four shares open, and three custodians must hold a record: what goes on without any one node.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHR_NODE_CUSTODIANS", "4")
        patch.setenv("PHR_NODE_THRESHOLD", "2")
        running = start_network(tmp_path_factory.mktemp("kills"), dict.fromkeys(FOUR, HOSPITAL))
        yield running
        running.stop()


@dataclass
class Story:
    """What was asked for, and what of it was acknowledged."""

    case: Case
    attempts: Counter[bytes] = field(default_factory=Counter)
    """Reads asked for, by record."""
    opened: Counter[bytes] = field(default_factory=Counter)
    """Reads answered with the content, by record."""
    contents: dict[bytes, float] = field(default_factory=dict)
    """The value in each acknowledged record."""
    unanswered: dict[float, bytes] = field(default_factory=dict)
    """Bundles whose publication was not acknowledged, by their value."""
    granted: dict[int, Grant] = field(default_factory=dict)
    revoked: dict[int, Grant] = field(default_factory=dict)
    unsure: list[SignedMessage] = field(default_factory=list)
    """Grants and revocations that were not acknowledged."""
    faults: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def publish(self, value: float, content: bytes | None = None) -> bool:
        """Publishes a bundle of its own; whether that was acknowledged."""
        content = content or bundle(self.case.number, observation(value))
        with self._lock:
            self.unanswered[value] = content
        answer = self.case.post_bundle(content)
        if answer.status_code != 200:
            self._check_refusal(answer)
            return False
        publication = Publication.model_validate_json(answer.content)
        if publication.state != "published":
            return False
        with self._lock:
            self.unanswered.pop(value, None)
            (record,) = publication.records
            self.contents[record.record_id] = value
        return True

    def relay(self, message: SignedMessage) -> bool:
        """Brings a signed message on the ledger; whether that was acknowledged as final."""
        request = RelayRequest(messages=(self.case.network.signed(self.case.patient, message),))
        answer = self.case.provider.call("POST", "/relay", request, key=self.case.patient.key)
        if answer.status_code != 200:
            self._check_refusal(answer)
            return False
        (outcome,) = RelayResponse.model_validate_json(answer.content).outcomes
        if outcome.refusal is not None:
            self.faults.append(f"{type(message).__name__} was refused: {outcome.refusal}")
        return outcome.final

    def read(self, record_id: bytes) -> None:
        """Reads one record."""
        with self._lock:
            self.attempts[record_id] += 1
        answer = self.case.ask(self.case.network.members[1], record_ids=(record_id,))
        if answer.status_code != 200:
            self._check_refusal(answer)
            return
        (record,) = ReadResponse.model_validate_json(answer.content).records
        if record.content is not None:
            if str(self.contents[record_id]).encode() not in record.content:
                self.faults.append(f"record 0x{record_id.hex()} opened to other content")
            with self._lock:
                self.opened[record_id] += 1

    def _check_refusal(self, answer: httpx.Response) -> None:
        """A node between two kills may say that it cannot now; it may not fail unforeseen."""
        if answer.status_code not in (404, 409, 429, 502, 503, 504) or "internal" in answer.text:
            self.faults.append(f"{answer.status_code}: {answer.text[:300]}")


class Workers:
    """Do the same things again and again until they are told to stop."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._stopping = threading.Event()
        self._values = iter(round(1.0 + number / 1000, 3) for number in range(10**6))
        self._nonces = iter(range(10**6, 10**9))
        self._chance = random.Random(1)
        self._threads = [
            threading.Thread(target=self._repeat, args=(step,), name=step.__name__)
            for step in (self._publish, self._share, self._read)
        ]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(180)
        assert not any(thread.is_alive() for thread in self._threads)

    def _repeat(self, step: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            try:
                step()
            except httpx.HTTPError:
                # The node that was asked is down: it is asked again.
                self._stopping.wait(0.05)
            except Exception as error:  # noqa: BLE001 - told to the test, which fails with it
                self._story.faults.append(f"{step.__name__}: {error!r}")
                return

    def _publish(self) -> None:
        """One bundle, again and again until it is acknowledged, as callers do."""
        value = next(self._values)
        content = bundle(self._story.case.number, observation(value))
        while not self._stopping.is_set():
            with suppress(httpx.HTTPError):
                if self._story.publish(value, content):
                    return
            self._stopping.wait(0.1)

    def _share(self) -> None:
        story, nonce = self._story, next(self._nonces)
        terms = grant_terms(story.case, nonce)
        revocation = Revocation(terms.patient, terms.grantee, terms.record_id, terms.nonce)
        for message, acknowledged in ((terms, story.granted), (revocation, story.revoked)):
            story.unsure.append(message)
            if not story.relay(message):
                return
            story.unsure.remove(message)
            acknowledged[nonce] = terms

    def _read(self) -> None:
        known = list(self._story.contents)
        if known:
            self._story.read(self._chance.choice(known[-5:]))
        else:
            self._stopping.wait(0.05)


def grant_terms(case: Case, nonce: int) -> Grant:
    """A consent of the story's own for the third member."""
    now = case.network.now()
    return Grant(
        patient=case.patient.address,
        grantee=case.network.members[2].address,
        record_id=NO_RECORD,
        categories=category_mask([Category.LABORATORY]),
        purposes=purpose_mask([Purpose.TREAT]),
        valid_from=0,
        valid_until=now + 86_400,
        data_from=0,
        data_until=LAST_DAY,
        max_uses=0,
        flags=0,
        nonce=nonce,
        deadline=now + 3000,
    )


def kill_again_and_again(nodes: list[NodeProcess], chance: random.Random) -> None:
    """Kills one node after another at random moments, and starts each again at once."""
    for number in range(KILLS):
        victim = chance.choice(nodes)
        time.sleep(chance.uniform(0.0, 1.0))  # the random moment: not a wait for anything
        victim.kill()
        victim.start()
        wait_until(victim.answers, f"{victim.member.name} answers after kill {number + 1}")


def test_nodes_killed_at_random_moments_lose_nothing_and_repeat_nothing(network: Network, seed: int) -> None:
    case = Case.begin(network)
    case.grant(network.members[1])
    story = Story(case)
    with as_processes(network) as nodes:
        began = time.monotonic()
        with Workers(story):
            kill_again_and_again(nodes, random.Random(seed))
        print(
            f"{KILLS} kills in {time.monotonic() - began:.0f} s: {len(story.contents)} publications, "
            f"{len(story.granted)} grants, {len(story.revoked)} revocations, {story.opened.total()} reads acknowledged"
        )
        assert story.faults == []
        for node in nodes:
            wait_until(node.is_ready, f"{node.member.name} ready")
        finish(story, nodes)
    assert min(len(story.contents), len(story.granted), len(story.revoked), story.opened.total()) > 0
    with_nodes_again(network)
    assert_nothing_lost(story)
    assert_nothing_twice(story)
    for member in network.members:
        snapshot = member.node.ledger.snapshot()
        block = network.chain.block(snapshot.final.number)
        assert local_check(member.directory)(snapshot.state, block) is None, member.name


def finish(story: Story, nodes: list[NodeProcess]) -> None:
    """What every caller does with what was not acknowledged: the same again, until it is."""

    def once_more(action: Callable[[], bool]) -> Callable[[], bool]:
        def tried() -> bool:
            with suppress(httpx.HTTPError):
                return action()
            return False

        return tried

    for value, content in list(story.unanswered.items()):
        wait_until(once_more(lambda v=value, c=content: story.publish(v, c)), f"publication of {value}")
    for message in list(story.unsure):
        wait_until(once_more(lambda m=message: story.relay(m)), f"{type(message).__name__} {message.nonce}")
        acknowledged = story.granted if isinstance(message, Grant) else story.revoked
        acknowledged[message.nonce] = message
    for node in nodes:
        wait_until(
            lambda node=node: (
                node.status()["publications_in_progress"] == 0
                and node.status()["transactions_in_flight"] == 0
            ),
            f"{node.member.name} has nothing under way",
        )
    story.case.network.wait_for_all()


def with_nodes_again(network: Network) -> None:
    """The nodes in this process again, so that a test can look inside."""
    del network.wait_for_all
    for member in network.members:
        member.node = Node(NodeConfig.load(member.directory))
        member.node.start()
    network.wait_for_all()
    network.anvil.mine()
    network.wait_for_all()


def assert_nothing_lost(story: Story) -> None:
    """All that was acknowledged is on the ledger, and every record there opens."""
    case = story.case
    state = case.network.members[2].node.ledger.snapshot().state
    own = {key for key, record in state.records.items() if record.patient == case.patient.address}
    # Every bundle was acknowledged in the end: a record more would be one published twice, one fewer one lost.
    assert own == set(story.contents)
    consents = {consent.nonce: consent for consent in state.consents.values()}
    for nonce in story.granted:
        assert consents[nonce].patient == case.patient.address
    for nonce in story.revoked:
        assert consents[nonce].status.name == "REVOKED"
    for nonce in story.granted.keys() - story.revoked.keys():
        assert consents[nonce].status.name == "GRANTED"
    for some in pieces(sorted(own), 100):
        read = case.read(case.network.members[1], record_ids=tuple(some))
        for record in read.records:
            assert record.failure is None, record.failure
            assert str(story.contents[record.record_id]).encode() in record.content
            story.attempts[record.record_id] += 1
            story.opened[record.record_id] += 1
    case.network.wait_for_all()


def assert_nothing_twice(story: Story) -> None:
    """Each read made at most one decision, and each custodian released each permit's share at most once."""
    patient = story.case.patient.address
    reader = story.case.network.members[1]
    with reader.node.database.read() as connection:
        rows = connection.execute(select(accesses).where(accesses.c.patient == patient)).all()
    decided = Counter(bytes(row.record_id) for row in rows)
    for record_id, count in decided.items():
        assert story.opened[record_id] <= count <= story.attempts[record_id]
    by_request = Counter((bytes(row.response_key_digest), bytes(row.record_id)) for row in rows)
    assert max(by_request.values()) == 1
    for member in story.case.network.members:
        with member.node.database.read() as connection:
            released = connection.execute(select(releases).where(releases.c.patient == patient)).all()
        twice = Counter((row.sequence, bytes(row.record_id)) for row in released)
        assert released
        assert max(twice.values()) == 1
        permitted = {(row.sequence, bytes(row.record_id)) for row in rows}
        assert set(twice) <= permitted


def pieces(items: list[bytes], size: int) -> Iterator[list[bytes]]:
    """The items, so many at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
