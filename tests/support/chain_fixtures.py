"""A real chain for tests: one Anvil a test session, or four validators, and as many fresh ledgers on it as tests want.

Loaded as a plugin by tests/conftest.py, so every room's tests can ask for ``anvil``, ``validators`` and ``new_ledger``.
"""

import itertools
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from coincurve import PrivateKey

from engines.bft import BftChain
from engines.bft_ceremony import create_chain
from engines.binaries import find_binary
from engines.errors import EngineNotBuilt
from ledger import calls, messages
from ledger.addresses import from_public_key
from ledger.anvil import Anvil, find_anvil
from ledger.blocks import Receipt
from ledger.chain import Chain
from ledger.contract import ConsentLedger
from ledger.deploy import Deployment, deploy
from ledger.engine import BFT
from ledger.events import Event, decode
from ledger.messages import Grant, LedgerScope, MemberKeys, Publication, Registration, SignedMessage
from ledger.outbox import MemoryOutbox
from ledger.sender import Sender
from ledger.state import LedgerState, fold
from vocabulary import LAST_DAY, Category, Purpose, Role, role_mask

NODE_MODULES = Path(__file__).parents[2] / "node_modules"
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Key:
    """An account: its address (20 bytes) and its secret."""

    secret: bytes
    address: bytes

    @classmethod
    def new(cls, secret: bytes | None = None) -> "Key":
        """A fresh account, or that of a secret of 32 bytes."""
        secret = secret or secrets.token_bytes(32)
        return cls(secret, from_public_key(PrivateKey(secret).public_key.format(compressed=False)))

    def sign_digest(self, digest: bytes) -> bytes:
        """65 bytes r, s, v (27 or 28)."""
        signature = PrivateKey(self.secret).sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes([signature[64] + 27])


@dataclass
class Validators:
    """A real chain of validators for tests: who may send on it was agreed on before its first block.

    Attributes:
        deployer: The one account that may deploy contracts.
        accounts: Accounts that may send and that no test has had yet.
    """

    running: BftChain
    deployer: Key
    accounts: list[Key]

    @property
    def url(self) -> str:
        return self.running.rpc_urls[0]

    def chain(self, *, timeout_seconds: float = 60.0) -> Chain:
        """A client of the first validator; the caller closes it."""
        return Chain(self.url, BFT, timeout_seconds=timeout_seconds)

    def mine(self, blocks: int = 1) -> None:
        """Waits for so many blocks more: validators make them without transactions too."""
        height = self.running.validators[0].height()
        assert height is not None
        self.running.wait_for_height(height + blocks, indices=[0])

    def kill(self) -> None:
        """Ends all of them at once."""
        self.running.kill()

    @classmethod
    def start(
        cls, directory: Path, *, accounts: int = 500, further: Sequence[bytes] = (), **options: Any
    ) -> "Validators":
        """A fresh chain of four; skips the test where its program was not built.

        ``accounts`` are for the tests to take, ``further`` ones (20 bytes each) are somebody's already.
        """
        try:
            binary = find_binary(NODE_MODULES.parent, "phr-chain")
        except EngineNotBuilt as error:
            pytest.skip(str(error))
        deployer, pool = Key.new(), [Key.new() for _ in range(accounts)]
        members = [deployer.address, *(key.address for key in pool), *further]
        running = create_chain(directory, binary, deployer.address, members, **options)
        try:
            running.start()
            running.wait_for_height(2)
        except BaseException:
            running.kill()
            raise
        return cls(running, deployer, pool)


class LedgerWorld:
    """One deployed ledger and whoever takes part in it. Transactions are final when a method returns."""

    def __init__(self, host: Anvil | Validators, *, minimum_threshold: int = 2) -> None:
        self.host = host
        self.chain: Chain = host.chain()
        self.administrator = self.new_account()
        self._senders: dict[bytes, Sender] = {}
        sender = self.sender(self.administrator if isinstance(host, Anvil) else host.deployer)
        self.deployment: Deployment = deploy(
            self.chain, sender, self.administrator.address, minimum_threshold
        )
        self.contract = ConsentLedger(self.chain, self.deployment.address)

    @property
    def scope(self) -> LedgerScope:
        return self.deployment.scope

    @property
    def anvil(self) -> Anvil:
        """For tests that move a chain's time, stop its blocks or rewrite it: only on the engine that lets them."""
        if not isinstance(self.host, Anvil):
            pytest.skip("needs an engine that lets a test move its time, or rewrite it")
        return self.host

    def new_account(self) -> Key:
        """A fresh account whose transactions the chain takes."""
        if isinstance(self.host, Anvil):
            return Key.new()
        assert self.host.accounts, "more accounts are needed: Validators.start(accounts=…)"
        return self.host.accounts.pop()

    def mine(self, blocks: int = 1) -> None:
        """So many blocks more."""
        self.host.mine(blocks)

    def close(self) -> None:
        self.chain.close()

    def sender(self, key: Key) -> Sender:
        if key.address not in self._senders:
            self._senders[key.address] = Sender(self.chain, key.address, key.sign_digest, MemoryOutbox())
        return self._senders[key.address]

    def transact(self, key: Key, call_data: bytes) -> Receipt:
        """Sends a call of the contract."""
        return self.sender(key).send(self.deployment.address, call_data)

    def now(self) -> int:
        """Chain time in POSIX seconds, of the latest block."""
        return self.chain.final_block().time

    def sign(self, key: Key, message: SignedMessage) -> bytes:
        return messages.sign(self.scope, message, key.sign_digest)

    def member_keys(self, member: Key, **changes: Any) -> MemberKeys:
        """The first keys of a member, valid for the contract though nobody holds their secrets."""
        number = next(_NUMBERS)
        keys = MemberKeys(
            member.address,
            f"Member {number}",
            f"https://member-{number}.example",
            secrets.token_bytes(1216),
            secrets.token_bytes(32),
            1,
            self.now() + 3000,
        )
        return replace(keys, **changes)

    def enrol(self, *roles: Role, key: Key | None = None, **changes: Any) -> Key:
        """A fresh enrolled member."""
        member = key or self.new_account()
        keys = self.member_keys(member, **changes)
        call = calls.enrol_member(keys, role_mask(roles), self.sign(member, keys))
        self.transact(self.administrator, call)
        return member

    def register(self, provider: Key, key: Key | None = None) -> Key:
        """A fresh pseudonym registered by a provider."""
        patient = key or Key.new()
        registration = Registration(
            patient.address, provider.address, secrets.token_bytes(32), next(_NUMBERS), self.now() + 3000
        )
        self.transact(provider, calls.register_patient(registration, self.sign(patient, registration)))
        return patient

    def publication(self, patient: Key, **changes: Any) -> Publication:
        """A publication of an undated laboratory record under epoch 1."""
        publication = Publication(
            patient=patient.address,
            category=Category.LABORATORY,
            start_day=0,
            end_day=LAST_DAY,
            epoch=1,
            nonce=next(_NUMBERS),
            deadline=self.now() + 3000,
            cid_codec=0x55,
            cid_digest=secrets.token_bytes(32),
            header_digest=secrets.token_bytes(32),
            payload_commitment=secrets.token_bytes(32),
        )
        return replace(publication, **changes)

    def publish(self, provider: Key, patient: Key, **changes: Any) -> bytes:
        """Publishes a record; its id."""
        publication = self.publication(patient, **changes)
        self.transact(provider, calls.publish(publication))
        return messages.record_id(self.scope, provider.address, patient.address, publication.nonce)

    def terms(self, patient: Key, grantee: Key, **changes: Any) -> Grant:
        """A grant of laboratory records for treatment, from now for a day, unlimited."""
        now = self.now()
        grant = Grant(
            patient=patient.address,
            grantee=grantee.address,
            record_id=messages.NO_RECORD,
            categories=Category.LABORATORY.bit,
            purposes=Purpose.TREAT.bit,
            valid_from=0,
            valid_until=now + 86_400,
            data_from=0,
            data_until=LAST_DAY,
            max_uses=0,
            flags=0,
            nonce=next(_NUMBERS),
            deadline=now + 3000,
        )
        return replace(grant, **changes)

    def grant(self, patient: Key, grantee: Key, **changes: Any) -> Grant:
        """Lands a grant; its terms."""
        terms = self.terms(patient, grantee, **changes)
        self.transact(grantee, calls.grant(terms, self.sign(patient, terms)))
        return terms

    def consent_id(self, terms: Grant) -> bytes:
        return messages.consent_id(self.scope, terms.patient, terms.grantee, terms.record_id, terms.nonce)

    def events(self) -> list[Event]:
        """All events from the deployment on."""
        last = self.chain.final_block().number
        return [decode(log) for log in self.contract.logs(self.deployment.block_number, last)]

    def state(self) -> LedgerState:
        """The state replayed from the events."""
        return fold(LedgerState(self.scope), self.events())


@pytest.fixture(scope="session")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    """An Anvil that mines each transaction at once, and no idle blocks: tests move its time themselves."""
    directory = tmp_path_factory.mktemp("anvil")
    with Anvil(directory, binary=find_anvil(NODE_MODULES), block_seconds=None) as running:
        yield running


@pytest.fixture(scope="session")
def validators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Validators]:
    """Four validators for all tests of the session that only use a chain; those that break one start their own."""
    started = Validators.start(
        tmp_path_factory.mktemp("validators"), commit_timeout_milliseconds=50, empty_blocks_milliseconds=0
    )
    yield started
    started.running.stop()


@pytest.fixture(scope="session")
def chain_host(anvil: Anvil) -> Anvil | Validators:
    """The chain that ledgers are made on; tests/ledger runs on each engine."""
    return anvil


@pytest.fixture
def new_ledger(chain_host: Anvil | Validators) -> Iterator[Callable[[], LedgerWorld]]:
    """Makes fresh ledgers on the session's chain."""
    worlds: list[LedgerWorld] = []

    def make() -> LedgerWorld:
        worlds.append(LedgerWorld(chain_host))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def ledger_world(new_ledger: Callable[[], LedgerWorld]) -> LedgerWorld:
    """One fresh ledger."""
    return new_ledger()
