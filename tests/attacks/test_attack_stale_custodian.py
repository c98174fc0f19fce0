"""Attacks on a custodian whose view of the ledger lies in the past, where a revocation has not happened yet."""

import pytest
from custody_world import CustodyWorld

from crypto.hpke import EncryptionKey
from node.errors import Unavailable
from node.own_copies import OWN_COPY_AGE_SECONDS
from node.release import HEAD_BEHIND_SECONDS, PERMIT_AGE_SECONDS


def ask(world: CustodyWorld):
    """A deposited record, and a permit that is final and fresh by the chain's own time; returns who asks with it."""
    sealed = world.seal()
    world.deposit(world.custodian, sealed)
    world.land(sealed)
    key = EncryptionKey.generate()
    sequence = world.permit(world.third, sealed, world.grant(world.third), key)

    def release():
        request = world.release_request(sealed, sequence, key)
        (answer,) = world.custodian.release.release(world.third.address, request).releases
        return answer

    return release


def test_attack_release_from_a_custodian_whose_chain_client_still_catches_up_is_refused(
    custody_world: CustodyWorld,
) -> None:
    """Its head advances all the time, a day ago; the consent was revoked since."""
    release = ask(custody_world)
    assert release().sealed is not None
    custody_world.custodian.clock.seconds = custody_world.time + 86_400.0
    for _ in range(3):
        custody_world.publish_state()
        with pytest.raises(Unavailable) as refused:
            release()
        assert refused.value.code == "stale-head"


def test_attack_release_from_a_custodian_that_was_suspended_is_refused(custody_world: CustodyWorld) -> None:
    """The monotonic clock stands still while a machine sleeps; the time of day does not."""
    release = ask(custody_world)
    custodian = custody_world.custodian
    custodian.clock.seconds, custodian.head_clock.seconds = custody_world.time + 3600.0, 1.0
    with pytest.raises(Unavailable) as refused:
        release()
    assert refused.value.code == "stale-head"


def test_release_with_clocks_that_differ_a_little_is_given(custody_world: CustodyWorld) -> None:
    release = ask(custody_world)
    for seconds in (HEAD_BEHIND_SECONDS, -HEAD_BEHIND_SECONDS, -86_400.0):
        custody_world.custodian.clock.seconds = custody_world.time + seconds
        assert release().sealed is not None
    assert HEAD_BEHIND_SECONDS < PERMIT_AGE_SECONDS


def test_attack_thief_of_a_key_gets_no_own_copy_from_a_node_that_is_cut_off_and_hears_of_no_freeze(
    custody_world: CustodyWorld,
) -> None:
    node, sealed = custody_world.custodian, custody_world.seal()
    custody_world.deposit(node, sealed)
    custody_world.land(sealed)
    node.head_clock.seconds += OWN_COPY_AGE_SECONDS
    copy = node.own_copies.own_copy(custody_world.patient, sealed.record_id)
    assert copy.header == sealed.record.header_bytes
    node.head_clock.seconds += 1
    with pytest.raises(Unavailable) as refused:
        node.own_copies.own_copy(custody_world.patient, sealed.record_id)
    assert refused.value.code == "stale-head"
    assert len(node.own_copies.for_patient(custody_world.patient)) == 1
