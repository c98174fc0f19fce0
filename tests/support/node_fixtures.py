"""A real consortium for tests: an Anvil, the contract, and nodes in this process, enrolled and answering HTTP.

Loaded as a plugin by tests/conftest.py. ``network`` is shared by a module's tests: two hospitals and a clinic, all of
them custodians, t = 2. ``new_network`` makes others, for tests that suspend members or stop nodes.
"""

import itertools
import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from chain_fixtures import NODE_MODULES, Validators
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from database_fixtures import new_database_url, on_postgres
from kubo_fixtures import KUBO, built_ipfs, chosen_store, kubo_settings, new_swarm

from crypto.hpke import EncryptionKey
from crypto.keyring import KeyringSecrets
from crypto.passphrase import PassphraseCost
from crypto.signer import AccountKey
from engines.bft import BftChain
from engines.kubo_swarm import KuboSwarm
from ledger import calls
from ledger.anvil import Anvil, find_anvil
from ledger.chain import Chain
from ledger.deploy import Deployment, deploy
from ledger.endpoints import connect
from ledger.engine import ANVIL, Engine
from ledger.messages import MemberKeys, Registration, SignedMessage, from_json, sign, to_json
from ledger.outbox import MemoryOutbox
from ledger.ports import free_ports
from ledger.sender import Sender
from node.config import NodeConfig
from node.initialise import STAFF_TOKEN_FILE, initialise_node, make_keys
from node.node import Node
from vocabulary import Category, Role, role_mask
from wire.patients import PendingRegistration, RegistrationRequest, RelayRequest, RelayResponse
from wire.patients import SignedMessage as WireMessage
from wire.signing import RequestKey, sign_request
from wire.staff import PATIENT_IDENTIFIER_HEADER, encode_patient_identifier
from wire.types import Message

CHEAP = PassphraseCost(memory_kib=64, iterations=1, lanes=1, scrypt_n=2)
"""For keystores of tests only."""
HOSPITAL = (Role.PROVIDER, Role.CONSUMER, Role.CUSTODIAN)
THREE_MEMBERS = {
    "Seoul Hospital": HOSPITAL,
    "Busan Hospital": HOSPITAL,
    "Jeju Clinic": (*HOSPITAL, Role.AUDITOR),
}
PATIENCE_SECONDS = 90.0
"""How long a node may take to follow the chain: a busy machine must not fail a test."""
_NONCES = itertools.count(1)


@dataclass
class Member:
    """One member: its directory, its node while it runs, and how to call it."""

    name: str
    directory: Path
    node: Node
    staff_token: str
    http: httpx.Client = field(repr=False)

    @property
    def address(self) -> bytes:
        return self.node.address

    @property
    def url(self) -> str:
        return self.node.url

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Message = b"",
        *,
        key: RequestKey | None = None,
        staff: bool = False,
        destination: bytes | None = None,
        headers: dict[str, str] | None = None,
        about: tuple[str, str] | None = None,
    ) -> httpx.Response:
        """One request, signed by ``key`` or with this member's first staff token, or bare.

        ``about`` is the patient identifier, system and value, that the request names.
        """
        content = body.model_dump_json().encode() if isinstance(body, Message) else body
        sent = {"Accept-Encoding": "identity"}
        if staff:
            sent["Authorization"] = f"Bearer {self.staff_token}"
        if about is not None:
            sent[PATIENT_IDENTIFIER_HEADER] = encode_patient_identifier(*about)
        if key is not None:
            sent |= sign_request(method, path, content, destination or self.address, key)
        return self.http.request(method, self.url + path, content=content, headers=sent | (headers or {}))

    def restart(self) -> None:
        """Stops the node, if it runs, and starts it anew from its directory."""
        self.node.stop()
        self.node = Node(NodeConfig.load(self.directory))
        self.node.start()
        seen = self.node.ledger.wait_for_block(0, PATIENCE_SECONDS)
        self.node.ledger.wait_for_block(seen.final.number + 1, PATIENCE_SECONDS)


@dataclass
class TestPatient:
    """A pseudonym with its keyring, as a wallet would hold them."""

    __test__ = False
    account: AccountKey
    keyring: KeyringSecrets

    @property
    def address(self) -> bytes:
        return self.account.address

    @property
    def path(self) -> str:
        return f"/patients/0x{self.address.hex()}"

    @property
    def key(self) -> RequestKey:
        return RequestKey.of_patient(self.account)


@dataclass
class Network:
    """A running consortium."""

    anvil: Anvil
    """The embedded chain, or a chain of validators in its place."""
    chain: Chain
    deployment: Deployment
    administrator: AccountKey
    members: list[Member]
    _sender: Sender = field(repr=False)
    swarm: KuboSwarm | None = None
    """The members' Kubo daemons, in their order; None where their stores are embedded."""

    @property
    def validators(self) -> BftChain:
        """The validators of a network that was started with ``engine="bft"``."""
        assert isinstance(self.anvil, Validators)
        return self.anvil.running

    def member(self, name: str) -> Member:
        return next(member for member in self.members if member.name == name)

    def administer(self, call_data: bytes) -> None:
        """Sends a transaction of the administrator, and waits until every running node has seen it."""
        receipt = self._sender.send(self.deployment.address, call_data)
        for member in self.members:
            if not member.node.ended.is_set():
                member.node.ledger.wait_for_block(receipt.block_number, PATIENCE_SECONDS)

    def enrol_without_node(self, name: str, roles: tuple[Role, ...]) -> RequestKey:
        """A further member that runs no node, by what it signs its requests with."""
        account, seed = AccountKey.generate(), secrets.token_bytes(32)
        transport = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        encryption = EncryptionKey.generate().public
        keys = MemberKeys(
            account.address, name, "http://nowhere", encryption, transport, 1, self.now() + 3000
        )
        signature = sign(self.deployment.scope, keys, account.sign_digest)
        self.administer(calls.enrol_member(keys, role_mask(roles), signature))
        return RequestKey.of_member(account.address, seed)

    def now(self) -> int:
        """A time, POSIX seconds, that is neither behind the chain's nor behind this machine's."""
        return max(self.chain.final_block().time, int(time.time()))

    def new_patient(self, categories: tuple[Category, ...] = tuple(Category)) -> TestPatient:
        """A pseudonym that nobody knows yet."""
        account = AccountKey.generate()
        scope = self.deployment.scope
        keyring = KeyringSecrets.generate(scope.chain_id, scope.contract, account.address, categories)
        return TestPatient(account, keyring)

    def new_patient_like(self, patient: TestPatient) -> TestPatient:
        """The same pseudonym with another first keyring."""
        scope = self.deployment.scope
        keyring = KeyringSecrets.generate(scope.chain_id, scope.contract, patient.address, tuple(Category))
        return TestPatient(patient.account, keyring)

    def signed(self, patient: TestPatient, message: SignedMessage) -> WireMessage:
        """A message signed by a patient, as it goes over the wire."""
        signature = sign(self.deployment.scope, message, patient.account.sign_digest)
        return WireMessage(kind=type(message).__name__, message=to_json(message), signature=signature)

    def registration(self, patient: TestPatient, provider: Member, **changes: Any) -> RegistrationRequest:
        """What a wallet posts to be registered."""
        public = patient.keyring.public()
        fields: dict[str, Any] = {
            "patient": patient.address,
            "provider": provider.address,
            "keyring_digest": public.digest,
            "nonce": next(_NONCES),
            "deadline": self.now() + 3000,
        }
        signed = self.signed(patient, Registration(**fields | changes))
        return RegistrationRequest(registration=signed, keyring=public.to_bytes())

    def register(
        self,
        provider: Member,
        identifiers: tuple[tuple[str, str], ...] = (),
        patient: TestPatient | None = None,
    ) -> TestPatient:
        """A patient of ``provider``, registered the real way: wallet, code, staff, ledger; seen by every node."""
        patient = patient or self.new_patient()
        answer = provider.call(
            "POST", "/registrations", self.registration(patient, provider), key=patient.key
        )
        assert answer.status_code == 200, answer.text
        code = PendingRegistration.model_validate_json(answer.content).code
        named = identifiers or (("urn:oid:1.2.3", secrets.token_hex(8)),)
        approval = {"code": code, "identifiers": [{"system": one, "value": other} for one, other in named]}
        approved = provider.call("POST", "/staff/registrations", json.dumps(approval).encode(), staff=True)
        assert approved.status_code == 200, approved.text
        self.wait_for_all()
        return patient

    def relay(self, node: Member, patient: TestPatient, *messages: SignedMessage) -> RelayResponse:
        """Relays messages of a patient through a node; every node has seen them when this returns."""
        request = RelayRequest(messages=tuple(self.signed(patient, message) for message in messages))
        answer = node.call("POST", "/relay", request, key=patient.key)
        assert answer.status_code == 200, answer.text
        self.wait_for_all()
        return RelayResponse.model_validate_json(answer.content)

    def wait_for_all(self) -> None:
        """Waits until every running node is at the chain's final head."""
        number = self.chain.final_block().number
        for member in self.members:
            if not member.node.ended.is_set():
                member.node.ledger.wait_for_block(number, PATIENCE_SECONDS)

    def stop(self) -> None:
        for member in self.members:
            member.node.stop()
            member.http.close()
        self.chain.close()
        self.anvil.kill()
        if self.swarm is not None:
            self.swarm.stop()


def _start_chain(directory: Path, engine: Engine, administrator: AccountKey, places: list[Path]) -> Any:
    """An Anvil, or validators that take the transactions of the administrator and of the nodes in ``places``."""
    if engine is ANVIL:
        anvil = Anvil(directory, binary=find_anvil(NODE_MODULES), block_seconds=1.0)
        anvil.start()
        return anvil
    accounts = [administrator.address, *(make_keys(place, cost=CHEAP) for place in places)]
    return Validators.start(directory, accounts=10, further=accounts)


def start_network(
    directory: Path,
    members: dict[str, tuple[Role, ...]] = THREE_MEMBERS,
    *,
    minimum_threshold: int = 2,
    database_url: Callable[[Path], str] | None = None,
    store: str | None = None,
    engine: Engine = ANVIL,
) -> Network:
    """Starts a chain, deploys the contract, makes, enrols and starts the nodes; each has seen all members.

    The chain is Anvil, or for ``BFT`` four validators, all of which each node follows. ``database_url`` gives the
    database of the node in a directory, and ``store`` is "embedded" or "kubo"; as the run was asked for, when absent.
    """
    if database_url is None and on_postgres():
        database_url = new_database_url
    administrator = AccountKey.generate()
    places = [directory / name.replace(" ", "-").lower() for name in members]
    anvil = _start_chain(directory / "chain", engine, administrator, places)
    chain = anvil.chain()
    sender = Sender(chain, administrator.address, administrator.sign_digest, MemoryOutbox())
    deployer = sender
    if isinstance(anvil, Validators):
        deployer = Sender(chain, anvil.deployer.address, anvil.deployer.sign_digest, MemoryOutbox())
    deployment = deploy(chain, deployer, administrator.address, minimum_threshold)
    if isinstance(anvil, Validators):
        chain.close()
        chain = connect(anvil.running.rpc_urls, engine, deployment)
        sender = Sender(chain, administrator.address, administrator.sign_digest, MemoryOutbox())
    deployment_file = directory / "deployment.json"
    deployment_file.write_text(json.dumps(deployment.to_json()))
    network = Network(anvil, chain, deployment, administrator, [], sender)
    try:
        settings: list[dict[str, object]] = [{} for _ in members]
        if (store or chosen_store()) == KUBO:
            network.swarm = new_swarm(directory, built_ipfs(), len(members))
            network.swarm.start()
            settings = [kubo_settings(daemon) for daemon in network.swarm.daemons]
        for (name, roles), place, port, further in zip(
            members.items(), places, free_ports(len(members)), settings, strict=True
        ):
            enrolment = initialise_node(
                place,
                name=name,
                endpoint=f"http://127.0.0.1:{port}",
                port=port,
                rpc_urls=anvil.running.rpc_urls if isinstance(anvil, Validators) else [anvil.url],
                engine=engine.name,
                deployment=deployment_file,
                cost=CHEAP,
                further=further | ({"database_url": database_url(place)} if database_url else {}),
            )
            keys = from_json(MemberKeys, enrolment.message)
            sender.send(deployment.address, calls.enrol_member(keys, role_mask(roles), enrolment.signature))
            node = Node(NodeConfig.load(place))
            token = (place / STAFF_TOKEN_FILE).read_text().strip()
            network.members.append(
                Member(name, place, node, token, httpx.Client(timeout=60, trust_env=False))
            )
        for member in network.members:
            member.node.start()
        network.wait_for_all()
        # A node works only once it has seen the head move.
        anvil.mine()
        network.wait_for_all()
    except BaseException:
        network.stop()
        raise
    return network


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """The consortium of a module's tests."""
    running = start_network(tmp_path_factory.mktemp("network"))
    yield running
    running.stop()


@pytest.fixture
def new_network(tmp_path: Path) -> Iterator[Callable[..., Network]]:
    """Makes consortia of a test's own; arguments as ``start_network`` after the directory."""
    started: list[Network] = []

    def start(*arguments: Any, **options: Any) -> Network:
        place = tmp_path / f"network-{len(started)}"
        place.mkdir()
        started.append(start_network(place, *arguments, **options))
        return started[-1]

    yield start
    for running in started:
        running.stop()
