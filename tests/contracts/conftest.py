"""A real chain for the contracts' tests, with fixed keys and times so that gas is the same on every run."""

import importlib.util
import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes
from web3 import HTTPProvider, Web3
from web3.contract import Contract

PROJECT = Path(__file__).parents[2]
GENESIS_TIME = 1_800_000_000
DOMAIN = {"name": "phr ConsentLedger", "version": "1"}

# Written out here, and not read from anything of the contract's, so that a slip there shows.
SIGNED_TYPES: dict[str, str] = {
    "MemberKeys": "address member,string name,string endpoint,bytes encryptionKey,bytes32 transportKey,uint64 nonce,"
    "uint40 deadline",
    "Registration": "address patient,address provider,bytes32 keyringDigest,uint64 nonce,uint40 deadline",
    "KeyringRotation": "address patient,uint16 epoch,bytes32 keyringDigest,uint64 nonce",
    "DenyPolicy": "address patient,uint32 categories,uint16 purposes,uint24 nonce",
    "RelationshipEnd": "address patient,address provider,uint64 nonce",
    "Freeze": "address patient,uint64 nonce",
    "Restriction": "address patient,bytes32 recordId,bool restricted,uint16 nonce",
    "Grant": "address patient,address grantee,bytes32 recordId,uint32 categories,uint16 purposes,uint40 validFrom,"
    "uint40 validUntil,uint24 dataFrom,uint24 dataUntil,uint24 maxUses,uint24 flags,uint64 nonce,uint40 deadline",
    "Revocation": "address patient,address grantee,bytes32 recordId,uint64 nonce",
}


def account(label: str) -> LocalAccount:
    """The account of a label, always the same."""
    return Account.from_key(Web3.keccak(text=f"phr contract tests: {label}"))


def digest(label: str) -> bytes:
    """32 bytes that look random, always the same for a label."""
    return bytes(Web3.keccak(text=label))


def nonce64(label: str) -> int:
    """64 bits that look random, always the same for a label."""
    return int.from_bytes(digest(label)[:8])


@dataclass
class Chain:
    """A ledger on a chain of its own, whose clock only moves when told: one second a block."""

    web3: Web3
    ledger: Contract
    administrator: LocalAccount
    time: int
    members: dict[str, LocalAccount] = field(default_factory=dict)

    def now(self) -> int:
        """The time of the next block, in seconds."""
        return self.time + 1

    def send(self, sender: LocalAccount, call: Any) -> Any:
        """Sends a transaction in a block of its own; its receipt. Fails the test if it reverts."""
        self.time += 1
        self.web3.provider.make_request("evm_setNextBlockTimestamp", [self.time])  # type: ignore[arg-type]
        transaction = {
            "from": sender.address,
            "to": self.ledger.address,
            "data": call._encode_transaction_data(),
            "gas": 16_000_000,
            "gasPrice": 0,
            "nonce": self.web3.eth.get_transaction_count(sender.address),
            "chainId": self.web3.eth.chain_id,
        }
        raw = sender.sign_transaction(transaction).raw_transaction
        receipt = self.web3.eth.wait_for_transaction_receipt(self.web3.eth.send_raw_transaction(raw))
        if receipt["status"] != 1:
            call.call({"from": sender.address})
            pytest.fail("the transaction failed, and the same call does not")
        return receipt

    def sign(self, signer: LocalAccount, kind: str, message: tuple[Any, ...]) -> HexBytes:
        """The EIP-712 signature of a message whose fields are in the struct's order."""
        fields = [part.split(" ") for part in SIGNED_TYPES[kind].split(",")]
        domain = DOMAIN | {"chainId": self.web3.eth.chain_id, "verifyingContract": self.ledger.address}
        types = {kind: [{"type": type_name, "name": name} for type_name, name in fields]}
        values = {name: value for (_, name), value in zip(fields, message, strict=True)}
        return signer.sign_typed_data(domain, types, values).signature

    def signed(self, function: str, signer: LocalAccount, kind: str, message: tuple[Any, ...]) -> Any:
        """The call of a function that takes a struct and its signature."""
        return self.ledger.functions[function](message, self.sign(signer, kind, message))

    def enrol(self, label: str, roles: int) -> LocalAccount:
        """Enrols the member of a label."""
        member = account(label)
        key = b"".join(digest(f"{label} key {part}") for part in range(38))
        keys = (
            member.address,
            label,
            f"https://{label}.example:8443",
            key,
            digest(f"{label} transport"),
            1,
            self.now() + 600,
        )
        call = self.ledger.functions.enrolMember(keys, roles, self.sign(member, "MemberKeys", keys))
        self.send(self.administrator, call)
        self.members[label] = member
        return member

    def register(self, label: str, provider: LocalAccount) -> LocalAccount:
        """Registers the patient of a label."""
        patient = account(label)
        registration = (
            patient.address,
            provider.address,
            digest(f"{label} keyring"),
            nonce64(f"{label} registration"),
            self.now() + 600,
        )
        self.send(provider, self.signed("registerPatient", patient, "Registration", registration))
        return patient

    def publication(self, patient: LocalAccount, label: str) -> tuple[Any, ...]:
        """A laboratory record of one day, under epoch 1."""
        return (
            patient.address,
            6,
            738_000,
            738_000,
            1,
            nonce64(f"{label} record"),
            self.now() + 600,
            0x55,
            digest(f"{label} cid"),
            digest(f"{label} header"),
            digest(f"{label} payload"),
        )

    def record_id(self, author: LocalAccount, publication: tuple[Any, ...]) -> bytes:
        """The record id of a publication, computed as the specification says."""
        patient, nonce = publication[0], publication[5]
        return self._identity(["address", "address", "uint256"], [author.address, patient, nonce])

    def consent_id(self, patient: str, grantee: str, record_id: bytes, nonce: int) -> bytes:
        """The consent id, computed as the specification says."""
        types = ["address", "address", "bytes32", "uint256"]
        return self._identity(types, [patient, grantee, record_id, nonce])

    def _identity(self, types: list[str], values: list[Any]) -> bytes:
        where = [self.web3.eth.chain_id, self.ledger.address]
        return bytes(Web3.keccak(self.web3.codec.encode(["uint256", "address", *types], where + values)))

    def terms(
        self, patient: LocalAccount, grantee: LocalAccount, label: str, **changes: Any
    ) -> tuple[Any, ...]:
        """A consent with purposes, categories, a data period, an expiry and a use limit."""
        fields: dict[str, Any] = {
            "patient": patient.address,
            "grantee": grantee.address,
            "recordId": bytes(32),
            "categories": 0x00000340,
            "purposes": 0x03,
            "validFrom": self.now() - 60,
            "validUntil": self.now() + 90 * 86_400,
            "dataFrom": 737_000,
            "dataUntil": 739_000,
            "maxUses": 1_000,
            "flags": 0,
            "nonce": nonce64(f"{label} consent"),
            "deadline": self.now() + 600,
        }
        assert changes.keys() <= fields.keys()
        return tuple((fields | changes).values())


@pytest.fixture(scope="session")
def artifact() -> dict[str, Any]:
    """The committed artifact."""
    loaded: dict[str, Any] = json.loads((PROJECT / "contracts/artifacts/ConsentLedger.json").read_text())
    return loaded


@pytest.fixture(scope="session")
def build() -> ModuleType:
    """The module contracts/build.py, which is no package of the product."""
    spec = importlib.util.spec_from_file_location("contracts_build", PROJECT / "contracts/build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def start_chain(artifact: dict[str, Any], tmp_path: Path) -> Iterator[Callable[[], Chain]]:
    """Starts Anvil on a free port, deploys the artifact; every chain started ends with the test."""
    processes: list[subprocess.Popen[str]] = []

    def start() -> Chain:
        process = subprocess.Popen(
            [
                PROJECT / "node_modules/.bin/anvil",
                *("--port", "0", "--chain-id", "31337", "--hardfork", "prague"),
                *("--timestamp", str(GENESIS_TIME), "--gas-price", "0", "--block-base-fee-per-gas", "0"),
                "--disable-min-priority-fee",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"HOME": str(tmp_path)},
        )
        processes.append(process)
        assert process.stdout
        lines = []
        for line in process.stdout:
            lines.append(line)
            if listening := re.search(r"Listening on ([0-9.]+:\d+)", line):
                # Anvil talks on: a full pipe would stop it.
                threading.Thread(target=process.stdout.read, daemon=True).start()
                return deploy(f"http://{listening[1]}")
        pytest.fail("anvil ended before it listened:\n" + "".join(lines))

    def deploy(url: str) -> Chain:
        web3 = Web3(HTTPProvider(url))
        administrator = account("administrator")
        factory = web3.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"])
        transaction = {
            "data": factory.constructor(administrator.address, 2).data_in_transaction,
            "gas": 16_000_000,
            "gasPrice": 0,
            "nonce": 0,
            "chainId": 31337,
        }
        web3.provider.make_request("evm_setNextBlockTimestamp", [GENESIS_TIME + 1])  # type: ignore[arg-type]
        raw = administrator.sign_transaction(transaction).raw_transaction
        receipt = web3.eth.wait_for_transaction_receipt(web3.eth.send_raw_transaction(raw))
        assert receipt["status"] == 1
        ledger = web3.eth.contract(address=receipt["contractAddress"], abi=artifact["abi"])
        return Chain(web3, ledger, administrator, GENESIS_TIME + 1)

    yield start
    for process in processes:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def chain(start_chain: Callable[[], Chain]) -> Chain:
    """One chain."""
    return start_chain()
