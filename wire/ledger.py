"""What a node tells anyone about the ledger that it follows."""

from wire.types import Address, Blob, Bytes32, Message, RoleLabel


class BlockReference(Message):
    """A final block."""

    number: int
    hash: Bytes32
    time: int
    """Seconds since 1970, chain time."""


class LedgerDescription(Message):
    """Which ledger a node follows, how far, and which member it is of."""

    chain_id: int
    contract: Address
    deployment_block: int
    genesis_hash: Bytes32
    administrator: Address
    minimum_threshold: int
    member: Address
    final: BlockReference


class MemberView(Message):
    """A member as on the ledger, with its public keys."""

    address: Address
    name: str
    endpoint: str
    roles: tuple[RoleLabel, ...]
    active: bool
    key_version: int
    encryption_key: Blob
    """X-Wing public key, 1216 bytes."""
    transport_key: Bytes32
    """Ed25519 public key."""


class MembersView(Message):
    """All members at one final block."""

    final: BlockReference
    members: tuple[MemberView, ...]
