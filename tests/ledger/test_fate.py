"""Which transaction was mined at a nonce, found in the blocks of each engine."""

from chain_fixtures import LedgerWorld

from ledger import calls
from ledger.fate import mined_at_nonce
from vocabulary import Role


def test_mined_at_nonce_finds_each_transaction_however_long_ago(ledger_world: LedgerWorld) -> None:
    world, key = ledger_world, ledger_world.administrator
    member = world.enrol(Role.CONSUMER)
    first = world.chain.transaction_count(key.address)
    sent = []
    for number in range(5):
        sent.append(world.transact(key, calls.set_member_roles(member.address, number)).transaction_hash)
        world.mine(number)
    for number, hash_ in enumerate(sent):
        assert mined_at_nonce(world.chain, key.address, first + number) == [hash_]
    assert mined_at_nonce(world.chain, key.address, first + len(sent)) == []
