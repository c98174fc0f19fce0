"""Signed transactions: legacy form with the chain id in the signature (EIP-155), at the engine's gas price.

Source: EIP-155; RLP encoding by the library ``rlp``.
"""

from dataclasses import dataclass

import rlp  # type: ignore[import-untyped]  # it ships no types
from eth_hash.auto import keccak

from ledger.errors import InvalidMessage
from ledger.signing import SignDigest, recover_digest


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction as it goes out: ``raw`` bytes, and their Keccak-256 (32 bytes), its name on the chain."""

    nonce: int
    hash: bytes
    raw: bytes


def sign_transaction(
    *,
    chain_id: int,
    nonce: int,
    gas_price_wei: int,
    gas: int,
    to: bytes | None,
    data: bytes,
    sender: bytes,
    sign_digest: SignDigest,
) -> SignedTransaction:
    """Signs a transaction of value 0; ``to`` None deploys ``data``.

    Raises:
        InvalidMessage: the signer is not the key of ``sender``, or returned no usable signature.
    """
    fields = [nonce, gas_price_wei, gas, to or b"", 0, data]
    digest = keccak(rlp.encode([*fields, chain_id, 0, 0]))
    signature = sign_digest(digest)
    if recover_digest(digest, signature) != sender:
        raise InvalidMessage(f"the signer does not hold the key of 0x{sender.hex()}")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    raw: bytes = rlp.encode([*fields, signature[64] - 27 + 35 + 2 * chain_id, r, s])
    return SignedTransaction(nonce, keccak(raw), raw)
