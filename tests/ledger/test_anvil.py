"""The embedded engine: its state survives a restart, and its process leaves nothing behind."""

import os
import time
from pathlib import Path

import pytest
from chain_fixtures import NODE_MODULES, LedgerWorld

from ledger import calls
from ledger.anvil import STATE_FILE, Anvil, find_anvil
from ledger.errors import ChainUnreachable, EngineFailed
from vocabulary import Role


@pytest.fixture(scope="module")
def binary() -> Path:
    return find_anvil(NODE_MODULES)


def test_state_history_and_genesis_survive_a_restart(tmp_path: Path, binary: Path) -> None:
    with Anvil(tmp_path, binary=binary, block_seconds=None) as anvil:
        world = LedgerWorld(anvil)
        member = world.enrol(Role.PROVIDER)
        before, state, genesis = world.chain.final_block(), world.state(), world.chain.genesis_hash()
        receipt = world.transact(world.administrator, calls.set_member_roles(member.address, 3))
        anvil.stop()
        anvil.start()
        assert world.chain.genesis_hash() == genesis
        assert world.chain.block(before.number) == before
        assert world.chain.receipt(receipt.transaction_hash) == receipt
        assert world.state() != state
        assert world.contract.member_words([member.address]) == [world.state().members[member.address].word]
        world.transact(world.administrator, calls.set_member_roles(member.address, 1))
        assert world.state().members == state.members
        world.close()


def test_what_was_not_saved_before_a_kill_is_gone_and_the_rest_is_there(tmp_path: Path, binary: Path) -> None:
    with Anvil(tmp_path, binary=binary, block_seconds=None) as anvil:
        world = LedgerWorld(anvil)
        anvil.save()
        saved = world.events()
        world.enrol(Role.PROVIDER)
        anvil.kill()
        with pytest.raises(ChainUnreachable):
            world.events()
        anvil.start()
        assert world.events() == saved
        world.close()


def test_save_interrupted_half_way_leaves_the_state_before(
    tmp_path: Path, binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Anvil(tmp_path, binary=binary, block_seconds=None) as anvil:
        anvil.save()
        before = (tmp_path / STATE_FILE).read_bytes()
        files = sorted(tmp_path.iterdir())
        anvil.mine(3)
        with monkeypatch.context() as failing:
            failing.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError("disk full")))
            with pytest.raises(OSError, match="disk full"):
                anvil.save()
        assert (tmp_path / STATE_FILE).read_bytes() == before
        assert sorted(tmp_path.iterdir()) == files


def test_idle_blocks_are_mined_so_that_time_goes_on(tmp_path: Path, binary: Path) -> None:
    with Anvil(tmp_path, binary=binary, block_seconds=0.05) as anvil, anvil.chain() as chain:
        deadline = time.monotonic() + 120
        while chain.final_block().number < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_mixed_mining_takes_transactions_between_the_blocks(tmp_path: Path, binary: Path) -> None:
    with Anvil(tmp_path, binary=binary, block_seconds=3600.0) as anvil:
        world = LedgerWorld(anvil)
        world.enrol(Role.PROVIDER)
        assert len(world.state().members) == 1
        world.close()


def test_process_is_gone_after_stop(tmp_path: Path, binary: Path) -> None:
    anvil = Anvil(tmp_path, binary=binary)
    anvil.start()
    pid = anvil.pid
    assert pid is not None
    anvil.stop()
    anvil.stop()
    assert anvil.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_port_that_is_taken_is_said_with_the_engines_words(tmp_path: Path, binary: Path) -> None:
    with Anvil(tmp_path / "one", binary=binary) as one:
        port = int(one.url.rsplit(":", 1)[1])
        with pytest.raises(EngineFailed, match="did not start"):
            Anvil(tmp_path / "other", binary=binary, port=port).start()
        with one.chain() as chain:
            assert chain.chain_id() == 31337


def test_state_file_that_is_damaged_is_said_at_the_start(tmp_path: Path, binary: Path) -> None:
    (tmp_path / STATE_FILE).write_bytes(b"")
    with pytest.raises(EngineFailed, match="did not start"):
        Anvil(tmp_path, binary=binary).start()


def test_binary_that_is_not_installed_is_said_with_its_package(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="install it with npm"):
        find_anvil(tmp_path)
