"""What an auditor asks of a member: who was the person behind an access."""

from pydantic import Field

from wire.types import Address, Bytes32, Message


class OpeningRequest(Message):
    """Open the person commitment of one access of this member."""

    patient: Address
    sequence: int = Field(ge=1, lt=2**32)


class Opening(Message):
    """The opened person commitment; whoever asked recomputes it and compares it with the ledger."""

    member: Address
    staff_id: str
    role: str
    salt: Bytes32
    commitment: Bytes32
