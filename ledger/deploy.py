"""Deploys the contract, and names a deployment so that nobody takes another chain or contract for it."""

from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode

from ledger.addresses import from_text, to_text
from ledger.artifact import artifact
from ledger.blocks import data
from ledger.chain import Chain
from ledger.errors import ChainAnswerInvalid, ChainReplaced, InvalidMessage, LedgerError
from ledger.messages import LedgerScope
from ledger.sender import Sender


@dataclass(frozen=True, slots=True)
class Deployment:
    """One contract on one chain.

    Attributes:
        address: The contract's address (20 bytes).
        block_number: The block of its deployment: replay starts there.
        chain_id: The chain's EIP-155 id.
        genesis_hash: The hash (32 bytes) of the chain's first block.
        code_hash: Keccak-256 (32 bytes) of the contract's code on the chain.
    """

    address: bytes
    block_number: int
    chain_id: int
    genesis_hash: bytes
    code_hash: bytes

    @property
    def scope(self) -> LedgerScope:
        """Where messages for this contract count."""
        return LedgerScope(self.chain_id, self.address)

    def to_json(self) -> dict[str, Any]:
        """The form for a configuration file."""
        return {
            "address": to_text(self.address),
            "blockNumber": self.block_number,
            "chainId": self.chain_id,
            "genesisHash": "0x" + self.genesis_hash.hex(),
            "codeHash": "0x" + self.code_hash.hex(),
        }

    @classmethod
    def from_json(cls, value: object) -> "Deployment":
        """A deployment from its parsed JSON form.

        Raises:
            InvalidMessage: a member is missing or malformed.
        """
        if not isinstance(value, dict):
            raise InvalidMessage(f"expected a deployment as a JSON object; came {type(value).__name__}")
        try:
            block_number, chain_id = value["blockNumber"], value["chainId"]
            if type(block_number) is not int or type(chain_id) is not int or block_number < 0:
                raise InvalidMessage("expected blockNumber and chainId of a deployment as numbers")
            genesis_hash, code_hash = data(value["genesisHash"], 32), data(value["codeHash"], 32)
            return cls(from_text(value["address"]), block_number, chain_id, genesis_hash, code_hash)
        except (KeyError, TypeError, ChainAnswerInvalid) as error:
            raise InvalidMessage(f"the deployment lacks a member or has a malformed one: {error}") from error


def deploy(chain: Chain, sender: Sender, administrator: bytes, minimum_threshold: int) -> Deployment:
    """Deploys the contract for ``administrator`` (20 bytes); records need at least ``minimum_threshold`` shares.

    Raises:
        ContractRefused: the constructor refuses these arguments.
        NotFinal: the deployment is not final in time.
    """
    arguments = encode(["address", "uint8"], [administrator, minimum_threshold])
    receipt = sender.send(None, artifact().bytecode + arguments)
    if receipt.contract is None:
        raise LedgerError(f"deployment 0x{receipt.transaction_hash.hex()} made no contract")
    return Deployment(
        receipt.contract,
        receipt.block_number,
        chain.chain_id(),
        chain.genesis_hash(),
        chain.code_hash(receipt.contract, receipt.block_number),
    )


def check_deployment(chain: Chain, deployment: Deployment) -> None:
    """Checks that ``chain`` is the one of ``deployment``, with the same code at its address.

    Raises:
        ChainReplaced: another chain id, another genesis block, or another code; the message says which.
    """
    found = (
        ("chain id", deployment.chain_id, chain.chain_id()),
        ("genesis block (the first one)", deployment.genesis_hash, chain.genesis_hash()),
        (f"code at {to_text(deployment.address)}", deployment.code_hash, chain.code_hash(deployment.address)),
    )
    for what, expected, came in found:
        if expected != came:
            shown = tuple("0x" + one.hex() if isinstance(one, bytes) else one for one in (expected, came))
            raise ChainReplaced(
                f"the chain at {chain.place} is another one: expected {what} {shown[0]}; came {shown[1]}"
            )
