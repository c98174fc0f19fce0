"""EIP-712 digests and signatures of the ledger's messages.

Source: EIP-712; its test oracle is eth-account's encoder. Curve arithmetic is libsecp256k1's (coincurve).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from coincurve import PublicKey
from eth_hash.auto import keccak

from ledger.addresses import from_public_key
from ledger.errors import InvalidMessage
from ledger.solidity import Struct, fields_of, words

DOMAIN_NAME = "phr ConsentLedger"
DOMAIN_VERSION = "1"
SIGNATURE_BYTES = 65
_DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
"""Half the order of secp256k1: a signature's s above it is a second form of the same signature (EIP-2)."""

SignDigest = Callable[[bytes], bytes]
"""Signs a digest of 32 bytes: 65 bytes r, s, v, with s in the lower half and v 27 or 28."""


@dataclass(frozen=True, slots=True)
class LedgerScope:
    """Where a message counts: one contract on one chain."""

    chain_id: int
    contract: bytes

    def __post_init__(self) -> None:
        if not 0 < self.chain_id < 1 << 64:
            raise InvalidMessage(f"expected a chain id of 1 to 2^64-1; came {self.chain_id}")
        if len(self.contract) != 20:
            raise InvalidMessage(f"expected a contract address of 20 bytes; came {len(self.contract)}")


class SignedMessage(Struct):
    """A struct that somebody signs (EIP-712)."""

    __slots__ = ()


def type_text(message_type: type[SignedMessage]) -> str:
    """EIP-712's ``encodeType``: ``Freeze(address patient,uint64 nonce)``."""
    fields = ",".join(f"{field.abi} {field.solidity_name}" for field in fields_of(message_type))
    return f"{message_type.__name__}({fields})"


_TYPE_HASHES: dict[type, bytes] = {}


def _type_hash(message_type: type[SignedMessage]) -> bytes:
    if message_type not in _TYPE_HASHES:
        _TYPE_HASHES[message_type] = keccak(type_text(message_type).encode())
    return _TYPE_HASHES[message_type]


@cache
def domain_separator(scope: LedgerScope) -> bytes:
    """EIP-712's domain separator (32 bytes) of one contract on one chain."""
    return keccak(
        keccak(_DOMAIN_TYPE)
        + keccak(DOMAIN_NAME.encode())
        + keccak(DOMAIN_VERSION.encode())
        + scope.chain_id.to_bytes(32, "big")
        + scope.contract.rjust(32, b"\0")
    )


def digest(scope: LedgerScope, message: SignedMessage) -> bytes:
    """The digest (32 bytes) that is signed: keccak256(0x1901 | domain separator | hashStruct(message))."""
    struct_hash = keccak(_type_hash(type(message)) + words(message))
    return keccak(b"\x19\x01" + domain_separator(scope) + struct_hash)


def sign(scope: LedgerScope, message: SignedMessage, sign_digest: SignDigest) -> bytes:
    """A signature (65 bytes) over ``message``, checked to be one that the contract accepts.

    Raises:
        InvalidMessage: the signer returned no usable signature.
    """
    signature = sign_digest(digest(scope, message))
    recover(scope, message, signature)
    return signature


def recover(scope: LedgerScope, message: SignedMessage, signature: bytes) -> bytes:
    """The address (20 bytes) whose key signed ``message``; as strict as the contract.

    Raises:
        InvalidMessage: not 65 bytes, v other than 27 or 28, s in the upper half (malleable), or no point.
    """
    return recover_digest(digest(scope, message), signature)


def recover_digest(message_digest: bytes, signature: bytes) -> bytes:
    """The address (20 bytes) whose key signed a digest of 32 bytes; the errors of :func:`recover`."""
    if len(signature) != SIGNATURE_BYTES:
        raise InvalidMessage(f"expected a signature of {SIGNATURE_BYTES} bytes; came {len(signature)}")
    if signature[64] not in (27, 28):
        raise InvalidMessage(f"expected a signature that ends in 27 or 28; came {signature[64]}")
    if int.from_bytes(signature[32:64], "big") > _HALF_ORDER:
        raise InvalidMessage("the signature's s lies in the upper half: sign again with a canonical signer")
    recoverable = signature[:64] + bytes([signature[64] - 27])
    try:
        key = PublicKey.from_signature_and_message(recoverable, message_digest, hasher=None)
    except ValueError as error:
        raise InvalidMessage(f"no key can have made this signature: {error}") from error
    return from_public_key(key.format(compressed=False))
