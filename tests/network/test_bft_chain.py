"""A chain of validators as processes of this machine: its ceremony, its files, and opening it again."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain_fixtures import Key, LedgerWorld, Validators

from engines.bft import DESCRIPTION_FILE, open_chain
from engines.bft_ceremony import create_chain
from engines.errors import EngineFailed, EnginesError
from ledger import calls
from ledger.errors import RpcRefused
from vocabulary import Role

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Validators]:
    """A chain that is made and does not run; whatever a failed test left running is ended."""
    started = Validators.start(tmp_path_factory.mktemp("chain"), accounts=5)
    started.running.stop()
    yield started
    started.running.kill()


def test_every_file_with_a_key_is_for_its_owner_alone(own: Validators) -> None:
    for validator in own.running.validators:
        assert stat.S_IMODE(validator.directory.stat().st_mode) == 0o700
        for name in ("priv_validator_key.json", "node_key.json"):
            assert stat.S_IMODE((validator.directory / "config" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((own.running.directory / DESCRIPTION_FILE).stat().st_mode) == 0o600


def test_no_validator_holds_another_ones_key(own: Validators) -> None:
    secrets = {}
    for validator in own.running.validators:
        found = json.loads((validator.directory / "config" / "priv_validator_key.json").read_text())
        secrets[validator.name] = found["priv_key"]["value"]
    assert len(set(secrets.values())) == 4
    for validator in own.running.validators:
        for path in validator.directory.rglob("*.json"):
            held = {name for name, secret in secrets.items() if secret in path.read_text(errors="replace")}
            assert held <= {validator.name}, path


def test_no_secret_is_in_a_command_line_or_a_log(own: Validators) -> None:
    own.running.start()
    try:
        for validator in own.running.validators:
            key = json.loads((validator.directory / "config" / "priv_validator_key.json").read_text())
            process = validator.background.process()
            assert process is not None
            assert key["priv_key"]["value"] not in " ".join(process.cmdline())
            assert key["priv_key"]["value"] not in validator.background.log_path.read_text(errors="replace")
    finally:
        own.running.stop()


def test_open_chain_finds_the_running_validators_and_stops_them(own: Validators) -> None:
    own.running.start()
    found = open_chain(own.running.directory, own.running.binary)
    assert found == own.running
    assert all(height is not None for height in found.heights())
    assert sorted(found.stop()) == sorted(validator.name for validator in own.running.validators)
    assert found.heights() == [None] * 4
    assert found.stop() == []


def test_start_again_goes_on_from_the_height_that_it_had(own: Validators) -> None:
    own.running.start()
    before = max(height for height in own.running.heights() if height is not None)
    own.running.stop()
    own.running.start()
    own.running.wait_for_height(before + 1)
    own.running.stop()


def test_create_chain_where_there_is_one_changes_nothing(own: Validators) -> None:
    before = (own.running.directory / DESCRIPTION_FILE).read_bytes()
    with pytest.raises(EnginesError, match="has a chain already"):
        create_chain(own.running.directory, own.running.binary, bytes(20), [])
    assert (own.running.directory / DESCRIPTION_FILE).read_bytes() == before


def test_create_chain_again_after_an_interruption_keeps_the_keys(own: Validators, tmp_path: Path) -> None:
    account = Key.new().address
    first = create_chain(tmp_path, own.running.binary, account, [account])
    os.remove(tmp_path / DESCRIPTION_FILE)
    for validator in first.validators:
        # Only the digest of a genesis that nobody has started from may change.
        (validator.directory / "config" / "genesis.json").unlink()
    again = create_chain(tmp_path, own.running.binary, account, [account])
    assert [one.node_id for one in again.validators] == [one.node_id for one in first.validators]


def test_create_chain_twice_gives_chains_that_take_nothing_signed_for_the_other(
    own: Validators, tmp_path: Path
) -> None:
    """An account that was used for trying may be used again: its transactions carry the chain's number."""
    account = Key.new().address
    chains = [
        create_chain(tmp_path / name, own.running.binary, account, [account]) for name in ("one", "two")
    ]
    assert len({chain.evm_chain_id for chain in [*chains, own.running]}) == 3
    assert len({chain.chain_id for chain in [*chains, own.running]}) == 3
    for chain in chains:
        genesis = json.loads((chain.validators[0].directory / "genesis.json").read_bytes())
        assert genesis["chain_id"] == chain.chain_id
        assert str(chain.evm_chain_id) in json.dumps(genesis["app_state"])


def test_create_chain_with_names_that_are_one_folder_is_refused(own: Validators, tmp_path: Path) -> None:
    with pytest.raises(EnginesError, match="different names"):
        create_chain(tmp_path / "new", own.running.binary, bytes(20), [], names=["A b", "a-b"])
    assert not (tmp_path / "new").exists()


def test_start_of_a_validator_that_cannot_start_says_why(own: Validators) -> None:
    validator = own.running.validators[0]
    settings = validator.directory / "config" / "config.toml"
    whole = settings.read_bytes()
    settings.write_bytes(b"[[" + whole)
    try:
        with pytest.raises(EngineFailed, match=r"did not start: .*whole log"):
            own.running.restart(0)
    finally:
        settings.write_bytes(whole)


def test_deploy_and_send_on_validators_enrols_a_member(validators: Validators) -> None:
    world = LedgerWorld(validators)
    member = world.enrol(Role.PROVIDER)
    assert member.address in world.state().members
    world.close()


def test_transaction_of_a_stranger_is_refused_before_any_block(validators: Validators) -> None:
    world, stranger = LedgerWorld(validators), Key.new()
    with pytest.raises(RpcRefused, match="not a member of this chain"):
        world.sender(stranger).submit(
            world.deployment.address, calls.set_member_active(stranger.address, True), gas=100_000
        )
    assert world.chain.transaction_count(stranger.address) == 0
    world.close()


def test_transaction_with_a_forged_signature_is_refused(validators: Validators) -> None:
    world = LedgerWorld(validators)
    with pytest.raises(RpcRefused):
        world.chain.send_raw(bytes.fromhex("f86380808094") + bytes(80))
    world.close()
