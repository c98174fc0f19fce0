"""What the record services need of the rest of the node, as interfaces no wider than they use."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from crypto.grant import OpenedGrant
from crypto.hpke import EncryptionKey
from crypto.keyring import Keyring
from crypto.signer import Signer
from ledger.blocks import Receipt
from ledger.messages import LedgerScope
from ledger.state import LedgerState
from node.ledger_view import FinalBlock
from records import PatientIdentifier

Clock = Callable[[], float]
"""Seconds since 1970 of this machine; injected, so that a test can age things without waiting."""

SYSTEM_CLOCK: Clock = time.time


class Transactions(Protocol):
    """The node's database."""

    def begin(self) -> AbstractContextManager[Connection]:
        """A connection in one transaction, with no other such writer between what it reads and what it writes:
        committed and durable at the end, rolled back on an error."""

    def append(self) -> AbstractContextManager[Connection]:
        """As ``begin``, for statements that are each right by themselves: inserts that a unique key guards, updates
        and deletes of one statement."""

    def read(self) -> AbstractContextManager[Connection]:
        """A connection for reading."""


class Snapshot(Protocol):
    """One consistent view of the ledger: the state after ``final``."""

    @property
    def state(self) -> LedgerState:
        """The folded state; never changed."""

    @property
    def final(self) -> FinalBlock:
        """The latest final block."""

    @property
    def age_seconds(self) -> float:
        """Since when, on this node's monotonic clock, the final head has not advanced."""


class FinalAccess(Protocol):
    """One final decision of the access log."""

    @property
    def patient(self) -> bytes:
        """The pseudonym, 20 bytes."""

    @property
    def sequence(self) -> int:
        """Its number in the patient's chain."""

    @property
    def record_id(self) -> bytes:
        """32 bytes."""

    @property
    def requester(self) -> bytes:
        """The member that asked, 20 bytes."""

    @property
    def consent_id(self) -> bytes:
        """32 bytes."""

    @property
    def purpose(self) -> int:
        """A code of ``vocabulary.Purpose``."""

    @property
    def reason(self) -> int:
        """A code of ``vocabulary.Reason``."""

    @property
    def time(self) -> int:
        """Chain time, seconds since 1970."""

    @property
    def response_key_digest(self) -> bytes:
        """SHA-256 of the only key that shares may be sealed to."""

    @property
    def block_number(self) -> int:
        """The block that it stands in."""


class Ledger(Protocol):
    """The final ledger as this node follows it."""

    @property
    def scope(self) -> LedgerScope:
        """Which contract on which chain."""

    def snapshot(self) -> Snapshot:
        """The state and the final block that it is of."""

    def wait_for_block(self, number: int, timeout_seconds: float) -> Snapshot:
        """The state once block ``number`` is final and folded here."""

    def access(self, patient: bytes, sequence: int) -> FinalAccess | None:
        """A decision in the patient's chain, or None when it is not final here."""


class Transactor(Protocol):
    """Sends this member's transactions, and waits until they are final (``ledger.sender.Sender``)."""

    def send(self, to: bytes | None, data: bytes, gas: int | None = None) -> Receipt:
        """Raises ContractRefused, NotFinal, TransactionLost, ChainUnreachable."""


class OwnKeys(Protocol):
    """This member's account and encryption keys."""

    @property
    def address(self) -> bytes:
        """The account, 20 bytes."""

    @property
    def account(self) -> Signer:
        """What signs receipts and statements."""

    @property
    def current_encryption_key(self) -> EncryptionKey:
        """The key that the ledger names now."""

    def encryption_key(self, digest: bytes) -> EncryptionKey | None:
        """The key of a digest, old ones included."""


class Patients(Protocol):
    """This provider's patients."""

    def patient_by_identifier(self, system: str, value: str) -> bytes:
        """The live pseudonym of an identifier; raises NotFound."""

    def identifiers_of(self, patient: bytes) -> frozenset[PatientIdentifier]:
        """What staff confirmed at registration."""


class Keyrings(Protocol):
    """Keyrings whose digests are on the ledger."""

    def current_keyring(self, patient: bytes) -> Keyring:
        """The keyring in force; raises NotFound or Unavailable when no one has it."""


class Grants(Protocol):
    """Grant bundles that patients delivered to this member."""

    def for_patient(self, patient: bytes) -> tuple[OpenedGrant, ...]:
        """What they hold, opened."""


class Openings(Protocol):
    """What opens this member's person commitments."""

    def remember(self, commitment: bytes, salt: bytes, staff_id: str, role: str) -> None:
        """Durable when it returns."""


@dataclass(frozen=True, slots=True)
class StaffPerson:
    """Who, of this member's staff, asks."""

    staff_id: str
    role: str
