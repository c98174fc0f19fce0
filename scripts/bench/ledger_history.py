"""Makes a long ledger on Anvil: members, patients, records, consents, and accesses, single and batched.

What is signed is signed by real keys and checked by the contract. Only the members' transactions go in unsigned, by
Anvil's impersonation, many calls at a time through the contract's relay: so it takes minutes and not hours.
"""

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from coincurve import PrivateKey

from ledger import calls, messages
from ledger.addresses import from_public_key
from ledger.anvil import Anvil
from ledger.chain import Chain
from ledger.contract import ConsentLedger
from ledger.deploy import Deployment, deploy
from ledger.errors import LedgerError
from ledger.messages import (
    AccessGroup,
    AccessRequest,
    Grant,
    KeyringRotation,
    MemberKeys,
    Publication,
    Registration,
    Revocation,
    SignedMessage,
)
from ledger.outbox import MemoryOutbox
from ledger.sender import Sender
from vocabulary import LAST_DAY, Category, Purpose, Role, role_mask

_Item = TypeVar("_Item")
PROVIDERS = 4
CONSUMERS = 12
RELAYED_CALLS = 150
GAS = 30_000_000


@dataclass(frozen=True)
class Account:
    """A key and its address."""

    secret: bytes
    address: bytes

    @classmethod
    def new(cls, source: random.Random) -> "Account":
        secret = source.randbytes(32)
        return cls(secret, from_public_key(PrivateKey(secret).public_key.format(compressed=False)))

    def sign_digest(self, digest: bytes) -> bytes:
        signature = PrivateKey(self.secret).sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes([signature[64] + 27])


@dataclass(frozen=True)
class Mix:
    """How many logs of each kind a history of ``events`` logs has: two thirds are accesses."""

    events: int

    @property
    def patients(self) -> int:
        return max(self.events * 2 // 100, 2)

    @property
    def records(self) -> int:
        return self.patients * 9

    @property
    def consents(self) -> int:
        return self.patients * 3

    @property
    def revocations(self) -> int:
        """Each with a rotation of the keyring, which is a log of its own."""
        return self.patients // 2

    @property
    def batches(self) -> int:
        """Groups of a batched request, of 1 to 9 records each."""
        return self.events * 14 // 100

    @property
    def singles(self) -> int:
        members = 2 * (PROVIDERS + CONSUMERS) + 1
        others = self.patients + self.records + self.consents + 2 * self.revocations + self.batches
        return max(self.events - members - others, 0)


@dataclass
class Care:
    """A patient, its provider, its records and the consents that it gave."""

    patient: Account
    provider: Account
    records: list[bytes] = field(default_factory=list)
    consents: list[tuple[Account, int]] = field(default_factory=list)


class HistoryMaker:
    """Fills one ledger; the same seed makes the same history but for the chain's times."""

    def __init__(self, anvil: Anvil, chain: Chain, seed: int = 1) -> None:
        self.chain = chain
        self.random = random.Random(seed)
        self.administrator = Account.new(self.random)
        sender = Sender(chain, self.administrator.address, self.administrator.sign_digest, MemoryOutbox())
        self.deployment: Deployment = deploy(chain, sender, self.administrator.address, 2)
        self.contract = ConsentLedger(chain, self.deployment.address)
        self.deadline = chain.final_block().time + 3_000
        self._nonces = iter(range(1, 1 << 62))

    def make(self, mix: Mix) -> None:
        """All of the history, in the order in which such things happen."""
        self._impersonate(self.administrator)
        providers = [self._enrol(Role.PROVIDER, f"Hospital {n}") for n in range(PROVIDERS)]
        consumers = [self._enrol(Role.CONSUMER, f"Clinic {n}") for n in range(CONSUMERS)]
        cares = [Care(Account.new(self.random), providers[n % PROVIDERS]) for n in range(mix.patients)]
        for provider in providers:
            own = [care for care in cares if care.provider is provider]
            self._relay(provider, (self._registration(care) for care in own))
            self._publish(provider, own, mix.records // mix.patients)
        granted = (
            self._grant(care, self.random.choice(consumers))
            for care in cares
            for _ in range(mix.consents // mix.patients)
        )
        self._relay(providers[0], granted)
        share = mix.singles // 2
        self._singles(cares, consumers, share)
        self._relay(providers[0], (call for care in cares[: mix.revocations] for call in self._revoke(care)))
        self._singles(cares, consumers, mix.singles - share)
        self._batches(cares, consumers, mix.batches)

    def _sign(self, account: Account, message: SignedMessage) -> bytes:
        return messages.sign(self.deployment.scope, message, account.sign_digest)

    def _enrol(self, role: Role, name: str) -> Account:
        member = Account.new(self.random)
        keys = MemberKeys(
            member.address,
            name,
            f"https://{name.replace(' ', '-').lower()}.example",
            self.random.randbytes(1216),
            self.random.randbytes(32),
            1,
            self.deadline,
        )
        call = calls.enrol_member(keys, role_mask([role]), self._sign(member, keys))
        self._send(self.administrator, call)
        self._impersonate(member)
        return member

    def _registration(self, care: Care) -> bytes:
        digest = self.random.randbytes(32)
        registration = Registration(
            care.patient.address, care.provider.address, digest, next(self._nonces), self.deadline
        )
        return calls.register_patient(registration, self._sign(care.patient, registration))

    def _publish(self, provider: Account, cares: Sequence[Care], each: int) -> None:
        publications = []
        for care in cares:
            for _ in range(each):
                publication = self._publication(care)
                publications.append(publication)
                scope, patient = self.deployment.scope, care.patient.address
                care.records.append(messages.record_id(scope, provider.address, patient, publication.nonce))
        for some in _several(publications, 100):
            self._send(provider, calls.publish_batch(some))

    def _publication(self, care: Care) -> Publication:
        day = self.random.randrange(730_000, 739_000)
        period = (day, day + self.random.randrange(30)) if self.random.random() < 0.9 else (0, LAST_DAY)
        return Publication(
            care.patient.address,
            self.random.choice((Category.LABORATORY, Category.MEDICATION, Category.IMAGING)),
            *period,
            1,
            self.random.getrandbits(63),
            self.deadline,
            0x55,
            *(self.random.randbytes(32) for _ in range(3)),
        )

    def _grant(self, care: Care, grantee: Account) -> bytes:
        terms = Grant(
            patient=care.patient.address,
            grantee=grantee.address,
            record_id=messages.NO_RECORD,
            categories=Category.LABORATORY.bit | Category.MEDICATION.bit,
            purposes=Purpose.TREAT.bit,
            valid_from=0,
            valid_until=self.deadline + 86_400 * 90,
            data_from=0,
            data_until=LAST_DAY,
            max_uses=self.random.choice((0, 0, 0, 20)),
            flags=0,
            nonce=self.random.getrandbits(63),
            deadline=self.deadline,
        )
        care.consents.append((grantee, terms.nonce))
        return calls.grant(terms, self._sign(care.patient, terms))

    def _revoke(self, care: Care) -> Iterator[bytes]:
        grantee, nonce = care.consents[0]
        revocation = Revocation(care.patient.address, grantee.address, messages.NO_RECORD, nonce)
        yield calls.revoke(revocation, self._sign(care.patient, revocation))
        rotation = KeyringRotation(care.patient.address, 2, self.random.randbytes(32), next(self._nonces))
        yield calls.rotate_keyring(rotation, self._sign(care.patient, rotation))

    def _asked(self, cares: Sequence[Care], consumer: Account) -> tuple[Care, int]:
        """A care and a consent nonce: mostly one of the asker's, else one that it does not have."""
        own = [
            (care, nonce)
            for care in self.random.sample(cares, min(60, len(cares)))
            for grantee, nonce in care.consents
            if grantee is consumer
        ]
        return self.random.choice(own) if own else (self.random.choice(cares), 1)

    def _singles(self, cares: Sequence[Care], consumers: Sequence[Account], count: int) -> None:
        for place, consumer in enumerate(consumers):
            number = count // len(consumers) + (place < count % len(consumers))
            self._relay(consumer, (self._request(cares, consumer) for _ in range(number)))

    def _request(self, cares: Sequence[Care], consumer: Account) -> bytes:
        care, nonce = self._asked(cares, consumer)
        record = self.random.choice(care.records)
        digests = (self.random.randbytes(32), self.random.randbytes(32))
        return calls.request_access(AccessRequest(record, nonce, False, Purpose.TREAT, *digests))

    def _batches(self, cares: Sequence[Care], consumers: Sequence[Account], count: int) -> None:
        for place, consumer in enumerate(consumers):
            left = count // len(consumers) + (place < count % len(consumers))
            groups = (self._group(cares, consumer) for _ in range(left))
            for some in _several(groups, 60):
                digests = (self.random.randbytes(32), self.random.randbytes(32))
                self._send(consumer, calls.request_access_batch(Purpose.TREAT, *digests, some))

    def _group(self, cares: Sequence[Care], consumer: Account) -> AccessGroup:
        care, nonce = self._asked(cares, consumer)
        number = self.random.randrange(1, len(care.records) + 1)
        return AccessGroup(nonce, False, tuple(self.random.sample(care.records, number)))

    def _relay(self, sender: Account, several: Iterable[bytes]) -> None:
        for some in _several(several, RELAYED_CALLS):
            self._send(sender, calls.relay(some))

    def _send(self, sender: Account, call: bytes) -> None:
        transaction = {
            "from": "0x" + sender.address.hex(),
            "to": "0x" + self.deployment.address.hex(),
            "data": "0x" + call.hex(),
            "gas": hex(GAS),
            "gasPrice": "0x0",
        }
        hash_ = self.chain.request("eth_sendTransaction", [transaction])
        while (receipt := self.chain.receipt(bytes.fromhex(hash_[2:]))) is None:
            time.sleep(0.002)
        if not receipt.succeeded:
            self.contract.simulate(call, sender.address)
            raise LedgerError(f"transaction {hash_} of the history failed for want of gas")

    def _impersonate(self, account: Account) -> None:
        self.chain.request("anvil_impersonateAccount", ["0x" + account.address.hex()])


def _several(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some
