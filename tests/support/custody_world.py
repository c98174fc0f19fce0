"""A custodian's services over a ledger state that a test sets up itself: no chain, everything else is the real thing.

Loaded as a plugin by tests/conftest.py: tests ask for ``custody_world``.
"""

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from database_fixtures import TestDatabase, new_database_url

from crypto.binding import RecordIdentity
from crypto.envelope import Custodian, SealedRecord, seal_record
from crypto.hpke import EncryptionKey
from crypto.jws import sign_detached
from crypto.keyring import KeyringSecrets
from crypto.keystore import MemberSecrets
from crypto.payload import Payload, commitment, pack
from crypto.signer import AccountKey
from crypto.statement import sign_statement
from ledger.entities import (
    Consent,
    ConsentStatus,
    Member,
    MemberKeyVersion,
    Patient,
    PatientStatus,
    Record,
    RecordStatus,
)
from ledger.messages import NO_RECORD, LedgerScope, consent_id, record_id
from ledger.state import LedgerState
from node.blocks import BlockService
from node.custody import CustodyService
from node.database import Database
from node.deposits import DepositStore
from node.identity import Identity
from node.ledger_view import FinalBlock, LedgerView
from node.orphans import OrphanSweeper
from node.own_copies import OwnCopies
from node.release import ReleaseService
from node.tables import accesses
from storage import BlockStore, Cid, EmbeddedBlockStore, MemoryBlockStore, unixfs
from vocabulary import LAST_DAY, Category, Purpose, Reason, Role, role_mask
from wire.custody import (
    DEPOSIT_LABEL,
    DepositBatch,
    DepositRequest,
    ReleaseItem,
    ReleaseRequest,
    deposit_statement,
)

SCOPE = LedgerScope(31337, bytes.fromhex("c0" * 20))
NOW = 1_800_000_000
ALL_CATEGORIES = tuple(Category)


def new_identity() -> Identity:
    """A member's secrets, fresh."""
    return Identity(
        MemberSecrets(AccountKey.generate(), (EncryptionKey.generate(),), secrets.token_bytes(32))
    )


@dataclass
class TestClock:
    """A clock that a test sets."""

    __test__ = False
    seconds: float = float(NOW)

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Node:
    """One member's custody services."""

    identity: Identity
    ledger: LedgerView
    database: Database
    store: BlockStore
    clock: TestClock
    head_clock: TestClock
    directory: Path
    blocks: BlockService = field(init=False)
    deposits: DepositStore = field(init=False)
    custody: CustodyService = field(init=False)
    release: ReleaseService = field(init=False)
    own_copies: OwnCopies = field(init=False)
    sweeper: OrphanSweeper = field(init=False)

    def __post_init__(self) -> None:
        self.blocks = BlockService(self.store, self.database, self.ledger, clock=self.clock)
        self.deposits = DepositStore(self.database)
        self.custody = CustodyService(
            self.identity, self.ledger, self.blocks, self.deposits, clock=self.clock
        )
        self.release = ReleaseService(
            self.identity, self.ledger, self.custody, self.deposits, self.database, clock=self.clock
        )
        self.own_copies = OwnCopies(
            self.identity, self.ledger, self.deposits, self.database, clock=self.clock
        )
        self.sweeper = OrphanSweeper(self.ledger, self.deposits, self.blocks)

    @property
    def address(self) -> bytes:
        return self.identity.address


@dataclass(frozen=True)
class Sealed:
    """A sealed record and what publishes it."""

    record: SealedRecord
    nonce: int
    payload: Payload
    blocks: MemoryBlockStore

    @property
    def record_id(self) -> bytes:
        return self.record.header.identity.record_id


class CustodyWorld:
    """An author, two more custodians, a stranger, a patient; ``author`` and ``custodian`` run services."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.author_identity, self.custodian_identity = new_identity(), new_identity()
        self.third, self.stranger = new_identity(), new_identity()
        self.keyring_secrets = KeyringSecrets.generate(
            SCOPE.chain_id, SCOPE.contract, (key := AccountKey.generate()).address, ALL_CATEGORIES
        )
        self.patient_key = key
        self.state = LedgerState(SCOPE, administrator=secrets.token_bytes(20), minimum_threshold=2)
        everything = (Role.PROVIDER, Role.CONSUMER, Role.CUSTODIAN)
        for identity in (self.author_identity, self.custodian_identity, self.third):
            self.enrol(identity, *everything)
        self.enrol(self.stranger, Role.PROVIDER, Role.CONSUMER)
        self.state.patients[self.patient] = Patient(
            self.patient,
            self.author_identity.address,
            0,
            0,
            0,
            PatientStatus.ACTIVE,
            (self.keyring_secrets.public().digest,),
            1,
        )
        self.number, self.time = 100, NOW
        self.nodes: list[Node] = []
        self.custodian = self.node(self.custodian_identity)

    @property
    def patient(self) -> bytes:
        return self.patient_key.address

    def node(self, identity: Identity) -> Node:
        directory = self.directory / identity.address.hex()
        directory.mkdir()
        database = TestDatabase(new_database_url(directory))
        database.migrate()
        head_clock = TestClock(0.0)

        def no_block(number: int) -> Any:
            raise AssertionError(f"nobody asks for block {number}")

        view = LedgerView(database, SCOPE, no_block, clock=head_clock)
        store = EmbeddedBlockStore(directory / "blocks")
        node = Node(identity, view, database, store, TestClock(), head_clock, directory)
        self.nodes.append(node)
        self.publish_state()
        return node

    def close(self) -> None:
        for node in self.nodes:
            node.database.close()

    def enrol(self, identity: Identity, *roles: Role) -> None:
        keys = MemberKeyVersion(
            1,
            f"Member {len(self.state.members)}",
            "https://member.example",
            identity.current_encryption_key.public,
            identity.transport_public_key,
            bytes(32),
            1,
        )
        self.state.members[identity.address] = Member(identity.address, role_mask(roles), True, (keys,), 1)

    def change_member(self, identity: Identity, **changes: Any) -> None:
        self.state.members[identity.address] = replace(self.state.members[identity.address], **changes)
        self.publish_state()

    def publish_state(self, *, seconds: int = 1) -> None:
        """One more final block, ``seconds`` later, with the state as it is now."""
        self.number += 1
        self.time += seconds
        block = FinalBlock(self.number, hashlib.sha256(self.number.to_bytes(8)).digest(), self.time)
        for node in self.nodes:
            node.ledger.publish(self.state.copy(), block)

    def seal(
        self,
        content: bytes = b'{"resourceType":"Bundle"}',
        *,
        custodians: tuple[Identity, ...] | None = None,
        author: Identity | None = None,
        threshold: int = 2,
    ) -> Sealed:
        author = author or self.author_identity
        chosen = custodians or (self.author_identity, self.custodian_identity, self.third)
        nonce = secrets.randbits(63)
        identity = RecordIdentity(
            SCOPE.chain_id,
            SCOPE.contract,
            record_id(SCOPE, author.address, self.patient, nonce),
            self.patient,
            author.address,
            Category.LABORATORY,
        )
        media_type = "application/fhir+json"
        payload = Payload.create(media_type, content, sign_detached(author.account, content, media_type, NOW))
        blocks = MemoryBlockStore()
        keyring = self.keyring_secrets.public()
        record = seal_record(
            pack(payload),
            identity,
            keyring.epoch,
            keyring.owner_public,
            keyring.category_public(Category.LABORATORY),
            [Custodian(each.address, each.current_encryption_key.public) for each in chosen],
            threshold,
            cid_of=lambda ciphertext: str(unixfs.add(blocks, ciphertext)),
        )
        return Sealed(record, nonce, payload, blocks)

    def request(self, sealed: Sealed, custodian: Identity | None = None, **changes: Any) -> DepositRequest:
        """A deposit for a custodian, signed by the author over whatever ``changes`` make of it."""
        custodian = custodian or self.custodian_identity
        signer = changes.pop("signer", self.author_identity.account)
        index = sealed.record.header.share_index_of(custodian.address)
        fields: dict[str, Any] = {
            "header": sealed.record.header_bytes,
            "share_index": index,
            "owner_wrap": sealed.record.owner_wrap,
            "consent_wrap": sealed.record.consent_wrap,
            "custody_wrap": sealed.record.custody_wraps[index - 1],
            "deadline": self.time + 3600,
        } | changes
        statement = deposit_statement(custodian.address, *fields.values())
        return DepositRequest(**fields, signature=sign_statement(signer, DEPOSIT_LABEL, statement))

    def put_blocks(self, node: Node, sealed: Sealed) -> None:
        for cid in sealed.blocks.cids():
            node.blocks.accept(self.author_identity.address, str(cid), sealed.blocks.get(cid))

    def deposit(self, node: Node, sealed: Sealed) -> None:
        self.put_blocks(node, sealed)
        request = self.request(sealed, node.identity)
        node.custody.deposit(self.author_identity.address, DepositBatch(deposits=(request,)))

    def land(self, sealed: Sealed) -> Record:
        """The record is final on the ledger."""
        header = sealed.record.header
        cid = Cid.parse(header.ciphertext_cid)
        record = Record(
            record_id=sealed.record_id,
            patient=self.patient,
            author=header.identity.author,
            category=header.identity.category,
            start_day=0,
            end_day=LAST_DAY,
            epoch=header.epoch,
            nonce=sealed.nonce,
            deadline=self.time + 3600,
            cid_codec=int(cid.codec),
            cid_digest=cid.digest,
            header_digest=header.digest,
            payload_commitment=commitment(sealed.payload),
            status=RecordStatus.PUBLISHED,
            status_nonce=0,
            superseded_by=None,
            published_block=self.number + 1,
        )
        self.state.records[record.record_id] = record
        self.state.index_record(record)
        self.publish_state()
        return record

    def grant(self, grantee: Identity, **changes: Any) -> Consent:
        nonce = secrets.randbits(63)
        named = changes.get("record_id", NO_RECORD)
        consent = Consent(
            consent_id=consent_id(SCOPE, self.patient, grantee.address, named, nonce),
            patient=self.patient,
            grantee=grantee.address,
            record_id=named,
            categories=Category.LABORATORY.bit,
            purposes=Purpose.TREAT.bit,
            valid_from=0,
            valid_until=NOW + 10**6,
            data_from=0,
            data_until=LAST_DAY,
            max_uses=0,
            uses=0,
            flags=0,
            nonce=nonce,
            status=ConsentStatus.GRANTED,
            granted_block=self.number,
            revoked_block=None,
        )
        consent = replace(consent, **changes)
        self.state.consents[consent.consent_id] = consent
        self.state.index_consent(consent)
        self.publish_state()
        return consent

    def permit(
        self,
        requester: Identity,
        sealed: Sealed,
        consent: Consent,
        response_key: EncryptionKey,
        **changes: Any,
    ) -> int:
        """A final decision in every node's access log; its sequence."""
        sequence = changes.pop("sequence", secrets.randbelow(2**31) + 1)
        row = {
            "patient": self.patient,
            "sequence": sequence,
            "record_id": sealed.record_id,
            "requester": requester.address,
            "consent_id": consent.consent_id,
            "purpose": int(Purpose.TREAT),
            "reason": int(Reason.PERMITTED),
            "time": self.time,
            "response_key_digest": response_key.digest,
            "person_commitment": bytes(32),
            "block_number": self.number,
            "block_hash": bytes(32),
            "transaction_hash": secrets.token_bytes(32),
            "log_index": 0,
        } | changes
        for node in self.nodes:
            with node.database.begin() as connection:
                connection.execute(accesses.insert().values(row))
        return sequence

    def release_request(self, sealed: Sealed, sequence: int, response_key: EncryptionKey) -> ReleaseRequest:
        return ReleaseRequest(
            patient=self.patient,
            response_public_key=response_key.public,
            items=(ReleaseItem(sequence=sequence, record_id=sealed.record_id),),
        )


@pytest.fixture
def custody_world(tmp_path: Path) -> Iterator[CustodyWorld]:
    """A world of its own for one test."""
    world = CustodyWorld(tmp_path)
    yield world
    world.close()
