"""Unfinished operations: written before their effect, taken out after it is final.

Each entry holds what is needed to carry on after a crash at any line, and every step of carrying on may be
repeated: a grant keeps its nonce, thus its consent id; a revocation keeps the new keys that it made.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Address = Annotated[bytes, Field(min_length=20, max_length=20)]
Bytes32 = Annotated[bytes, Field(min_length=32, max_length=32)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    patient: Address
    """The pseudonym that the operation is on."""


class GrantEntry(_Entry):
    """A grant that is not final yet. Its deadline is set at each attempt; its nonce, thus the consent id, stays."""

    kind: Literal["grant"] = "grant"
    consent_id: Bytes32


class DeliveryEntry(_Entry):
    """A consent whose grantee has not acknowledged its secrets yet."""

    kind: Literal["delivery"] = "delivery"
    consent_id: Bytes32


class RevocationEntry(_Entry):
    """A revocation that is not final yet, with the keys that come after it."""

    kind: Literal["revocation"] = "revocation"
    consent_id: Bytes32
    next_keyring: bytes | None = Field(repr=False)
    """``crypto.KeyringSecrets`` of the next epoch as bytes; None when nothing rotates."""
    rotation_nonce: int
    backed_up: bool = False
    """Two nodes acknowledged a backup that holds ``next_keyring``: only then may it go on the ledger."""


class RotationEntry(_Entry):
    """A rotation without a revocation, not final yet: new keys for categories, after a loss or a recovery."""

    kind: Literal["rotation"] = "rotation"
    next_keyring: bytes = Field(repr=False)
    rotation_nonce: int
    backed_up: bool = False


class KeyringEntry(_Entry):
    """A rotated keyring that two nodes have not stored yet."""

    kind: Literal["keyring"] = "keyring"


class MessageEntry(_Entry):
    """A signed message (deny policy, restriction, end, freeze) that is not final yet."""

    kind: Literal["message"] = "message"
    message: dict[str, Any]
    """``ledger.to_json`` of the message."""


JournalEntry = Annotated[
    GrantEntry | DeliveryEntry | RevocationEntry | RotationEntry | KeyringEntry | MessageEntry,
    Field(discriminator="kind"),
]
