"""Whether the contract of a deployment is the one that this program was built with, and what it was deployed with.

The code at an address tells less: the constructor's arguments are cut into it. The transaction that made the contract
has both, the code as it was compiled and the arguments after it; and the contract's address follows from its sender
and nonce (Ethereum yellow paper, section 7), so that no other transaction can be shown for it.
"""

from dataclasses import dataclass
from typing import Any

import rlp  # type: ignore[import-untyped]  # it ships no types
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak

from ledger.artifact import artifact
from ledger.blocks import data, quantity
from ledger.chain import Chain
from ledger.deploy import Deployment, check_deployment
from ledger.errors import ChainAnswerInvalid, ChainReplaced

_ARGUMENTS = ("address", "uint8")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a contract was deployed with: its administrator (20 bytes), and how many shares open a record at least."""

    administrator: bytes
    minimum_threshold: int


def verify_origin(chain: Chain, deployment: Deployment) -> Origin:
    """Checks that the contract was made from this program's own artifact, and returns its constructor's arguments.

    Raises:
        ChainReplaced: the chain is another one, no transaction of that block made the contract, or it was made from
            other code: a contract with other rules.
    """
    check_deployment(chain, deployment)
    block = chain.request("eth_getBlockByNumber", [hex(deployment.block_number), True])
    if not isinstance(block, dict) or not isinstance(block.get("transactions"), list):
        raise ChainAnswerInvalid(f"expected block {deployment.block_number} with its transactions")
    made = [code for code in map(_creation, block["transactions"]) if code[0] == deployment.address]
    if len(made) != 1:
        raise ChainReplaced(
            f"expected the transaction that made the contract 0x{deployment.address.hex()} in block "
            f"{deployment.block_number}; there is none: ask for the right deployment.json"
        )
    code, bytecode = made[0][1], artifact().bytecode
    if not code.startswith(bytecode):
        raise ChainReplaced(
            f"the contract 0x{deployment.address.hex()} was made from other code than this program's artifact: it "
            "may have other rules; compare the release with whoever deployed it"
        )
    try:
        administrator, threshold = decode(_ARGUMENTS, code[len(bytecode) :])
    except DecodingError as error:
        raise ChainReplaced(f"the contract was deployed with malformed arguments: {error}") from error
    return Origin(bytes.fromhex(administrator.removeprefix("0x")), threshold)


def _creation(transaction: Any) -> tuple[bytes, bytes]:
    """The address of the contract that a transaction made, and its input; empty ones where it made none."""
    if not isinstance(transaction, dict):
        raise ChainAnswerInvalid("expected a block's transactions as JSON objects")
    if transaction.get("to") is not None:
        return b"", b""
    sender, nonce = data(transaction.get("from"), 20), quantity(transaction.get("nonce"))
    return keccak(rlp.encode([sender, nonce]))[12:], data(transaction.get("input"))
