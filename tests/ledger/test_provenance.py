"""Whether a contract is the one that this program was built with, against contracts that pretend to be."""

from dataclasses import replace

import pytest
from chain_fixtures import LedgerWorld

from ledger.anvil import Anvil
from ledger.artifact import artifact
from ledger.deploy import Deployment
from ledger.errors import ChainReplaced
from ledger.provenance import Origin, verify_origin


def test_origin_of_own_contract_tells_administrator_and_threshold(anvil: Anvil) -> None:
    world = LedgerWorld(anvil, minimum_threshold=3)
    try:
        found = verify_origin(world.chain, world.deployment)
        assert found == Origin(world.administrator.address, 3)
    finally:
        world.close()


@pytest.mark.parametrize("at", [0, 2_000, -1])
def test_attack_contract_with_one_other_instruction_is_refused(anvil: Anvil, at: int) -> None:
    """An administrator deploys a contract of their own, and a deployment.json that is true of it."""
    world = LedgerWorld(anvil)
    try:
        code = bytearray(artifact().bytecode)
        # Code that ends at once, or that differs somewhere in its body or in the metadata at its end.
        code[at] ^= 1
        changed = bytes(code) if at != 0 else bytes.fromhex("600160005360016000f3") + bytes(code)
        sender = world.sender(world.administrator)
        try:
            receipt = sender.send(None, changed + _arguments(world))
        except Exception:  # noqa: BLE001 - such code need not be deployable at all; then there is nothing to refuse
            pytest.skip("this alteration cannot be deployed")
        assert receipt.contract is not None
        chain = world.chain
        deployment = Deployment(
            receipt.contract,
            receipt.block_number,
            chain.chain_id(),
            chain.genesis_hash(),
            chain.code_hash(receipt.contract),
        )
        with pytest.raises(ChainReplaced, match="other code"):
            verify_origin(chain, deployment)
    finally:
        world.close()


def test_deployment_that_names_another_block_is_refused(anvil: Anvil) -> None:
    world = LedgerWorld(anvil)
    try:
        later = replace(world.deployment, block_number=world.chain.final_block().number)
        earlier = replace(world.deployment, block_number=world.deployment.block_number - 1)
        for wrong in {later, earlier} - {world.deployment}:
            with pytest.raises(ChainReplaced, match="there is none"):
                verify_origin(world.chain, wrong)
    finally:
        world.close()


def test_deployment_of_another_chain_is_refused_before_anything_is_asked_of_it(anvil: Anvil) -> None:
    world = LedgerWorld(anvil)
    try:
        with pytest.raises(ChainReplaced, match="genesis"):
            verify_origin(world.chain, replace(world.deployment, genesis_hash=bytes(32)))
    finally:
        world.close()


def _arguments(world: LedgerWorld) -> bytes:
    return bytes(12) + world.administrator.address + (2).to_bytes(32)
