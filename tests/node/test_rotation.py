"""A member's new keys: the ledger names them before they are used, a kill at each step is finished by repeating it."""

from collections.abc import Callable

import pytest
from node_fixtures import CHEAP, Member, Network
from node_processes import wait_until
from records_flow import Case

from crypto.keystore import MemberSecrets, read_keystore
from ledger.contract import ConsentLedger
from node.config import NodeConfig
from node.errors import ConfigurationError
from node.rotation import NEXT_KEYSTORE, rotate

STEPS = ("settings", "made", "on the ledger", "in use")


class Killed(Exception):
    """Stands for a process that ended at a step, with whatever was on disk then."""


def _kill_at(step: str) -> Callable[[str], None]:
    def reached(here: str) -> None:
        if here == step:
            raise Killed(step)

    return reached


def _secrets(member: Member) -> MemberSecrets:
    config = NodeConfig.load(member.directory)
    return read_keystore(
        config.path(config.keystore), (member.directory / "passphrase").read_text().rstrip("\n")
    )


def _on_ledger(network: Network, member: Member) -> tuple[bytes, bytes, int]:
    contract = ConsentLedger(network.chain, network.deployment.address)
    digests = contract.member_key_digests(member.address)
    return (
        digests.encryption_key_digest,
        digests.transport_key,
        contract.member_words([member.address])[0] >> 17,
    )


def _rotate(member: Member, **options: object) -> object:
    member.node.stop()
    try:
        return rotate(member.directory, cost=CHEAP, **options)  # type: ignore[arg-type]
    finally:
        member.restart()


def test_rotated_keys_are_those_of_the_ledger_and_what_was_sealed_to_the_old_ones_stays_readable(
    network: Network,
) -> None:
    author, reader = network.members[0], network.members[1]
    case = Case.begin(network, author)
    before = case.publish()
    case.grant(reader)
    old = {member.address: _secrets(member) for member in (author, reader)}
    for member in (author, reader):
        rotated = _rotate(member)
        assert (rotated.version, rotated.keys_changed) == (2, True)  # type: ignore[attr-defined]
        new, was = _secrets(member), old[member.address]
        assert new.encryption_keys[1:] == was.encryption_keys
        assert new.transport_seed != was.transport_seed
        assert new.account.address == was.account.address
        identity = member.node.identity
        assert _on_ledger(network, member)[:2] == (
            identity.current_encryption_key.digest,
            identity.transport_public_key,
        )
        assert not (member.directory / NEXT_KEYSTORE).exists()
    network.wait_for_all()
    # Shares and grants of before, by requests that the new transport keys sign; and a record sealed to the new keys.
    after = case.publish()
    read = case.read(reader)
    wanted = {record.record_id for publication in (before, after) for record in publication.records}
    assert wanted <= {item.record_id for item in read.records if item.content is not None}


@pytest.mark.parametrize("step", STEPS)
def test_rotation_killed_at_each_step_is_finished_by_repeating_it(network: Network, step: str) -> None:
    member = network.members[2]
    known = _on_ledger(network, member)
    member.node.stop()
    with pytest.raises(Killed):
        rotate(member.directory, cost=CHEAP, reached=_kill_at(step))
    # Whatever was killed, the member can go on with what it has: old keys and new are never lost.
    rotated = rotate(member.directory, cost=CHEAP)
    member.restart()
    identity = member.node.identity
    assert _on_ledger(network, member) == (
        identity.current_encryption_key.digest,
        identity.transport_public_key,
        rotated.version,
    )
    # Killed after the new keys were in use and before their copy was gone, the second run has nothing to change.
    assert rotated.version == known[2] + 1
    wait_until(lambda: member.node.status.health().problems == (), "the node has no problem")


def test_endpoint_alone_changes_on_the_ledger_and_in_the_settings_and_keys_stay(network: Network) -> None:
    member = network.members[2]
    before, version = _secrets(member), _on_ledger(network, member)[2]
    endpoint = NodeConfig.load(member.directory).endpoint
    rotated = _rotate(member, new_keys=False, endpoint=endpoint.replace("127.0.0.1", "localhost"))
    assert (rotated.version, rotated.keys_changed) == (version + 1, False)  # type: ignore[attr-defined]
    network.wait_for_all()
    state = network.members[0].node.ledger.snapshot().state
    assert state.members[member.address].endpoint == NodeConfig.load(member.directory).endpoint
    assert "localhost" in NodeConfig.load(member.directory).endpoint
    assert _secrets(member).encryption_keys == before.encryption_keys
    assert _secrets(member).transport_seed == before.transport_seed
    again = _rotate(member, new_keys=False, endpoint=state.members[member.address].endpoint)
    assert again.version == version + 1, "nothing is sent where nothing changes"  # type: ignore[attr-defined]
    _rotate(member, new_keys=False, endpoint=endpoint)


def test_rotation_of_a_running_node_is_refused_and_changes_nothing(network: Network) -> None:
    member = network.members[1]
    before = (member.directory / "keystore").read_bytes()
    with pytest.raises(ConfigurationError, match="runs already"):
        rotate(member.directory, cost=CHEAP)
    assert (member.directory / "keystore").read_bytes() == before
    assert not (member.directory / NEXT_KEYSTORE).exists()


@pytest.mark.parametrize("endpoint", ["", "seoul.example", "ftp://seoul.example", 'http://x"\nname = "y'])
def test_endpoint_that_is_no_url_is_refused_and_the_settings_stay(network: Network, endpoint: str) -> None:
    member = network.members[1]
    path = member.directory / "node.toml"
    before = path.read_bytes()
    member.node.stop()
    try:
        with pytest.raises(ConfigurationError):
            rotate(member.directory, new_keys=False, endpoint=endpoint, cost=CHEAP)
        assert path.read_bytes() == before
    finally:
        member.restart()
