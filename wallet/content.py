"""What a vault holds. Everything here is secret; nothing of it shows in a repr.

The bytes are CBOR (RFC 8949) of the models below. They are sealed under the passphrase by ``wallet.store`` and
under the recovery phrase by ``wallet.backup``.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar

import cbor2
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crypto import CryptoError
from crypto.keyring import KeyringSecrets
from crypto.signer import AccountKey
from ledger.messages import LedgerScope
from wallet.errors import UnknownName, VaultError
from wallet.journal import JournalEntry
from wallet.pin import Pin
from wallet.pseudonyms import pseudonym_key
from wallet.terms import Terms

FORMAT = 1
MAX_CONTENT_BYTES = 4 * 1024 * 1024 - 4096
"""A backup must fit into what a node takes (``wire.limits.BACKUP_BYTES``)."""

Address = Annotated[bytes, Field(min_length=20, max_length=20)]
Bytes32 = Annotated[bytes, Field(min_length=32, max_length=32)]
Secret32 = Annotated[bytes, Field(min_length=32, max_length=32, repr=False)]


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class KnownNode(_Content):
    """A node that the wallet talks to: its URL, and the member that it is of."""

    url: str
    member: Address
    name: str


class RelationshipStatus(StrEnum):
    """How far a relationship is."""

    REQUESTED = "requested"
    """The pseudonym and its keys exist, backed up; the provider has not confirmed the person yet."""
    ACTIVE = "active"
    ENDED = "ended"
    FROZEN = "frozen"


class Relationship(_Content):
    """One care relationship: a pseudonym, the provider who publishes for it, and its keys."""

    index: int = Field(ge=0, lt=2**32)
    patient: Address
    """The pseudonym."""
    provider: Address
    provider_name: str
    status: RelationshipStatus
    keyring: bytes = Field(repr=False)
    """``crypto.KeyringSecrets`` as bytes: random, not derivable from the phrase."""

    @property
    def secrets(self) -> KeyringSecrets:
        """The keyring's secrets, parsed."""
        return KeyringSecrets.from_bytes(self.keyring)


class KnownConsent(_Content):
    """A consent that this wallet gave: its state is on the ledger, this is what was signed and the words around it."""

    patient: Address
    consent_id: Bytes32
    grantee: Address
    grantee_name: str
    record_id: Bytes32 | None
    nonce: int = Field(ge=0, lt=2**64)
    terms: Terms
    label: str = ""
    introduction: str = Field(default="", repr=False)


class BackupAccess(_Content):
    """What refreshes the backup without the recovery phrase."""

    locator: Bytes32
    encryption_key: Secret32
    signing_seed: Secret32
    version: int = Field(ge=0, lt=2**63)
    """The newest version that may have left this vault."""


class VaultContent(_Content):
    """The whole vault."""

    format: Literal[1] = 1
    seed: Secret32
    chain_id: int = Field(gt=0, lt=2**64)
    contract: Address
    genesis_hash: Bytes32
    deployment_block: int = Field(ge=0)
    nodes: tuple[KnownNode, ...]
    backup: BackupAccess = Field(repr=False)
    relationships: tuple[Relationship, ...] = ()
    consents: tuple[KnownConsent, ...] = ()
    journal: tuple[JournalEntry, ...] = ()

    @property
    def scope(self) -> LedgerScope:
        """The ledger of this wallet."""
        return LedgerScope(self.chain_id, self.contract)

    @property
    def pin(self) -> Pin:
        """What a node must say of its ledger."""
        return Pin(self.chain_id, self.contract, self.genesis_hash, self.deployment_block)

    def account(self, patient: bytes) -> AccountKey:
        """The account key of one of this wallet's pseudonyms."""
        return pseudonym_key(self.seed, self.relationship(patient).index)

    def relationship(self, patient: bytes) -> Relationship:
        """The relationship of a pseudonym.

        Raises:
            UnknownName: the pseudonym is none of this wallet's.
        """
        for relationship in self.relationships:
            if relationship.patient == patient:
                return relationship
        raise UnknownName(f"expected a pseudonym of this wallet; came 0x{patient.hex()}")

    def consent(self, consent_id: bytes) -> KnownConsent:
        """A consent that this wallet knows.

        Raises:
            UnknownName: it knows none of this id.
        """
        for consent in self.consents:
            if consent.consent_id == consent_id:
                return consent
        raise UnknownName(f"expected a consent of this wallet; came 0x{consent_id.hex()}")

    def with_relationship(self, changed: Relationship) -> "VaultContent":
        """This content with one relationship added, or replaced by its pseudonym."""
        others = tuple(entry for entry in self.relationships if entry.patient != changed.patient)
        ordered = tuple(sorted((*others, changed), key=lambda entry: entry.index))
        return self.replaced(relationships=ordered)

    def with_consents(self, *added: KnownConsent) -> "VaultContent":
        """This content with consents added; one of the same id is replaced."""
        ids = {consent.consent_id for consent in added}
        kept = tuple(consent for consent in self.consents if consent.consent_id not in ids)
        return self.replaced(consents=(*kept, *added))

    def replaced(self: "VaultContent", **changes: Any) -> "VaultContent":
        """A validated copy with some fields changed."""
        return VaultContent.model_validate({**dict(self), **changes})


_Model = TypeVar("_Model", bound=BaseModel)


def to_bytes(content: VaultContent) -> bytes:
    """The content as CBOR.

    Raises:
        VaultError: it grew beyond what a backup can hold.
    """
    encoded = cbor2.dumps(content.model_dump(mode="python"), canonical=True)
    if len(encoded) > MAX_CONTENT_BYTES:
        raise VaultError(
            f"expected at most {MAX_CONTENT_BYTES} bytes in a vault; it would have {len(encoded)}: "
            "register anew for relationships with very many key versions"
        )
    return encoded


def from_bytes(data: bytes) -> VaultContent:
    """The content in ``data``, every field checked.

    Raises:
        VaultError: it is of another version, damaged, or over the limit.
    """
    if len(data) > MAX_CONTENT_BYTES:
        raise VaultError(f"expected at most {MAX_CONTENT_BYTES} bytes of vault content; came {len(data)}")
    try:
        content = VaultContent.model_validate(cbor2.loads(data))
        if to_bytes(content) != data:
            raise VaultError(
                "expected the canonical bytes of a vault; came others that mean the same, or more"
            )
        for relationship in content.relationships:
            if relationship.secrets.patient != relationship.patient:
                raise VaultError("the vault holds a keyring under a pseudonym that it is not of")
            if pseudonym_key(content.seed, relationship.index).address != relationship.patient:
                raise VaultError("the vault holds a pseudonym that its seed does not give")
    except (ValidationError, cbor2.CBORError, CryptoError, ValueError) as error:
        raise VaultError(
            f"the vault opens, yet its content is not of format {FORMAT}: {type(error).__name__}. "
            "Use the program's version that wrote it, or recover from the phrase"
        ) from error
    return content
