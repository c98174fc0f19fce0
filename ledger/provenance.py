"""Whether the contract of a deployment is the one that this program was built with, and what it was deployed with.

The code at an address tells less: the constructor's arguments are cut into it. The transaction that made the contract
has both, the code as it was compiled and the arguments after it; and the contract's address follows from its sender
and nonce (Ethereum yellow paper, section 7), so that no other transaction can be shown for it.
"""

from collections.abc import Mapping
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
from ledger.errors import ChainReplaced, InvalidMessage
from ledger.signing import recover_digest

_ARGUMENTS = ("address", "uint8")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a contract was deployed with: its administrator (20 bytes), and how many shares open a record at least."""

    administrator: bytes
    minimum_threshold: int


@dataclass(frozen=True, slots=True)
class _Creation:
    """A transaction that makes a contract: what was signed (EIP-155), and by whom."""

    sender: bytes
    nonce: int
    gas_price_wei: int
    gas: int
    value_wei: int
    code: bytes
    v: int
    r: int
    s: int

    @property
    def contract(self) -> bytes:
        return keccak(rlp.encode([self.sender, self.nonce]))[12:]

    def is_signed_by_sender(self) -> bool:
        chain_id, parity = divmod(self.v - 35, 2)
        if chain_id <= 0 or max(self.r, self.s) >> 256:
            return False
        fields = [self.nonce, self.gas_price_wei, self.gas, b"", self.value_wei, self.code, chain_id, 0, 0]
        signature = self.r.to_bytes(32, "big") + self.s.to_bytes(32, "big") + bytes([27 + parity])
        try:
            return recover_digest(keccak(rlp.encode(fields)), signature) == self.sender
        except InvalidMessage:
            return False


def verify_origin(chain: Chain, deployment: Deployment) -> Origin:
    """Checks that the contract was made from this program's own artifact, and returns its constructor's arguments.

    What made it is told by enough endpoints where there are several, and was signed by its sender, so that one endpoint
    alone cannot show other code either unless the deployer helps it.

    Raises:
        ChainReplaced: the chain is another one, no transaction of that block made the contract, or it was made from
            other code: a contract with other rules.
    """
    check_deployment(chain, deployment)
    made = chain.confirmed(
        f"what made the contract in block {deployment.block_number}",
        lambda one: [
            creation
            for creation in map(_creation, one.block_transactions(deployment.block_number))
            if creation is not None and creation.contract == deployment.address
        ],
    )
    if len(made) != 1:
        raise ChainReplaced(
            f"expected the transaction that made the contract 0x{deployment.address.hex()} in block "
            f"{deployment.block_number}; there is none: ask for the right deployment.json"
        )
    if not made[0].is_signed_by_sender():
        raise ChainReplaced(
            f"the transaction that made the contract 0x{deployment.address.hex()} is not as 0x{made[0].sender.hex()} "
            "signed it (EIP-155): the endpoint shows another one; ask another endpoint"
        )
    code, bytecode = made[0].code, artifact().bytecode
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


def _creation(transaction: Mapping[str, Any]) -> _Creation | None:
    """What a transaction made a contract from; None where it made none."""
    if transaction.get("to") is not None:
        return None
    names = ("nonce", "gasPrice", "gas", "value", "v", "r", "s")
    number = {name: quantity(transaction.get(name)) for name in names}
    return _Creation(
        data(transaction.get("from"), 20),
        number["nonce"],
        number["gasPrice"],
        number["gas"],
        number["value"],
        data(transaction.get("input")),
        number["v"],
        number["r"],
        number["s"],
    )
