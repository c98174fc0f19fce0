"""Replicas that are lost come back by themselves, or the loss is told to whom it concerns."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from node_fixtures import HOSPITAL, Member, Network
from records_flow import Case, condition, observation
from sqlalchemy import delete, select

from crypto.header import Header
from ledger import calls
from ledger.entities import Record
from node import publication_steps, replication
from node.replica_store import LOSS_SECONDS, ReplicaState, ReplicaStore
from node.replication import ReplicationReport
from node.sealing import CustodyPolicy
from node.tables_custody import block_references, deposits
from node.tables_replication import replica_checks, replica_losses
from storage import Cid
from vocabulary import Role
from wire.custody import LostDeposits


def wait_until(condition: Callable[[], bool], timeout_seconds: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)


@pytest.fixture
def try_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first attempt that failed, at a slow peer say, is followed by another one within the time of these tests."""
    monkeypatch.setattr(replication, "TRY_AGAIN_SECONDS", 1)


@pytest.fixture
def case(new_network: Callable[..., Network]) -> Case:
    """In a network of its own: what another test damaged, or still heals, takes this one's turns."""
    return Case.begin(new_network())


@pytest.fixture
def always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was looked at is looked at again at the next turn, and every block is read."""
    monkeypatch.setattr(replication, "CHECK_AGAIN_SECONDS", -10)
    monkeypatch.setattr(replication, "TRY_AGAIN_SECONDS", -10)
    monkeypatch.setattr(replication, "READ_AT_ONCE", 1000)
    monkeypatch.setattr(replication, "TURN_SECONDS", 0.2)


def report(member: Member) -> ReplicationReport:
    return member.node.records.replication.report()


def records_of(case: Case) -> list[Record]:
    state = case.provider.node.ledger.snapshot().state
    return [record for record in state.records.values() if record.patient == case.patient.address]


def states(member: Member, case: Case) -> list[ReplicaState]:
    """What a member last found of the case's records."""
    ids = [record.record_id for record in records_of(case)]
    with member.node.database.read() as connection:
        query = select(replica_checks.c.state).where(replica_checks.c.record_id.in_(ids))
        return [ReplicaState(found) for found in connection.scalars(query)]


def turn(member: Member, case: Case) -> list[ReplicaState]:
    member.node.records.replication.turn()
    return states(member, case)


@contextmanager
def between_turns(*members: Member) -> Iterator[None]:
    """While members' turns wait: none of them sees half of what a test changes, nor mends it meanwhile."""
    with ExitStack() as held:
        for member in members:
            held.enter_context(member.node.records.replication._turning)
        yield


def cids_of(case: Case) -> set[Cid]:
    return {Cid.from_parts(record.cid_codec, record.cid_digest) for record in records_of(case)}


def holds(member: Member, cids: set[Cid]) -> bool:
    return all(member.node.records.blocks.store.has(cid) for cid in cids)


def deposited_everywhere(case: Case) -> None:
    """Until every custodian acknowledged, so that the journal has forgotten the wraps."""
    wait_until(lambda: case.provider.node.records.steps.repair() == 0)


def wipe_blocks(member: Member) -> None:
    shutil.rmtree(member.directory / "blocks")


def forget_deposits(member: Member, case: Case) -> None:
    """As when the database of yesterday was restored."""
    digests = [record.header_digest for record in records_of(case)]
    with member.node.database.begin() as connection:
        connection.execute(delete(deposits).where(deposits.c.header_digest.in_(digests)))
        connection.execute(delete(block_references).where(block_references.c.holder.in_(digests)))


def returned(member: Member, case: Case) -> bool:
    """Whether the member has its deposits of the case's records."""
    held = member.node.records.deposits
    return all(held.find(record.record_id, record.header_digest) for record in records_of(case))


@pytest.mark.usefixtures("try_again_soon")
def test_custodian_whose_block_store_was_wiped_heals_by_itself(case):
    for value in (5.1, 5.2, 5.3):
        case.publish(observation(value), condition(f"problem {value}"))
    custodian = case.network.members[2]
    deposited_everywhere(case)
    custodian.node.stop()
    wipe_blocks(custodian)
    custodian.restart()
    cids = cids_of(case)
    assert len(cids) >= 6
    wait_until(lambda: holds(custodian, cids))
    wait_until(lambda: states(custodian, case) == [ReplicaState.FULL] * len(cids))
    assert custodian.node.records.blocks.sweep() == 0


def test_wiped_custodian_serves_reads_with_the_other_custodians_blocks_at_once(case):
    case.publish()
    deposited_everywhere(case)
    reader = case.network.members[1]
    case.grant(reader)
    with between_turns(reader):
        for cid in cids_of(case):
            reader.node.records.blocks.store.delete(cid)
        (record,) = case.read(reader).records
    assert (record.failure, b"5.4" in record.content) == (None, True)


@pytest.mark.usefixtures("always_due")
def test_block_that_rots_on_disk_is_found_and_fetched_again(case):
    case.publish()
    custodian = case.network.members[2]
    deposited_everywhere(case)
    (cid,) = cids_of(case)
    (path,) = custodian.directory.rglob(str(cid))
    with between_turns(custodian):
        path.chmod(0o600)
        path.write_bytes(b"rotten" + path.read_bytes()[6:])
    turn(custodian, case)
    wait_until(lambda: turn(custodian, case) == [ReplicaState.FULL])
    assert Cid.of(custodian.node.records.blocks.store.get(cid), cid.codec) == cid


@pytest.mark.usefixtures("always_due")
def test_block_that_nobody_gives_leaves_the_replica_in_trouble_until_someone_does(case):
    case.publish()
    deposited_everywhere(case)
    (cid,) = cids_of(case)
    keeper = case.network.members[0].node.records.blocks.store
    block = keeper.get(cid)
    with between_turns(*case.network.members):
        for member in case.network.members:
            member.node.records.blocks.store.delete(cid)
    custodian = case.network.members[2]
    wait_until(lambda: turn(custodian, case) == [ReplicaState.BLOCKS_MISSING])
    keeper.put(block, cid.codec)
    wait_until(lambda: turn(custodian, case) == [ReplicaState.FULL])


@pytest.fixture
def damaged(new_network: Callable[..., Network]) -> Case:
    """In a network of its own, for what does not heal."""
    return Case.begin(new_network())


@pytest.fixture
def four(new_network: Callable[..., Network], monkeypatch: pytest.MonkeyPatch) -> Network:
    """Two of four shares open: with one custodian down the ledger is told all the same."""
    monkeypatch.setenv("PHR_NODE_CUSTODIANS", "4")
    monkeypatch.setenv("PHR_NODE_THRESHOLD", "2")
    names = ("Seoul Hospital", "Busan Hospital", "Jeju Clinic", "Daegu Hospital")
    return new_network(dict.fromkeys(names, HOSPITAL))


@pytest.mark.usefixtures("always_due")
def test_lost_deposit_comes_again_while_the_author_still_has_its_wraps(four):
    case = Case.begin(four)
    author, custodian, down = four.members[0], four.members[2], four.members[3]
    down.node.stop()
    case.publish()
    wait_until(lambda: states(custodian, case) == [ReplicaState.FULL])
    assert report(author).published_under_replicated == 1
    forget_deposits(custodian, case)
    wait_until(lambda: turn(custodian, case) == [ReplicaState.WRAPS_MISSING] or returned(custodian, case))
    wait_until(lambda: report(author).asked_again.get(custodian.address, 0) >= 1)
    author.node.records.steps.repair()
    wait_until(lambda: returned(custodian, case) and turn(custodian, case) == [ReplicaState.FULL])
    down.restart()
    with between_turns(down):
        deposited_everywhere(case)
    assert (report(author).published, report(author).published_under_replicated) == (1, 0)


@pytest.mark.usefixtures("always_due")
def test_deposit_lost_for_good_is_told_to_the_author_and_readers_use_the_others(damaged):
    case = damaged
    case.publish()
    deposited_everywhere(case)
    author, custodian = case.network.members[0], case.network.members[2]
    before = report(author).published_under_replicated
    with between_turns(custodian):
        forget_deposits(custodian, case)
        custodian.node.records.blocks.store.delete(*cids_of(case))
    wait_until(lambda: turn(custodian, case) == [ReplicaState.WRAPS_MISSING])
    # Without its share the ciphertext is of no use here.
    assert not holds(custodian, cids_of(case))
    wait_until(lambda: report(author).published_under_replicated == before + 1)
    reader = case.network.members[1]
    case.grant(reader)
    (record,) = case.read(reader).records
    assert (record.failure, b"5.4" in record.content) == (None, True)


def test_own_deposit_that_is_gone_is_told_to_the_own_journal(damaged, always_due):
    case = damaged
    case.publish()
    deposited_everywhere(case)
    author = case.provider
    before = report(author).published_under_replicated
    forget_deposits(author, case)
    wait_until(lambda: turn(author, case) == [ReplicaState.WRAPS_MISSING])
    assert report(author).published_under_replicated == before + 1


def test_attack_losses_told_by_a_member_that_holds_no_share_change_nothing(case):
    case.publish()
    deposited_everywhere(case)
    (record,) = records_of(case)
    before = report(case.provider).published_under_replicated
    stranger = case.network.enrol_without_node("Stranger", (Role.CUSTODIAN,))
    body = LostDeposits(record_ids=(record.record_id, bytes(32)))
    answer = case.provider.call("POST", "/custody/lost-deposits", body, key=stranger)
    assert (answer.status_code, answer.json()) == (200, {"coming": []})
    assert report(case.provider).published_under_replicated == before


@pytest.mark.usefixtures("try_again_soon")
def test_record_of_other_custodians_is_looked_at_once_and_never_again(four, monkeypatch):
    case = Case.begin(four)
    monkeypatch.setattr(
        case.provider.node.records.publisher._book, "_policy", CustodyPolicy(custodians=3, threshold=2)
    )
    case.publish()
    (record,) = records_of(case)
    held = case.provider.node.records.deposits.find(record.record_id, record.header_digest)
    chosen = {entry.address for entry in Header.from_bytes(held.header).custodians}
    (other,) = [member for member in four.members if member.address not in chosen]
    wait_until(lambda: turn(other, case) == [ReplicaState.ELSEWHERE])
    monkeypatch.setattr(other.node.records.peers, "custodian", None)
    assert turn(other, case) == [ReplicaState.ELSEWHERE]
    assert report(other).to_check == 0


@pytest.mark.usefixtures("always_due")
def test_turn_without_time_stops_and_the_next_ones_go_on_where_it_was(damaged, monkeypatch):
    case = damaged
    for value in (5.1, 5.2, 5.3, 5.4):
        case.publish(observation(value))
    custodian = case.network.members[2]
    deposited_everywhere(case)
    custodian.node.repairs.stop()
    wait_until(lambda: turn(custodian, case) == [ReplicaState.FULL] * 4)
    for cid in cids_of(case):
        custodian.node.records.blocks.store.delete(cid)
    clock = iter(range(10**6))
    replication_of = custodian.node.records.replication
    # Each look at the clock is a second later: a turn has time for one block.
    monkeypatch.setattr(replication_of, "_monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(replication, "TURN_SECONDS", 1.5)
    healed: list[int] = []

    def turn_once() -> bool:
        replication_of.turn()
        healed.append(sum(custodian.node.records.blocks.store.has(cid) for cid in cids_of(case)))
        return healed[-1] == 4

    # A peer on a busy machine may be slow to answer: that costs turns, not blocks.
    wait_until(turn_once)
    assert healed[0] < 4
    assert healed == sorted(healed)


def test_turn_when_all_is_well_asks_nobody(case, monkeypatch, always_due):
    case.publish()
    deposited_everywhere(case)
    custodian = case.network.members[2]
    wait_until(lambda: turn(custodian, case) == [ReplicaState.FULL])
    monkeypatch.setattr(custodian.node.records.peers, "custodian", None)
    monkeypatch.setattr(custodian.node.records.peers, "node", None)
    assert turn(custodian, case) == [ReplicaState.FULL]


@pytest.mark.usefixtures("always_due")
def test_repair_of_a_custodian_whose_disk_is_at_its_reserve_waits_for_room(case, monkeypatch):
    case.publish()
    custodian = case.network.members[2]
    deposited_everywhere(case)
    wait_until(lambda: turn(custodian, case) == [ReplicaState.FULL])
    blocks = custodian.node.records.blocks
    with monkeypatch.context() as full:
        full.setattr(blocks, "_free_bytes", lambda: blocks._reserve_bytes)
        blocks.store.delete(*cids_of(case))
        assert turn(custodian, case) == [ReplicaState.BLOCKS_MISSING]
        assert not holds(custodian, cids_of(case))
    wait_until(lambda: turn(custodian, case) == [ReplicaState.FULL])


def test_custodian_that_was_suspended_by_mistake_gets_what_waited_for_it(four):
    case = Case.begin(four)
    author, down = four.members[0], four.members[3]
    steps = author.node.records.steps
    down.node.stop()
    case.publish()
    four.administer(calls.set_member_active(down.address, False))
    for _ in range(2):
        assert steps.repair() == 1
    assert (report(author).published, report(author).published_under_replicated) == (1, 1)
    four.administer(calls.set_member_active(down.address, True))
    down.restart()
    # It tells of no loss that is mended by the time it is heard of.
    with between_turns(down):
        deposited_everywhere(case)
        wait_until(lambda: returned(down, case))
    assert report(author).published_under_replicated == 0


def test_custodian_that_stays_suspended_is_sent_nothing_and_given_up_after_days(four, monkeypatch):
    case = Case.begin(four)
    author, left = four.members[0], four.members[3]
    steps = author.node.records.steps
    left.node.stop()
    case.publish()
    # Its own turns could have begun before the suspension, and go on after it.
    author.node.repairs.stop()
    four.administer(calls.set_member_active(left.address, False))
    # What was tried before the suspension may be tried again, and would find the node back.
    wait_until(lambda: not steps._distributor._running)
    left.restart()
    for _ in range(2):
        assert steps.repair() == 1
    assert not returned(left, case)
    monkeypatch.setattr(publication_steps, "GIVEN_UP_SECONDS", 0)
    wait_until(lambda: steps.repair() == 0)
    assert not returned(left, case)
    assert author.node.records.journal.published_but_waiting() == []


def test_losses_that_were_told_long_ago_are_forgotten_when_another_is_told(new_database):
    store = ReplicaStore(new_database)
    old, new = b"o" * 32, b"n" * 32
    with new_database.begin() as connection:
        row = {"record_id": old, "custodian": bytes(20), "told_at": 1000}
        connection.execute(replica_losses.insert().values(row))
    store.told_lost(bytes(20), [new], 1000 + LOSS_SECONDS)
    with new_database.read() as connection:
        assert connection.scalars(select(replica_losses.c.record_id)).all() == [old]
    store.told_lost(bytes(20), [new], 1001 + LOSS_SECONDS)
    with new_database.read() as connection:
        assert connection.scalars(select(replica_losses.c.record_id)).all() == []
