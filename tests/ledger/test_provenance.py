"""Whether a contract is the one that this program was built with, against contracts that pretend to be."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import rlp  # type: ignore[import-untyped]  # it ships no types
from chain_fixtures import LedgerWorld, Validators
from lying_endpoint import LyingEndpoint

from ledger.anvil import Anvil
from ledger.artifact import artifact
from ledger.chain import Chain
from ledger.deploy import Deployment
from ledger.endpoints import Endpoints
from ledger.engine import ANVIL
from ledger.errors import ChainReplaced
from ledger.provenance import Origin, verify_origin
from ledger.transactions import sign_transaction


def test_origin_of_own_contract_tells_administrator_and_threshold(chain_host: Anvil | Validators) -> None:
    world = LedgerWorld(chain_host, minimum_threshold=3)
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


@pytest.fixture
def other_rules(anvil: Anvil) -> Iterator[tuple[LedgerWorld, Deployment]]:
    """A contract that differs in one instruction, and a deployment.json that is true of it."""
    world = LedgerWorld(anvil)
    code = bytearray(artifact().bytecode)
    code[2_000] ^= 1
    receipt = world.sender(world.administrator).send(None, bytes(code) + _arguments(world))
    assert receipt.contract is not None
    yield (
        world,
        replace(
            world.deployment,
            address=receipt.contract,
            block_number=receipt.block_number,
            code_hash=world.chain.code_hash(receipt.contract),
        ),
    )
    world.close()


def _shows_own_artifact(world: LedgerWorld) -> Callable[[list[Any], Any], Any]:
    """Of the block's deployment it tells that it was made from this program's code."""
    genuine = "0x" + (artifact().bytecode + _arguments(world)).hex()

    def change(parameters: list[Any], result: Any) -> Any:
        if not parameters[1]:
            return result
        made = [{**one, "input": genuine} if one["to"] is None else one for one in result["transactions"]]
        return {**result, "transactions": made}

    return change


def test_attack_endpoint_shows_other_code_than_the_deployer_signed_is_refused(
    other_rules: tuple[LedgerWorld, Deployment],
) -> None:
    world, deployment = other_rules
    endpoint = LyingEndpoint(world.chain.url)
    try:
        endpoint.lie("eth_getBlockByNumber", _shows_own_artifact(world))
        with Chain(endpoint.url, ANVIL) as chain, pytest.raises(ChainReplaced, match="signed"):
            verify_origin(chain, deployment)
    finally:
        endpoint.close()


@pytest.mark.parametrize("liar", [0, 1])
def test_attack_one_of_several_endpoints_lies_about_the_origin_is_refused(
    other_rules: tuple[LedgerWorld, Deployment], liar: int
) -> None:
    """Also where the deployer signed both, and only one of them landed: enough endpoints must show the same."""
    world, deployment = other_rules
    endpoints = [LyingEndpoint(world.chain.url) for _ in range(4)]
    try:
        endpoints[liar].lie("eth_getBlockByNumber", _signed_by_the_deployer(world))
        # However busy this machine is, who is honest is in time.
        unhurried = {"call_seconds": 60.0, "hedge_seconds": 60.0, "patience_seconds": 60.0}
        with Endpoints([one.url for one in endpoints], ANVIL, deployment, **unhurried) as chain:
            with pytest.raises(ChainReplaced, match="other code"):
                verify_origin(chain, deployment)
            (problem,) = chain.problems()
            assert endpoints[liar].url in problem
    finally:
        for one in endpoints:
            one.close()


def _signed_by_the_deployer(world: LedgerWorld) -> Callable[[list[Any], Any], Any]:
    """Of the block's deployment it tells what the deployer signed, too, but never sent."""
    key, genuine = world.administrator, artifact().bytecode + _arguments(world)

    def change(parameters: list[Any], result: Any) -> Any:
        if not parameters[1]:
            return result
        nonce, gas = int(result["transactions"][0]["nonce"], 16), int(result["transactions"][0]["gas"], 16)
        signed = sign_transaction(
            chain_id=world.scope.chain_id, nonce=nonce, gas_price_wei=0, gas=gas, to=None, data=genuine,
            sender=key.address, sign_digest=key.sign_digest,
        )  # fmt: skip
        v, r, s = (int.from_bytes(part, "big") for part in rlp.decode(signed.raw)[6:])
        lie = {
            "input": "0x" + genuine.hex(),
            "v": hex(v),
            "r": hex(r),
            "s": hex(s),
            "hash": "0x" + signed.hash.hex(),
        }
        return {**result, "transactions": [{**result["transactions"][0], **lie}]}

    return change


def _arguments(world: LedgerWorld) -> bytes:
    return bytes(12) + world.administrator.address + (2).to_bytes(32)
