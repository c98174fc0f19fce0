"""Call data of every function of the contract that changes it: what a transaction carries, or an item of a relay.

Each function has the contract's name in snake case and returns ABI-encoded bytes.
Source: Solidity documentation, "Contract ABI Specification".
"""

from collections.abc import Sequence
from typing import Any

from eth_abi.abi import encode
from eth_hash.auto import keccak

from ledger.messages import (
    AccessGroup,
    AccessRequest,
    DenyPolicy,
    Freeze,
    Grant,
    KeyringRotation,
    MemberKeys,
    Publication,
    Registration,
    RelationshipEnd,
    Restriction,
    Revocation,
)
from ledger.solidity import Struct, fields_of

MAX_RELAY_CALLS = 200
"""How many calls one relay of this program carries: a few million gas."""


def function_call(name: str, types: Sequence[str], values: Sequence[Any]) -> bytes:
    """ABI-encoded call data of any function, from its Solidity name and argument types."""
    return keccak(f"{name}({','.join(types)})".encode())[:4] + encode(types, values)


def struct_type(kind: type[Struct]) -> str:
    """A struct's ABI type: ``(address,uint64)``."""
    return f"({','.join(field.abi for field in fields_of(kind))})"


def struct_value(struct: Struct) -> tuple[Any, ...]:
    """A struct's values in order, as an ABI encoder takes them."""
    return tuple(getattr(struct, field.name) for field in fields_of(type(struct)))


def _signed(name: str, message: Struct, signature: bytes) -> bytes:
    return function_call(name, [struct_type(type(message)), "bytes"], [struct_value(message), signature])


def seal(successor: bytes) -> bytes:
    """By the administrator, once: nothing new from now on."""
    return function_call("seal", ["address"], [successor])


def enrol_member(keys: MemberKeys, roles: int, signature: bytes) -> bytes:
    """By the administrator: enrols a member with ``roles`` (a mask); the member signed ``keys``."""
    types = [struct_type(MemberKeys), "uint16", "bytes"]
    return function_call("enrolMember", types, [struct_value(keys), roles, signature])


def change_member_keys(keys: MemberKeys) -> bytes:
    """By the member itself: new keys, name or endpoint."""
    return function_call("changeMemberKeys", [struct_type(MemberKeys)], [struct_value(keys)])


def set_member_roles(member: bytes, roles: int) -> bytes:
    """By the administrator: a member's roles (a mask)."""
    return function_call("setMemberRoles", ["address", "uint16"], [member, roles])


def set_member_active(member: bytes, active: bool) -> bytes:
    """By the administrator: suspends or reinstates a member."""
    return function_call("setMemberActive", ["address", "bool"], [member, active])


def register_patient(registration: Registration, signature: bytes) -> bytes:
    """By the provider: registers a pseudonym that signed."""
    return _signed("registerPatient", registration, signature)


def rotate_keyring(rotation: KeyringRotation, signature: bytes) -> bytes:
    """By anyone: the patient's next keyring."""
    return _signed("rotateKeyring", rotation, signature)


def change_deny_policy(policy: DenyPolicy, signature: bytes) -> bytes:
    """By anyone: what the patient denies to everyone."""
    return _signed("changeDenyPolicy", policy, signature)


def end_relationship(end: RelationshipEnd, signature: bytes) -> bytes:
    """By anyone: the patient ends the relationship with its provider."""
    return _signed("endRelationship", end, signature)


def freeze_patient(freeze: Freeze, signature: bytes) -> bytes:
    """By anyone: freezes a pseudonym for good."""
    return _signed("freezePatient", freeze, signature)


def publish(publication: Publication) -> bytes:
    """By the patient's provider: one record."""
    return function_call("publish", [struct_type(Publication)], [struct_value(publication)])


def publish_batch(publications: Sequence[Publication]) -> bytes:
    """By the patients' provider: several records, all or none."""
    values = [[struct_value(publication) for publication in publications]]
    return function_call("publishBatch", [struct_type(Publication) + "[]"], values)


def correct(publication: Publication, superseded_record_id: bytes) -> bytes:
    """By the patient's provider: a record that supersedes another one."""
    types = [struct_type(Publication), "bytes32"]
    return function_call("correct", types, [struct_value(publication), superseded_record_id])


def retract(record_id: bytes) -> bytes:
    """By the patient's provider: withdraws a record."""
    return function_call("retract", ["bytes32"], [record_id])


def restrict_record(restriction: Restriction, signature: bytes) -> bytes:
    """By anyone: the patient restricts a record, or lifts that."""
    return _signed("restrictRecord", restriction, signature)


def grant(terms: Grant, signature: bytes) -> bytes:
    """By anyone: the patient's consent."""
    return _signed("grant", terms, signature)


def revoke(revocation: Revocation, signature: bytes) -> bytes:
    """By anyone: the patient's revocation."""
    return _signed("revoke", revocation, signature)


def request_access(request: AccessRequest) -> bytes:
    """By the requesting member: one record."""
    return function_call("requestAccess", [struct_type(AccessRequest)], [struct_value(request)])


def request_access_batch(
    purpose: int, response_key_digest: bytes, person_commitment: bytes, groups: Sequence[AccessGroup]
) -> bytes:
    """By the requesting member: many records, for one purpose, person and response key."""
    packed = b"".join(group.pack() for group in groups)
    types = ["uint8", "bytes32", "bytes32", "bytes"]
    values = [purpose, response_key_digest, person_commitment, packed]
    return function_call("requestAccessBatch", types, values)


def relay(calls: Sequence[bytes]) -> bytes:
    """By anyone: several calls in one transaction; one that fails is skipped with an event."""
    return function_call("relay", ["bytes[]"], [list(calls)])
