"""From a payload to a sealed record: who holds shares, and the one order in which things are signed and sealed."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crypto.binding import RecordIdentity
from crypto.envelope import Custodian, SealedRecord, seal_record
from crypto.jws import sign_detached
from crypto.keyring import Keyring
from crypto.payload import Payload, commitment, pack
from crypto.signer import Signer
from ledger.messages import LedgerScope, record_id
from ledger.state import LedgerState
from node.errors import Unavailable
from node.stopwatch import Stopwatch
from records import RecordPayload
from storage import Cid, MemoryBlockStore, unixfs
from vocabulary import Category, Role

NONCE_BITS = 63
"""Bits of a record's random nonce: what every database's integer holds of the ledger's 64."""
MOST_CUSTODIANS = 5
"""How many custodians hold a record unless the configuration says otherwise."""
_CHOICE_LABEL = b"phr/v1/custodian-choice"


@dataclass(frozen=True, slots=True)
class CustodyPolicy:
    """How many custodians, and how many of them open lock 2 (None: as the network's members allow), and ``replicas``:
    how many must hold a record whole before the ledger is told of it (0: all)."""

    custodians: int | None = None
    threshold: int | None = None
    replicas: int = 3


@dataclass(frozen=True, slots=True)
class CustodyPlan:
    """Who holds the shares of a publication's records: share i is for the custodian at position i - 1."""

    custodians: tuple[Custodian, ...]
    threshold: int


def enough_of(threshold: int, count: int, replicas: int) -> int:
    """How many of ``count`` custodians must acknowledge before the ledger may be told.

    min(n, t + 1), so that losing any one custodian after publishing loses no record, where n > t; and ``replicas``,
    as far as there are custodians (0: all of them).
    """
    return max(min(count, threshold + 1), min(count, replicas or count))


def plan_custody(
    state: LedgerState,
    own: bytes,
    policy: CustodyPolicy,
    *,
    patient: bytes = b"",
    is_healthy: Callable[[bytes], bool] = lambda _: True,
) -> CustodyPlan:
    """Chooses custodians among the active ones: this node where it is one, then the healthy ones, then the others.

    Among equals the order is that of SHA-256(label, patient, custodian): even over patients, and the same for all
    records of one patient while the same custodians are healthy. Where the policy leaves their number open, one that
    is down is not chosen if the healthy ones can lose another and are still ``replicas``.

    The threshold is the policy's, else more than half of them, and never below the network's minimum or 2.

    Raises:
        Unavailable: too few members are custodians now.
    """
    active = {
        address: member
        for address, member in state.members.items()
        if member.active and member.roles & Role.CUSTODIAN.bit and member.keys
    }
    count = min(policy.custodians or MOST_CUSTODIANS, len(active))
    healthy = {address for address in active if address == own or is_healthy(address)}
    if policy.custodians is None and policy.replicas and len(healthy) < count:
        fewer = len(healthy)
        if fewer > _threshold(fewer, state, policy) and fewer >= min(policy.replicas, count):
            count = fewer
    threshold = _threshold(count, state, policy)
    if count < threshold:
        raise Unavailable(
            f"expected at least {threshold} active custodians, by the network's rules and this node's; there are "
            f"{len(active)} of which {count} may be used: enrol custodians or change the custodian policy",
            code="too-few-custodians",
        )

    def rank(address: bytes) -> tuple[bool, bool, bytes]:
        digest = hashlib.sha256(_CHOICE_LABEL + patient + address).digest()
        return address != own, address not in healthy, digest

    chosen = sorted(active, key=rank)[:count]
    return CustodyPlan(
        tuple(Custodian(address, active[address].current_keys.encryption_key) for address in chosen),
        threshold,
    )


def _threshold(count: int, state: LedgerState, policy: CustodyPolicy) -> int:
    return max(policy.threshold or count // 2 + 1, state.minimum_threshold, 2)


@dataclass(frozen=True, slots=True)
class SealedPayload:
    """One payload, sealed, with what the ledger needs; ``blocks`` holds the ciphertext's blocks."""

    payload: RecordPayload
    nonce: int
    payload_commitment: bytes
    sealed: SealedRecord
    blocks: MemoryBlockStore

    @property
    def resource_count(self) -> int:
        """How many resources are at home in it."""
        return self.payload.resource_count

    @property
    def cids(self) -> tuple[Cid, ...]:
        """The ciphertext's blocks."""
        return tuple(self.blocks.cids())


def seal_payload(
    payload: RecordPayload,
    *,
    scope: LedgerScope,
    author: Signer,
    keyring: Keyring,
    plan: CustodyPlan,
    journal_public: bytes,
    signed_at_seconds: int,
    watch: Stopwatch,
) -> SealedPayload:
    """Signs, packs and seals one payload under a fresh record id.

    Raises:
        crypto.CryptoError: the keyring has no key for the payload's category, or a custodian's key is none.
    """
    nonce, identity = new_identity(scope, author.address, keyring.patient, payload.category)
    with watch.step("sign"):
        signature = sign_detached(author, payload.content, payload.media_type, signed_at_seconds)
        document = Payload.create(payload.media_type, payload.content, signature)
        committed = commitment(document)
    with watch.step("compress"):
        packed = pack(document)
    blocks = MemoryBlockStore()
    with watch.step("seal"):
        sealed = seal_record(
            packed,
            identity,
            keyring.epoch,
            keyring.owner_public,
            keyring.category_public(payload.category),
            plan.custodians,
            plan.threshold,
            cid_of=lambda ciphertext: str(unixfs.add(blocks, ciphertext)),
            journal_public=journal_public,
        )
    return SealedPayload(payload, nonce, committed, sealed, blocks)


def new_identity(
    scope: LedgerScope, author: bytes, patient: bytes, category: Category
) -> tuple[int, RecordIdentity]:
    """A fresh record's nonce and identity."""
    nonce = secrets.randbits(NONCE_BITS)
    record = record_id(scope, author, patient, nonce)
    return nonce, RecordIdentity(scope.chain_id, scope.contract, record, patient, author, category)


def addresses(custodians: Sequence[Custodian]) -> tuple[bytes, ...]:
    """The custodians' accounts, in the order of their shares."""
    return tuple(custodian.address for custodian in custodians)
