"""Following the ledger: every event once, over restarts and kills; outages pass, a replaced chain is fatal."""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from chain_fixtures import Key, LedgerWorld
from database_fixtures import TestDatabase
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from ledger import calls, events
from ledger.chain import Chain
from ledger.errors import ChainHalted, ChainReplaced
from ledger.follow import Checkpoint, Follower
from ledger.messages import NO_RECORD, AccessGroup
from node import event_codec, tables
from node.background import Following
from node.database import Database
from node.errors import NotInTime, Unavailable
from node.follow_store import DatabaseFollowStore
from node.ledger_view import HALTED_SECONDS, FinalBlock, LedgerView, require_advancing
from vocabulary import Category, Purpose, Reason, Role


@pytest.fixture
def database(new_database: TestDatabase) -> TestDatabase:
    return new_database


def populate(world: LedgerWorld) -> tuple[Key, Key, Key, bytes]:
    """A hospital, a clinic, a patient whose record the clinic read under a grant, and asked for in a batch."""
    hospital, clinic = world.enrol(Role.PROVIDER), world.enrol(Role.CONSUMER)
    patient = world.register(hospital)
    record = world.publish(hospital, patient, category=Category.LABORATORY)
    second = world.publish(hospital, patient, category=Category.IMAGING)
    terms = world.grant(patient, clinic)
    group = AccessGroup(terms.nonce, False, (record, second))
    world.transact(clinic, calls.request_access_batch(Purpose.TREAT, b"\x01" * 32, b"\x02" * 32, [group]))
    return hospital, clinic, patient, record


def view_of(world: LedgerWorld, database: Database, follower: Follower) -> LedgerView:
    view = LedgerView(database, world.scope, world.chain.block)
    follower.advance()
    at = follower.view.checkpoint
    view.publish(follower.state, FinalBlock(at.block_number, at.block_hash, at.block_time))
    return view


def test_every_event_and_decision_is_stored_once_over_restarts(
    ledger_world: LedgerWorld, database: Database
) -> None:
    for _ in range(3):
        Follower(ledger_world.chain, ledger_world.deployment, DatabaseFollowStore(database)).advance()
        populate(ledger_world)
    follower = Follower(
        ledger_world.chain, ledger_world.deployment, DatabaseFollowStore(database), snapshot_events=1
    )
    follower.advance()
    with database.read() as connection:
        rows = connection.execute(
            select(tables.events.c.body).order_by(tables.events.c.block_number, tables.events.c.log_index)
        )
        assert [event_codec.decode(row.body) for row in rows] == ledger_world.events()
        assert connection.execute(select(func.count()).select_from(tables.accesses)).scalar_one() == 6
    assert follower.state == ledger_world.state()
    assert DatabaseFollowStore(database).load()[1] == follower.view.checkpoint


def test_state_after_a_restart_from_a_snapshot_is_the_chains(
    ledger_world: LedgerWorld, database: Database
) -> None:
    populate(ledger_world)
    Follower(
        ledger_world.chain, ledger_world.deployment, DatabaseFollowStore(database), snapshot_events=3
    ).advance()
    populate(ledger_world)
    again = Follower(ledger_world.chain, ledger_world.deployment, DatabaseFollowStore(database))
    again.advance()
    assert again.state == ledger_world.state()


def test_commit_that_fails_leaves_events_and_checkpoint_as_they_were(
    ledger_world: LedgerWorld, database: Database
) -> None:
    populate(ledger_world)
    store, found = DatabaseFollowStore(database), ledger_world.events()
    store.commit(found[:2], Checkpoint(1, b"\x01" * 32, 1), None)
    with pytest.raises(IntegrityError):
        store.commit(found[1:], Checkpoint(2, b"\x02" * 32, 2), b"snapshot")
    assert store.load() == (None, Checkpoint(1, b"\x01" * 32, 1))


def test_queries_of_the_view_find_what_happened(ledger_world: LedgerWorld, database: Database) -> None:
    hospital, clinic, patient, record = populate(ledger_world)
    view = view_of(
        ledger_world,
        database,
        Follower(ledger_world.chain, ledger_world.deployment, DatabaseFollowStore(database)),
    )
    publication = view.publication(record)
    assert publication is not None
    assert (publication.author, publication.patient) == (hospital.address, patient.address)
    first, second = view.accesses_of(patient.address)
    assert (first.record_id, first.reason, first.requester) == (record, Reason.PERMITTED, clinic.address)
    assert (second.sequence, second.reason) == (2, Reason.CATEGORY_NOT_COVERED)
    assert view.access(patient.address, 2) == second
    assert view.access(patient.address, 3) is None
    assert view.accesses_in(first.transaction_hash) == (first, second)
    assert view.accesses_under(first.consent_id) == (first, second)
    granted = view.grant(first.consent_id)
    assert granted is not None
    assert granted.terms.record_id == NO_RECORD
    assert [type(event) for event in view.events_in(first.transaction_hash)] == [events.AccessBatchDecided]
    block = publication.position.block_number
    expected = {block: ledger_world.chain.block(block).time}
    assert view.block_times([block, block]) == expected
    offline = LedgerView(
        database, ledger_world.scope, lambda number: pytest.fail(f"asked for block {number}")
    )
    assert offline.block_times([block]) == expected


def test_view_before_the_first_read_says_so(database: Database, ledger_world: LedgerWorld) -> None:
    view = LedgerView(database, ledger_world.scope, ledger_world.chain.block)
    with pytest.raises(Unavailable):
        view.snapshot()
    assert not view.wait_until_read(0.01)
    with pytest.raises(NotInTime, match="block 5"):
        view.wait_for_block(5, 0.01)


def test_snapshot_is_undisturbed_by_later_events(ledger_world: LedgerWorld, database: Database) -> None:
    follower = Follower(ledger_world.chain, ledger_world.deployment, DatabaseFollowStore(database))
    before = view_of(ledger_world, database, follower).snapshot()
    members = dict(before.state.members)
    populate(ledger_world)
    view_of(ledger_world, database, follower)
    assert before.state.members == members


def test_age_grows_while_the_head_stands_and_falls_when_it_moves(
    ledger_world: LedgerWorld, database: Database
) -> None:
    now = [100.0]
    view = LedgerView(database, ledger_world.scope, ledger_world.chain.block, clock=lambda: now[0])
    view.publish(ledger_world.state(), FinalBlock(1, b"\x01" * 32, 1), float("-inf"))
    assert view.snapshot().age_seconds == float("inf")
    view.publish(ledger_world.state(), FinalBlock(2, b"\x02" * 32, 2), 90.0)
    view.publish(ledger_world.state(), FinalBlock(2, b"\x02" * 32, 2), 100.0)
    now[0] = 131.0
    assert view.snapshot().age_seconds == 41.0


def test_head_that_was_never_seen_to_advance_is_taken_for_a_halted_one_when_the_start_is_long_ago(
    ledger_world: LedgerWorld, database: Database
) -> None:
    """A node that was started while it is cut off must begin nothing: its head is as old as it says at least."""
    now = [100.0]
    view = LedgerView(
        database,
        ledger_world.scope,
        ledger_world.chain.block,
        clock=lambda: now[0],
        wall_clock=lambda: 7000.0,
    )
    view.publish(ledger_world.state(), FinalBlock(1, b"\x01" * 32, 1000), float("-inf"))
    now[0] += HALTED_SECONDS
    require_advancing(view.snapshot().age_seconds)
    now[0] += 1
    assert view.snapshot().age_seconds == 6000.0
    with pytest.raises(ChainHalted):
        require_advancing(view.snapshot().age_seconds)
    view.publish(ledger_world.state(), FinalBlock(2, b"\x02" * 32, 9000), float("-inf"))
    assert view.snapshot().age_seconds == HALTED_SECONDS + 1  # whatever the clocks of others say
    view.publish(ledger_world.state(), FinalBlock(3, b"\x03" * 32, 9001), now[0])
    require_advancing(view.snapshot().age_seconds)


class Watched:
    """A following thread and what it reported."""

    def __init__(self, world: LedgerWorld, database: Database, chain: Chain | None = None) -> None:
        follower = Follower(chain or world.chain, world.deployment, DatabaseFollowStore(database))
        self.view = LedgerView(database, world.scope, world.chain.block, wake=lambda: self.following.wake())
        self.fatal: list[Exception] = []
        self.failed = threading.Event()
        self.following = Following(follower, self.view, self._fail, poll_seconds=0.02)
        self.following.start()

    def _fail(self, error: Exception) -> None:
        self.fatal.append(error)
        self.failed.set()


def test_outage_of_the_chain_is_told_and_ends_by_itself(
    ledger_world: LedgerWorld, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(ledger_world, database)
    try:
        assert watched.view.wait_until_read(60)
        assert watched.following.problem() is None
        # The connection refused is real: the client's address is pointed at a port where nobody listens.
        monkeypatch.setattr(ledger_world.chain, "url", "http://127.0.0.1:1")
        _until(lambda: "cannot be read" in (watched.following.problem() or ""), watched.following.wake)
        monkeypatch.undo()
        _until(lambda: watched.following.problem() is None, watched.following.wake)
        assert watched.fatal == []
    finally:
        watched.following.stop()


def test_replaced_chain_is_fatal_and_named(ledger_world: LedgerWorld, database: Database) -> None:
    store = DatabaseFollowStore(database)
    assert store.last_event() is None
    kept = ledger_world.chain.request("evm_snapshot")
    ledger_world.enrol(Role.CONSUMER)
    Follower(ledger_world.chain, ledger_world.deployment, store).advance()
    assert store.last_event() == ledger_world.events()[-1].position
    assert ledger_world.chain.request("evm_revert", [kept])
    ledger_world.anvil.mine(5)
    watched = Watched(ledger_world, database)
    assert watched.failed.wait(60)
    assert isinstance(watched.fatal[0], ChainReplaced)
    assert "cannot go on" in (watched.following.problem() or "")
    watched.following.stop()


def _until(holds: Callable[[], bool], nudge: Callable[[], None]) -> None:
    waiting = threading.Event()
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        nudge()
        waiting.wait(0.01)


_FOLLOW = """
import json, sys
from pathlib import Path
from ledger.chain import Chain
from ledger.deploy import Deployment
from ledger.engine import ANVIL
from ledger.follow import Follower
from node.database import Database
from node.follow_store import DatabaseFollowStore
follower = Follower(Chain(sys.argv[1], ANVIL), Deployment.from_json(json.loads(sys.argv[2])),
                    DatabaseFollowStore(Database(sys.argv[3])), snapshot_events=2)
follower._span_blocks = 1
print("go", flush=True)
follower.advance()
"""


def test_kill_while_following_loses_and_repeats_no_event(
    ledger_world: LedgerWorld, database: TestDatabase
) -> None:
    for _ in range(4):
        populate(ledger_world)
    deployment = json.dumps(ledger_world.deployment.to_json())
    for _ in range(4):
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _FOLLOW,
                ledger_world.chain.url,
                deployment,
                database.url,
            ],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        threading.Event().wait(secrets.randbelow(60) / 1000)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    Follower(ledger_world.chain, ledger_world.deployment, DatabaseFollowStore(database)).advance()
    with database.read() as connection:
        rows = connection.execute(
            select(tables.events.c.body).order_by(tables.events.c.block_number, tables.events.c.log_index)
        )
        assert [event_codec.decode(row.body) for row in rows] == ledger_world.events()
