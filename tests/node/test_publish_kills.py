"""kill -9 at every step of a publication, and at random moments: published whole or not at all, never dangling."""

import random
import signal
import threading
import time
from contextlib import suppress

import httpx
import pytest
from killed_provider import KilledProvider
from node_fixtures import Network
from records_flow import Case, bundle, condition, observation

from vocabulary import Reason
from wire.staff import Publication

MOMENTS = [
    ("store", "after", 1),  # blocks without a journal
    ("journal", "after", 1),  # sealed
    ("deposit", "after", 1),  # custodians hold it, the journal does not say so
    ("journal", "after", 3),  # about to be sent
    ("ledger", "after", 1),  # final, the journal does not say so
]


def check(case: Case, content: bytes) -> None:
    """After the node is back: nothing half done, and the same bundle ends published once."""
    case.provider.restart()
    records = case.provider.node.records
    deadline = time.monotonic() + 60
    while records.journal.in_progress():
        records.publisher.resume()
        assert time.monotonic() < deadline
    case.network.wait_for_all()
    before = on_ledger(case)
    assert len(before) in (0, 2)
    answer = case.post_bundle(content)
    assert answer.status_code == 200, answer.text
    publication = Publication.model_validate_json(answer.content)
    assert publication.state == "published"
    case.network.wait_for_all()
    after = on_ledger(case)
    assert after == {record.record_id for record in publication.records}
    assert before in (set(), after)
    read = case.read(case.network.members[1])
    assert {(record.reason, record.failure) for record in read.records} == {(Reason.PERMITTED, None)}
    assert {record.record_id for record in read.records} == after
    records.sweeper.sweep()
    assert records.deposits.count()[0] >= len(after)


def on_ledger(case: Case) -> set[bytes]:
    state = case.network.members[1].node.ledger.snapshot().state
    return {key for key, record in state.records.items() if record.patient == case.patient.address}


@pytest.mark.parametrize(("step", "moment", "count"), MOMENTS)
def test_publish_killed_at_a_step_ends_whole_or_not_at_all(network: Network, step, moment, count):
    case = Case.begin(network)
    case.grant(network.members[1])
    content = bundle(case.number, observation(5.4), condition())
    killed = KilledProvider(case, step, moment, count)
    with pytest.raises(httpx.HTTPError):
        case.post_bundle(content)
    assert killed.wait() == -signal.SIGKILL
    check(case, content)


def test_publish_killed_at_random_moments_ends_whole_or_not_at_all(network: Network):
    for attempt in range(2):
        case = Case.begin(network)
        case.grant(network.members[1])
        content = bundle(case.number, observation(5.4), condition())
        killed = KilledProvider(case, "never", "before", 1)
        seconds = random.Random(attempt).uniform(0.02, 0.5)
        timer = threading.Timer(seconds, killed.kill)
        timer.start()
        with suppress(httpx.HTTPError):
            case.post_bundle(content)
        assert killed.wait() == -signal.SIGKILL
        timer.join()
        check(case, content)
