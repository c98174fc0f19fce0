"""What the ledger knows of each member, patient, record and consent, and the packed words of the contract's views.

Every ``word`` is what the contract's view of the same name returns at the same block.
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum, IntFlag


class PatientStatus(IntEnum):
    """What a pseudonym may still do."""

    UNKNOWN = 0
    ACTIVE = 1
    RELATIONSHIP_ENDED = 2
    FROZEN = 3


class RecordStatus(IntFlag):
    """What became of a record."""

    PUBLISHED = 1
    SUPERSEDED = 2
    RETRACTED = 4
    RESTRICTED = 8


class ConsentStatus(IntEnum):
    """What became of a consent."""

    NONE = 0
    GRANTED = 1
    REVOKED = 2


@dataclass(frozen=True, slots=True)
class MemberKeyVersion:
    """A member's name, endpoint and keys from ``block_number`` on, until the next version."""

    version: int
    name: str
    endpoint: str
    encryption_key: bytes
    transport_key: bytes
    profile_digest: bytes
    block_number: int

    @property
    def encryption_key_digest(self) -> bytes:
        """SHA-256 of the X-Wing public key: the name by which wraps call their recipient's key."""
        return hashlib.sha256(self.encryption_key).digest()


@dataclass(frozen=True, slots=True)
class Member:
    """An organisation; ``roles`` is a mask, ``keys`` holds every version, the oldest first."""

    address: bytes
    roles: int
    active: bool
    keys: tuple[MemberKeyVersion, ...]
    enrolled_block: int

    @property
    def current_keys(self) -> MemberKeyVersion:
        """The keys in force."""
        return self.keys[-1]

    @property
    def name(self) -> str:
        """The organisation's name; escape it before showing it."""
        return self.current_keys.name

    @property
    def endpoint(self) -> str:
        """The URL of the member's node."""
        return self.current_keys.endpoint

    @property
    def word(self) -> int:
        """As ``memberWords`` has it."""
        version = self.keys[-1].version if self.keys else 0
        return self.roles | self.active << 16 | version << 17


@dataclass(frozen=True, slots=True)
class Patient:
    """A pseudonym; ``keyring_digests`` has one digest an epoch, the first being epoch 1."""

    address: bytes
    provider: bytes
    deny_categories: int
    deny_purposes: int
    policy_nonce: int
    status: PatientStatus
    keyring_digests: tuple[bytes, ...]
    registered_block: int

    @property
    def epoch(self) -> int:
        """The current version of the keyring."""
        return len(self.keyring_digests)

    @property
    def keyring_digest(self) -> bytes:
        """SHA-256 of the current keyring."""
        return self.keyring_digests[-1]

    @property
    def word(self) -> int:
        """As ``patientWords`` has it."""
        return (
            int.from_bytes(self.provider, "big")
            | self.deny_categories << 160
            | self.deny_purposes << 192
            | self.epoch << 208
            | self.status << 224
            | self.policy_nonce << 232
        )


@dataclass(frozen=True, slots=True)
class Record:
    """A published record; days are proleptic Gregorian ordinals, ``status`` a set of flags."""

    record_id: bytes
    patient: bytes
    author: bytes
    category: int
    start_day: int
    end_day: int
    epoch: int
    nonce: int
    deadline: int
    cid_codec: int
    cid_digest: bytes
    header_digest: bytes
    payload_commitment: bytes
    status: RecordStatus
    status_nonce: int
    superseded_by: bytes | None
    published_block: int

    @property
    def word(self) -> int:
        """As ``recordWords`` has it."""
        return (
            int.from_bytes(self.patient, "big")
            | self.category << 160
            | self.status << 168
            | self.start_day << 176
            | self.end_day << 200
            | self.epoch << 224
            | self.status_nonce << 240
        )


@dataclass(frozen=True, slots=True)
class Consent:
    """A consent. One that was revoked before it landed has no terms: zeros, and ``granted_block`` None.

    Times are POSIX seconds (``valid_from`` <= now < ``valid_until``), ``max_uses`` 0 means unlimited, and uses are
    counted only where they are limited.
    """

    consent_id: bytes
    patient: bytes
    grantee: bytes
    record_id: bytes
    categories: int
    purposes: int
    valid_from: int
    valid_until: int
    data_from: int
    data_until: int
    max_uses: int
    uses: int
    flags: int
    nonce: int
    status: ConsentStatus
    granted_block: int | None
    revoked_block: int | None

    @property
    def word(self) -> int:
        """As ``consentWords`` has it."""
        return (
            self.categories
            | self.purposes << 32
            | self.valid_from << 48
            | self.valid_until << 88
            | self.data_from << 128
            | self.data_until << 152
            | self.max_uses << 176
            | self.uses << 200
            | self.flags << 224
            | self.status << 248
        )
