"""One sealed record and the parties around it, shared by the tests of this room."""

import hashlib
from dataclasses import dataclass

import pytest

from crypto.binding import RecordIdentity
from crypto.envelope import Custodian, SealedRecord, seal_record
from crypto.hpke import EncryptionKey
from crypto.payload import Payload, pack
from vocabulary import Category


def key_of(name: str) -> EncryptionKey:
    """A key that is the same in every run."""
    return EncryptionKey.from_seed(hashlib.sha256(name.encode()).digest())


def cid_of(block: bytes) -> str:
    """Stands for the storage room's CIDs, which this room treats as opaque text."""
    return "b" + hashlib.sha256(block).hexdigest()


@dataclass(frozen=True)
class Sealed:
    identity: RecordIdentity
    payload: Payload
    packed: bytes
    owner: EncryptionKey
    category: EncryptionKey
    author: EncryptionKey
    custodians: tuple[EncryptionKey, ...]
    record: SealedRecord

    def address(self, index: int) -> bytes:
        """The account of the custodian of share ``index`` (1..n)."""
        return self.record.header.custodians[index - 1].address


def seal_sample(identity: RecordIdentity, **changed: object) -> Sealed:
    payload = Payload("application/fhir+json", b'{"resourceType":"Bundle"}', "header..signature", b"s" * 32)
    packed = pack(payload)
    keys = tuple(key_of(f"custodian {index}") for index in range(5))
    custodians = tuple(Custodian(bytes([0xC0 + index]) * 20, key.public) for index, key in enumerate(keys))
    owner, category, author = key_of("owner"), key_of("category"), key_of("author")
    arguments = {"epoch": 3, "threshold": 3, "generation": 1, **changed}
    record = seal_record(
        packed,
        identity,
        owner_public=owner.public,
        category_public=category.public,
        custodians=custodians,
        cid_of=cid_of,
        journal_public=author.public,
        **arguments,  # type: ignore[arg-type]
    )
    return Sealed(identity, payload, packed, owner, category, author, keys, record)


@pytest.fixture(scope="session")
def identity() -> RecordIdentity:
    return RecordIdentity(31337, b"\x11" * 20, b"\x22" * 32, b"\x33" * 20, b"\x44" * 20, Category.LABORATORY)


@pytest.fixture(scope="session")
def sealed(identity: RecordIdentity) -> Sealed:
    return seal_sample(identity)
