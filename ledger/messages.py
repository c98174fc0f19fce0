"""What people and members sign or send: the contract's structs, and the identifiers made from them.

Signed structs are EIP-712 messages in the domain ("phr ConsentLedger", "1", chain id, contract address). Ids
are 32 bytes, addresses 20 bytes. A patient signs; any member may relay.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from eth_hash.auto import keccak

from ledger.errors import InvalidMessage
from ledger.message_json import from_json, to_json
from ledger.signing import LedgerScope, SignDigest, SignedMessage, digest, recover, sign
from ledger.solidity import (
    Address,
    Bool,
    Bytes,
    Bytes32,
    String,
    Struct,
    Uint8,
    Uint16,
    Uint24,
    Uint32,
    Uint40,
    Uint64,
    Uint256,
    words,
)

__all__ = [
    "ENCRYPTION_KEY_BYTES",
    "ID_BYTES",
    "NO_RECORD",
    "SIGNED_MESSAGES",
    "AccessGroup",
    "AccessRequest",
    "DenyPolicy",
    "Freeze",
    "Grant",
    "KeyringRotation",
    "LedgerScope",
    "MemberKeys",
    "Publication",
    "Registration",
    "RelationshipEnd",
    "Restriction",
    "Revocation",
    "SignDigest",
    "SignedMessage",
    "consent_id",
    "digest",
    "from_json",
    "record_id",
    "recover",
    "sign",
    "signed_from_json",
    "to_json",
]

ID_BYTES = 32
NO_RECORD = bytes(ID_BYTES)
"""The record id of a grant whose scope is its categories."""
ENCRYPTION_KEY_BYTES = 1216
"""An X-Wing public key: 1184 bytes of ML-KEM-768 and 32 of X25519 (draft-connolly-cfrg-xwing-kem)."""


MAX_NAME_BYTES = 256
MAX_ENDPOINT_BYTES = 512


@dataclass(frozen=True, slots=True)
class MemberKeys(SignedMessage):
    """A member's name, endpoint and keys, signed by the member; ``nonce`` is the new key version."""

    member: Address
    name: String
    endpoint: String
    encryption_key: Bytes
    transport_key: Bytes32
    nonce: Uint64
    deadline: Uint40

    def __post_init__(self) -> None:
        super(MemberKeys, self).__post_init__()
        if len(self.encryption_key) != ENCRYPTION_KEY_BYTES:
            raise InvalidMessage(
                f"MemberKeys.encryption_key: expected an X-Wing public key of {ENCRYPTION_KEY_BYTES} bytes; "
                f"came {len(self.encryption_key)}"
            )
        for name, text, limit in (
            ("name", self.name, MAX_NAME_BYTES),
            ("endpoint", self.endpoint, MAX_ENDPOINT_BYTES),
        ):
            if not 1 <= len(text.encode()) <= limit:
                raise InvalidMessage(f"MemberKeys.{name}: expected 1 to {limit} bytes of UTF-8")


@dataclass(frozen=True, slots=True)
class Registration(SignedMessage):
    """The deposit consent: ``patient`` (a fresh pseudonym) lets ``provider`` publish for it."""

    patient: Address
    provider: Address
    keyring_digest: Bytes32
    nonce: Uint64
    deadline: Uint40


@dataclass(frozen=True, slots=True)
class KeyringRotation(SignedMessage):
    """A new keyring under the next epoch."""

    patient: Address
    epoch: Uint16
    keyring_digest: Bytes32
    nonce: Uint64


@dataclass(frozen=True, slots=True)
class DenyPolicy(SignedMessage):
    """Categories and purposes (masks) that the patient denies to everyone, whatever was granted."""

    patient: Address
    categories: Uint32
    purposes: Uint16
    nonce: Uint24


@dataclass(frozen=True, slots=True)
class RelationshipEnd(SignedMessage):
    """The patient ends the relationship: the provider publishes no more for this pseudonym."""

    patient: Address
    provider: Address
    nonce: Uint64


@dataclass(frozen=True, slots=True)
class Freeze(SignedMessage):
    """The pseudonym's key was stolen: everything is denied from now on, for good."""

    patient: Address
    nonce: Uint64


@dataclass(frozen=True, slots=True)
class Restriction(SignedMessage):
    """Restricts one record, or lifts its restriction: only a consent that names it reads it."""

    patient: Address
    record_id: Bytes32
    restricted: Bool
    nonce: Uint16


@dataclass(frozen=True, slots=True)
class Grant(SignedMessage):
    """A consent. Times are POSIX seconds (valid_from <= now < valid_until), data days proleptic ordinals."""

    patient: Address
    grantee: Address
    record_id: Bytes32
    categories: Uint32
    purposes: Uint16
    valid_from: Uint40
    valid_until: Uint40
    data_from: Uint24
    data_until: Uint24
    max_uses: Uint24
    flags: Uint24
    nonce: Uint64
    deadline: Uint40


@dataclass(frozen=True, slots=True)
class Revocation(SignedMessage):
    """Revokes the grant of the same patient, grantee, record and nonce, landed or not; it has no deadline."""

    patient: Address
    grantee: Address
    record_id: Bytes32
    nonce: Uint64


SIGNED_MESSAGES: tuple[type[SignedMessage], ...] = (
    MemberKeys,
    Registration,
    KeyringRotation,
    DenyPolicy,
    RelationshipEnd,
    Freeze,
    Restriction,
    Grant,
    Revocation,
)
"""Every struct that is signed."""


def signed_from_json(value: object) -> SignedMessage:
    """Any signed message from its parsed JSON form, told apart by ``type``; errors as from_json."""
    name = value.get("type") if isinstance(value, Mapping) else None
    for message_type in SIGNED_MESSAGES:
        if message_type.__name__ == name:
            return from_json(message_type, value)
    known = ", ".join(kind.__name__ for kind in SIGNED_MESSAGES)
    raise InvalidMessage(f"expected a signed message of type {known}; came {str(name)[:60]!r}")


@dataclass(frozen=True, slots=True)
class Publication(Struct):
    """What a provider publishes of one record; sent by the provider itself, therefore not signed."""

    patient: Address
    category: Uint8
    start_day: Uint24
    end_day: Uint24
    epoch: Uint16
    nonce: Uint64
    deadline: Uint40
    cid_codec: Uint8
    cid_digest: Bytes32
    header_digest: Bytes32
    payload_commitment: Bytes32


@dataclass(frozen=True, slots=True)
class AccessRequest(Struct):
    """One request to read one record under the consent of ``consent_nonce``."""

    record_id: Bytes32
    consent_nonce: Uint64
    record_scope: Bool
    purpose: Uint8
    response_key_digest: Bytes32
    person_commitment: Bytes32


MAX_GROUP_RECORDS = 0xFFFF


@dataclass(frozen=True, slots=True)
class AccessGroup:
    """The part of a batched request that concerns one consent of one patient: 1 to 65,535 records."""

    consent_nonce: int
    record_scope: bool
    record_ids: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.consent_nonce < 1 << 64:
            raise InvalidMessage(f"expected a consent nonce of 64 bits; came {self.consent_nonce}")
        if not 1 <= len(self.record_ids) <= MAX_GROUP_RECORDS:
            raise InvalidMessage(
                f"expected 1 to {MAX_GROUP_RECORDS} records in a group; came {len(self.record_ids)}"
            )
        if self.record_scope and len(self.record_ids) != 1:
            raise InvalidMessage("a group under a consent that names its record holds exactly that record")
        if any(len(record_id) != ID_BYTES for record_id in self.record_ids):
            raise InvalidMessage(f"expected record ids of {ID_BYTES} bytes each")

    def pack(self) -> bytes:
        """The group as in ``requestAccessBatch``: nonce 8, scope 1, count 2, record ids 32 bytes each."""
        head = self.consent_nonce.to_bytes(8, "big") + bytes([self.record_scope])
        return head + len(self.record_ids).to_bytes(2, "big") + b"".join(self.record_ids)


@dataclass(frozen=True, slots=True)
class _RecordIdPreimage(Struct):
    chain_id: Uint64
    contract: Address
    author: Address
    patient: Address
    nonce: Uint256


@dataclass(frozen=True, slots=True)
class _ConsentIdPreimage(Struct):
    chain_id: Uint64
    contract: Address
    patient: Address
    grantee: Address
    record_id: Bytes32
    nonce: Uint256


def record_id(scope: LedgerScope, author: bytes, patient: bytes, nonce: int) -> bytes:
    """The id (32 bytes) of a record: keccak256(abi.encode(chainid, contract, author, patient, nonce)).

    Raises:
        InvalidMessage: an address that is not 20 bytes, or a nonce out of range.
    """
    return keccak(words(_RecordIdPreimage(scope.chain_id, scope.contract, author, patient, nonce)))


def consent_id(scope: LedgerScope, patient: bytes, grantee: bytes, record_id: bytes, nonce: int) -> bytes:
    """The id (32 bytes) of a consent; ``record_id`` is ``NO_RECORD`` for a consent by categories.

    Raises:
        InvalidMessage: an address or id of another width, or a nonce out of range.
    """
    preimage = _ConsentIdPreimage(scope.chain_id, scope.contract, patient, grantee, record_id, nonce)
    return keccak(words(preimage))
