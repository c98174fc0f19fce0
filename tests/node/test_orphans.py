"""Orphans: purged only past the deadline and without a record; blocks go when nothing needs them."""

import secrets
from dataclasses import replace

import pytest
from custody_world import CustodyWorld
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from node.blocks import UNREFERENCED_SECONDS
from node.errors import TooMany
from storage import BlockNotFoundError


def age_blocks(world: CustodyWorld) -> None:
    world.custodian.clock.seconds += UNREFERENCED_SECONDS + 1


def test_sweep_before_the_deadline_keeps_the_deposit(custody_world):
    sealed = custody_world.seal()
    custody_world.deposit(custody_world.custodian, sealed)
    custody_world.publish_state(seconds=3500)
    age_blocks(custody_world)
    assert custody_world.custodian.sweeper.sweep().deposits == 0
    assert custody_world.custodian.deposits.count() == (1, 1)


def test_sweep_past_the_deadline_purges_the_orphan_and_then_its_blocks(custody_world):
    sealed = custody_world.seal()
    custody_world.deposit(custody_world.custodian, sealed)
    custody_world.publish_state(seconds=3700)
    age_blocks(custody_world)
    swept = custody_world.custodian.sweeper.sweep()
    assert (swept.deposits, swept.blocks) == (1, 1)
    (cid,) = sealed.blocks.cids()
    with pytest.raises(BlockNotFoundError):
        custody_world.custodian.store.get(cid)


def test_sweep_past_the_deadline_keeps_a_record_that_is_on_the_ledger(custody_world):
    sealed = custody_world.seal()
    custody_world.deposit(custody_world.custodian, sealed)
    custody_world.land(sealed)
    custody_world.publish_state(seconds=10**6)
    age_blocks(custody_world)
    swept = custody_world.custodian.sweeper.sweep()
    assert (swept.deposits, swept.blocks) == (0, 0)
    assert custody_world.custodian.deposits.count() == (1, 0)


def test_sweep_purges_a_deposit_whose_record_landed_under_another_header(custody_world):
    sealed = custody_world.seal()
    custody_world.deposit(custody_world.custodian, sealed)
    record = custody_world.land(sealed)
    custody_world.state.records[record.record_id] = replace(record, header_digest=bytes(32))
    custody_world.publish_state(seconds=3700)
    assert custody_world.custodian.sweeper.sweep().deposits == 1


def test_sweep_by_own_clock_alone_purges_nothing(custody_world):
    sealed = custody_world.seal()
    custody_world.deposit(custody_world.custodian, sealed)
    custody_world.custodian.clock.seconds += 10**6
    swept = custody_world.custodian.sweeper.sweep()
    assert (swept.deposits, swept.blocks) == (0, 0)


def test_sweep_removes_a_block_that_no_deposit_ever_needed(custody_world):
    cid = custody_world.custodian.blocks.put(custody_world.stranger.address, b"left behind")
    assert custody_world.custodian.sweeper.sweep().blocks == 0
    age_blocks(custody_world)
    assert custody_world.custodian.sweeper.sweep().blocks == 1
    assert not custody_world.custodian.store.has(cid)


def test_sweep_keeps_a_block_that_another_deposit_shares(custody_world):
    sealed = custody_world.seal()
    custody_world.deposit(custody_world.custodian, sealed)
    (cid,) = sealed.blocks.cids()
    holder = secrets.token_bytes(32)
    with custody_world.custodian.blocks.referring(holder, [cid]):
        pass
    custody_world.publish_state(seconds=3700)
    age_blocks(custody_world)
    swept = custody_world.custodian.sweeper.sweep()
    assert (swept.deposits, swept.blocks) == (1, 0)
    assert custody_world.custodian.store.has(cid)


def test_put_block_beyond_a_members_share_of_waiting_blocks_is_refused(custody_world, monkeypatch):
    monkeypatch.setattr("node.blocks.UNREFERENCED_BYTES_PER_MEMBER", 1000)
    sealed = custody_world.seal(secrets.token_bytes(5000))
    (cid,) = sealed.blocks.cids()
    with pytest.raises(TooMany):
        custody_world.custodian.blocks.accept(
            custody_world.stranger.address, str(cid), sealed.blocks.get(cid)
        )


class CustodyMachine(RuleBasedStateMachine):
    """Deposits, records and time in any order: what is on the ledger is never purged, what is early neither."""

    @initialize()
    def begin(self) -> None:
        import tempfile
        from pathlib import Path

        self.directory = tempfile.TemporaryDirectory()
        self.world = CustodyWorld(Path(self.directory.name))
        self.waiting: dict[bytes, tuple[object, int]] = {}
        self.landed: list[object] = []

    @rule()
    def deposit(self) -> None:
        sealed = self.world.seal(secrets.token_bytes(50))
        self.world.deposit(self.world.custodian, sealed)
        self.waiting[sealed.record_id] = (sealed, self.world.time + 3600)

    @rule()
    def land(self) -> None:
        for record_id, (sealed, deadline) in list(self.waiting.items()):
            if deadline >= self.world.time + 1:
                self.world.land(sealed)
                self.landed.append(sealed)
                del self.waiting[record_id]
                return

    @rule()
    def pass_time(self) -> None:
        self.world.publish_state(seconds=2000)
        self.world.custodian.clock.seconds += 2000

    @rule()
    def sweep(self) -> None:
        self.world.custodian.sweeper.sweep()
        now = self.world.time
        self.waiting = {key: one for key, one in self.waiting.items() if one[1] >= now}

    @invariant()
    def everything_owed_is_held(self) -> None:
        if not hasattr(self, "world"):
            return
        for sealed in [*self.landed, *(one[0] for one in self.waiting.values())]:
            digest = sealed.record.header.digest
            assert self.world.custodian.deposits.find(sealed.record_id, digest) is not None
            for cid in sealed.blocks.cids():
                assert self.world.custodian.store.get(cid) == sealed.blocks.get(cid)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()
            self.directory.cleanup()


CustodyMachine.TestCase.settings = settings(max_examples=8, stateful_step_count=12, deadline=None)
TestCustodyMachine = CustodyMachine.TestCase
