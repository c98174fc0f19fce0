"""Following: each event once, across restarts, failures, large answers and replaced chains."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from chain_fixtures import NODE_MODULES, Key, LedgerWorld

from ledger import calls
from ledger.anvil import Anvil, find_anvil
from ledger.chain import Chain
from ledger.errors import ChainReplaced, ChainUnreachable, NotFinal
from ledger.events import Event, MemberEnrolled, MemberSuspended
from ledger.follow import Checkpoint, Follower, MemoryFollowStore
from vocabulary import Role


def suspend(world: LedgerWorld, member: Key, active: bool = False) -> None:
    world.transact(world.administrator, calls.set_member_active(member.address, active))


def follower(world: LedgerWorld, store: MemoryFollowStore, snapshot_events: int = 5_000) -> Follower:
    return Follower(world.chain, world.deployment, store, snapshot_events=snapshot_events)


def test_advance_takes_in_each_event_once_and_folds_them(ledger_world: LedgerWorld) -> None:
    store = MemoryFollowStore()
    following = follower(ledger_world, store)
    taken = following.advance()
    for _ in range(3):
        ledger_world.enrol(Role.CONSUMER)
        taken += following.advance()
    assert following.advance() == 0
    assert store.events == ledger_world.events()
    assert taken == len(store.events) == 7
    assert following.state == ledger_world.state()


def test_view_held_by_a_reader_is_undisturbed_by_later_events(ledger_world: LedgerWorld) -> None:
    member = ledger_world.enrol(Role.CONSUMER)
    following = follower(ledger_world, MemoryFollowStore())
    before = following.view
    suspend(ledger_world, member)
    following.advance()
    assert before.state.members[member.address].active
    assert not following.state.members[member.address].active


def test_idle_blocks_move_the_checkpoint_and_the_clock_of_the_head(ledger_world: LedgerWorld) -> None:
    store, anvil = MemoryFollowStore(), ledger_world.anvil
    following = follower(ledger_world, store)
    following.advance()
    assert following.seconds_since_advance() == float("inf")
    following.advance()
    assert following.seconds_since_advance() == float("inf")
    anvil.mine(3)
    assert following.advance() == 0
    assert following.seconds_since_advance() < 30
    final = ledger_world.chain.final_block()
    assert store.checkpoint == following.view.checkpoint == Checkpoint(final.number, final.hash, final.time)


@pytest.mark.parametrize("snapshot_events", [1, 5_000])
def test_restart_on_a_chain_that_lost_idle_blocks_alone_goes_on_from_the_last_event(
    ledger_world: LedgerWorld, snapshot_events: int
) -> None:
    store, anvil = MemoryFollowStore(), ledger_world.anvil
    ledger_world.enrol(Role.CONSUMER)
    kept = ledger_world.chain.request("evm_snapshot")
    anvil.mine(3)
    follower(ledger_world, store, snapshot_events).advance()
    lost = store.checkpoint
    assert lost is not None
    assert ledger_world.chain.request("evm_revert", [kept])
    ledger_world.enrol(Role.AUDITOR)
    anvil.mine(5)
    assert ledger_world.chain.block(lost.block_number).hash != lost.block_hash
    restarted = follower(ledger_world, store, snapshot_events)
    assert restarted.advance() == 2
    assert restarted.state == ledger_world.state()
    assert store.events == ledger_world.events()


@pytest.mark.parametrize("with_events", [True, False])
def test_restart_on_another_block_at_the_checkpoint_of_a_chain_that_loses_none_is_refused(
    ledger_world: LedgerWorld, with_events: bool
) -> None:
    """Two final blocks at one height are the proof of a fork, also where no event differs."""
    store, anvil = MemoryFollowStore(), ledger_world.anvil
    engine = replace(ledger_world.chain.engine, loses_newest_blocks=False)
    deployment = ledger_world.deployment
    if with_events:
        ledger_world.enrol(Role.CONSUMER)
    else:
        deployment = replace(deployment, block_number=ledger_world.chain.final_block().number + 1)
    kept = ledger_world.chain.request("evm_snapshot")
    anvil.mine(3)
    with Chain(ledger_world.chain.url, engine) as chain:
        Follower(chain, deployment, store).advance()
        assert bool(store.events) == with_events
        assert ledger_world.chain.request("evm_revert", [kept])
        ledger_world.enrol(Role.AUDITOR)
        anvil.mine(5)
        with pytest.raises(ChainReplaced, match="was taken in before"):
            Follower(chain, deployment, store).advance()


def test_restart_on_an_endpoint_that_is_behind_the_checkpoint_waits_for_it(ledger_world: LedgerWorld) -> None:
    store, anvil = MemoryFollowStore(), ledger_world.anvil
    ledger_world.enrol(Role.CONSUMER)
    engine = replace(ledger_world.chain.engine, loses_newest_blocks=False)
    with Chain(ledger_world.chain.url, engine) as chain:
        Follower(chain, ledger_world.deployment, store).advance()
        assert store.checkpoint is not None
        ahead = replace(store.checkpoint, block_number=store.checkpoint.block_number + 3)
        behind = replace(store, checkpoint=ahead)
        restarted = Follower(chain, ledger_world.deployment, behind)
        with pytest.raises(ChainUnreachable, match="is behind"):
            restarted.advance()
        anvil.mine(3)
        behind.checkpoint = replace(ahead, block_hash=chain.block(ahead.block_number).hash)
        restarted.advance()
        assert restarted.view.checkpoint.block_number == ahead.block_number


def test_restart_on_a_chain_that_lost_an_event_is_refused(ledger_world: LedgerWorld) -> None:
    store, anvil = MemoryFollowStore(), ledger_world.anvil
    kept = ledger_world.chain.request("evm_snapshot")
    ledger_world.enrol(Role.CONSUMER)
    follower(ledger_world, store).advance()
    assert ledger_world.chain.request("evm_revert", [kept])
    anvil.mine(5)
    with pytest.raises(ChainReplaced):
        follower(ledger_world, store).advance()


@pytest.mark.parametrize("snapshot_events", [1, 2, 5, 5_000])
def test_restart_goes_on_from_snapshot_and_checkpoint(
    ledger_world: LedgerWorld, snapshot_events: int
) -> None:
    store = MemoryFollowStore()
    for _ in range(3):
        member = ledger_world.enrol(Role.CONSUMER)
        suspend(ledger_world, member)
        restarted = follower(ledger_world, store, snapshot_events)
        restarted.advance()
        suspend(ledger_world, member, active=True)
        restarted.advance()
        assert restarted.state == ledger_world.state()
    assert store.events == ledger_world.events()


@pytest.mark.parametrize("damage", [b"", b"\xff", b"\x82\x01\x02", "flip", "cut", "foreign"])
def test_restart_with_a_damaged_snapshot_reads_the_chain_again(
    ledger_world: LedgerWorld, damage: bytes | str
) -> None:
    store = MemoryFollowStore()
    ledger_world.enrol(Role.CONSUMER)
    follower(ledger_world, store, snapshot_events=1).advance()
    whole = store.snapshot
    assert whole is not None
    if damage == "flip":
        store.snapshot = whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:]
    elif damage == "cut":
        store.snapshot = whole[: len(whole) // 2]
    elif damage == "foreign":
        store.snapshot = whole.replace(ledger_world.deployment.address, bytes(20))
    else:
        assert isinstance(damage, bytes)
        store.snapshot = damage
    ledger_world.enrol(Role.AUDITOR)
    restarted = follower(ledger_world, store)
    assert restarted.advance() == 2
    assert restarted.state == ledger_world.state()
    assert store.events == ledger_world.events()


def test_restart_with_a_snapshot_ahead_of_the_checkpoint_skips_no_event(ledger_world: LedgerWorld) -> None:
    store = MemoryFollowStore()
    follower(ledger_world, store).advance()
    early, before = store.checkpoint, list(store.events)
    ledger_world.enrol(Role.CONSUMER)
    follower(ledger_world, store, snapshot_events=1).advance()
    store.checkpoint, store.events = early, before
    restarted = follower(ledger_world, store)
    assert restarted.advance() == 2
    assert store.events == ledger_world.events()
    assert restarted.state == ledger_world.state()


class FailingStore(MemoryFollowStore):
    failures = 0

    def commit(self, events: Sequence[Event], checkpoint: Checkpoint, snapshot: bytes | None) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("no space left on device")
        super().commit(events, checkpoint, snapshot)


def test_failed_commit_leaves_the_view_and_the_next_advance_goes_on(ledger_world: LedgerWorld) -> None:
    store = FailingStore()
    following = follower(ledger_world, store)
    following.advance()
    ledger_world.enrol(Role.CONSUMER)
    before = following.view
    store.failures = 2
    for _ in range(2):
        with pytest.raises(OSError, match="no space"):
            following.advance()
        assert following.view == before
    assert following.advance() == 2
    assert store.events == ledger_world.events()
    assert following.state == ledger_world.state()


def test_answers_over_the_size_limit_are_asked_for_in_smaller_ranges(ledger_world: LedgerWorld) -> None:
    for _ in range(20):
        ledger_world.enrol(Role.CONSUMER)
    with Chain(ledger_world.chain.url, ledger_world.chain.engine, max_answer_bytes=50_000) as narrow:
        store = MemoryFollowStore()
        following = Follower(narrow, ledger_world.deployment, store)
        assert following.advance() == 41
        assert following.state == ledger_world.state()


def test_ranges_of_one_block_give_the_same_state(ledger_world: LedgerWorld) -> None:
    engine = replace(ledger_world.chain.engine, max_log_blocks=1)
    for _ in range(3):
        ledger_world.enrol(Role.CONSUMER)
    with Chain(ledger_world.chain.url, engine) as narrow:
        following = Follower(narrow, ledger_world.deployment, MemoryFollowStore())
        following.advance()
        assert following.state == ledger_world.state()


def test_advance_to_a_block_waits_for_it_and_no_longer_than_told(ledger_world: LedgerWorld) -> None:
    following = follower(ledger_world, MemoryFollowStore())
    member = Key.new()
    ledger_world.enrol(Role.CONSUMER, key=member)
    final = ledger_world.chain.final_block().number
    assert member.address in following.advance_to(final).state.members
    with pytest.raises(NotFinal, match=str(final + 1)):
        following.advance_to(final + 1, timeout_seconds=0)


@pytest.fixture
def own_world(tmp_path: Path) -> Iterator[LedgerWorld]:
    """A ledger on a chain of its own, which the test may break."""
    with Anvil(tmp_path / "chain", binary=find_anvil(NODE_MODULES), block_seconds=None) as anvil:
        world = LedgerWorld(anvil)
        yield world
        world.close()


def test_rewritten_block_at_the_checkpoint_is_named(own_world: LedgerWorld) -> None:
    following = follower(own_world, MemoryFollowStore())
    mark = own_world.chain.request("evm_snapshot")
    own_world.enrol(Role.CONSUMER)
    following.advance()
    at = following.view.checkpoint.block_number
    own_world.chain.request("evm_revert", [mark])
    with pytest.raises(ChainReplaced, match=f"block {at}"):
        following.advance()
    for _ in range(3):
        own_world.enrol(Role.AUDITOR)
    with pytest.raises(ChainReplaced, match=f"block {at}"):
        following.advance()


def test_rewritten_block_while_the_follower_was_down_is_named(own_world: LedgerWorld) -> None:
    store = MemoryFollowStore()
    mark = own_world.chain.request("evm_snapshot")
    own_world.enrol(Role.CONSUMER)
    follower(own_world, store, snapshot_events=1).advance()
    assert store.checkpoint is not None
    own_world.chain.request("evm_revert", [mark])
    own_world.anvil.mine(5)
    with pytest.raises(ChainReplaced, match=f"block {store.checkpoint.block_number}"):
        follower(own_world, store).advance()


def test_code_replaced_at_the_contracts_address_is_named(own_world: LedgerWorld) -> None:
    own_world.chain.request("anvil_setCode", ["0x" + own_world.deployment.address.hex(), "0x00"])
    with pytest.raises(ChainReplaced, match="code at"):
        follower(own_world, MemoryFollowStore()).advance()


def test_another_chain_behind_the_same_address_is_named(own_world: LedgerWorld, tmp_path: Path) -> None:
    store = MemoryFollowStore()
    follower(own_world, store).advance()
    port = int(own_world.chain.url.rsplit(":", 1)[1])
    own_world.anvil.kill()
    other = Anvil(
        tmp_path / "other",
        binary=find_anvil(NODE_MODULES),
        block_seconds=None,
        port=port,
        genesis_time=1_700_000_000,
    )
    with other, pytest.raises(ChainReplaced, match="genesis block"):
        follower(own_world, store).advance()


def test_chain_gone_and_back_is_followed_on(own_world: LedgerWorld) -> None:
    store = MemoryFollowStore()
    following = follower(own_world, store)
    following.advance()
    own_world.anvil.stop()
    with pytest.raises(ChainUnreachable, match="is its node running"):
        following.advance()
    own_world.anvil.start()
    member = own_world.enrol(Role.CONSUMER)
    suspend(own_world, member)
    assert following.advance() == 3
    assert [type(event) for event in store.events[-3:]][::2] == [MemberEnrolled, MemberSuspended]
    assert following.state == own_world.state()
