"""Messages: EIP-712 against eth-account's own encoder, ids, widths, and the JSON form."""

import dataclasses
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import addresses, messages
from ledger.errors import InvalidMessage
from ledger.messages import SIGNED_MESSAGES, Freeze, Grant, LedgerScope, MemberKeys, SignedMessage
from ledger.solidity import SolidityType, Struct, fields_of

SCOPE = LedgerScope(31337, bytes.fromhex("5fbdb2315678afecb367f032d93f642f64180aa3"))
KEY = Account.from_key(b"\x07" * 32)
SIGNER = addresses.from_text(KEY.address)


def sign_digest(digest: bytes) -> bytes:
    return bytes(KEY.unsafe_sign_hash(digest).signature)


def values(kind: SolidityType, name: str) -> st.SearchStrategy[Any]:
    if name == "encryption_key":
        return st.binary(min_size=1216, max_size=1216)
    return {
        "address": st.binary(min_size=20, max_size=20),
        "bytes32": st.binary(min_size=32, max_size=32),
        "uint": st.integers(0, (1 << kind.bits) - 1),
        "bool": st.booleans(),
        "string": st.text(min_size=1, max_size=60),
        "bytes": st.binary(max_size=40),
    }[kind.kind]


def structs(kind: type[Struct]) -> st.SearchStrategy[Any]:
    fields = {field.name: values(field.type, field.name) for field in fields_of(kind)}  # type: ignore[arg-type]
    return st.builds(kind, **fields)


signed_messages = st.one_of([structs(kind) for kind in SIGNED_MESSAGES])


def eth_account_digest(scope: LedgerScope, message: SignedMessage) -> bytes:
    fields = fields_of(type(message))
    signable = encode_typed_data(
        domain_data={
            "name": "phr ConsentLedger",
            "version": "1",
            "chainId": scope.chain_id,
            "verifyingContract": addresses.to_text(scope.contract),
        },
        message_types={
            type(message).__name__: [{"name": field.solidity_name, "type": field.abi} for field in fields]
        },
        message_data={
            field.solidity_name: (
                addresses.to_text(getattr(message, field.name))
                if field.abi == "address"
                else getattr(message, field.name)
            )
            for field in fields
        },
    )
    return keccak(b"\x19" + signable.version + signable.header + signable.body)


@given(signed_messages)
@settings(max_examples=150, deadline=None)
def test_digest_of_any_message_equals_eth_accounts(message: SignedMessage) -> None:
    assert messages.digest(SCOPE, message) == eth_account_digest(SCOPE, message)


@given(signed_messages)
@settings(max_examples=50, deadline=None)
def test_recover_of_a_signed_message_names_the_signer(message: SignedMessage) -> None:
    signature = messages.sign(SCOPE, message, sign_digest)
    assert messages.recover(SCOPE, message, signature) == SIGNER


@given(signed_messages, st.data())
@settings(max_examples=80, deadline=None)
def test_recover_with_any_one_field_altered_names_another(
    message: SignedMessage, data: st.DataObject
) -> None:
    signature = messages.sign(SCOPE, message, sign_digest)
    field = data.draw(st.sampled_from(fields_of(type(message))))
    other = data.draw(values(field.type, field.name))  # type: ignore[arg-type]
    altered = dataclasses.replace(message, **{field.name: other})
    if altered != message:
        assert messages.recover(SCOPE, altered, signature) != SIGNER


@pytest.mark.parametrize(
    "scope",
    [LedgerScope(1, SCOPE.contract), LedgerScope(SCOPE.chain_id, b"\x01" * 20)],
    ids=["chain", "contract"],
)
def test_signature_replayed_in_another_scope_names_another(scope: LedgerScope) -> None:
    message = Freeze(SIGNER, 1)
    assert messages.recover(scope, message, messages.sign(SCOPE, message, sign_digest)) != SIGNER


def test_malleated_signature_is_refused() -> None:
    message = Freeze(SIGNER, 1)
    signature = messages.sign(SCOPE, message, sign_digest)
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high = order - int.from_bytes(signature[32:64], "big")
    twin = signature[:32] + high.to_bytes(32, "big") + bytes([55 - signature[64]])
    with pytest.raises(InvalidMessage, match="upper half"):
        messages.recover(SCOPE, message, twin)


@pytest.mark.parametrize(
    "signature", [b"", b"\x01" * 64, b"\x01" * 66, bytes(64) + b"\x1b", b"\x01" * 64 + b"\x00"]
)
def test_malformed_signature_is_refused(signature: bytes) -> None:
    with pytest.raises(InvalidMessage):
        messages.recover(SCOPE, Freeze(SIGNER, 1), signature)


def test_sign_with_a_signer_that_returns_nonsense_is_refused() -> None:
    with pytest.raises(InvalidMessage):
        messages.sign(SCOPE, Freeze(SIGNER, 1), lambda digest: bytes(65))


@given(
    st.one_of([structs(kind) for kind in (*SIGNED_MESSAGES, messages.Publication, messages.AccessRequest)])
)
@settings(max_examples=150, deadline=None)
def test_json_form_read_back_is_the_same_message(message: Struct) -> None:
    shaped = messages.to_json(message)
    assert messages.from_json(type(message), shaped) == message
    if isinstance(message, SignedMessage):
        assert messages.signed_from_json(shaped) == message


FREEZE = messages.to_json(Freeze(SIGNER, 1))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "Freeze",
        {},
        FREEZE | {"type": "Grant"},
        FREEZE | {"more": 1},
        {name: value for name, value in FREEZE.items() if name != "nonce"},
        FREEZE | {"nonce": 1},
        FREEZE | {"nonce": "1"},
        FREEZE | {"nonce": "0x01"},
        FREEZE | {"nonce": "0x1" + "0" * 16},
        FREEZE | {"nonce": "0x" + "1" * 100_000},
        FREEZE | {"patient": FREEZE["patient"][:-1]},
        FREEZE | {"patient": FREEZE["patient"][2:]},
        FREEZE | {"patient": FREEZE["patient"].swapcase().replace("0X", "0x")},
        FREEZE | {"patient": 5},
    ],
)
def test_json_form_out_of_form_is_refused(value: object) -> None:
    with pytest.raises(InvalidMessage):
        messages.from_json(Freeze, value)
    with pytest.raises(InvalidMessage):
        messages.signed_from_json(value) if value != FREEZE | {"type": "Grant"} else messages.from_json(
            Freeze, value
        )


GRANT = Grant(SIGNER, b"\x02" * 20, bytes(32), 1, 1, 0, 1, 0, 1, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("patient", bytes(19)),
        ("patient", "0x" + "00" * 20),
        ("record_id", bytes(31)),
        ("categories", 1 << 32),
        ("max_uses", 1 << 24),
        ("valid_until", -1),
        ("purposes", True),
        ("nonce", 1 << 64),
        ("nonce", 1.0),
    ],
)
def test_field_wider_than_its_type_cannot_be_made(field: str, value: object) -> None:
    with pytest.raises(InvalidMessage, match=field):
        dataclasses.replace(GRANT, **{field: value})  # type: ignore[arg-type]


def test_member_keys_with_a_key_of_another_size_cannot_be_made() -> None:
    keys = MemberKeys(SIGNER, "Seoul Hospital", "https://seoul.example", bytes(1216), bytes(32), 1, 0)
    for wrong in (
        {"encryption_key": bytes(1215)},
        {"name": ""},
        {"name": "x" * 257},
        {"endpoint": "가" * 171},
    ):
        with pytest.raises(InvalidMessage):
            dataclasses.replace(keys, **wrong)  # type: ignore[arg-type]


def test_group_packed_has_the_contracts_layout() -> None:
    group = messages.AccessGroup(0x0102, False, (b"\xaa" * 32, b"\xbb" * 32))
    assert group.pack() == bytes(6) + b"\x01\x02" + b"\x00" + b"\x00\x02" + b"\xaa" * 32 + b"\xbb" * 32


@pytest.mark.parametrize(
    ("nonce", "record_scope", "record_ids"),
    [
        (0, False, ()),
        (0, True, (bytes(32), bytes(32))),
        (0, False, (bytes(31),)),
        (1 << 64, False, (bytes(32),)),
        (0, False, (bytes(32),) * 65_536),
    ],
)
def test_group_that_cannot_be_packed_cannot_be_made(nonce: int, record_scope: bool, record_ids: Any) -> None:
    with pytest.raises(InvalidMessage):
        messages.AccessGroup(nonce, record_scope, record_ids)


@given(st.binary(min_size=20, max_size=20))
def test_address_text_read_back_is_the_same(address: bytes) -> None:
    assert addresses.from_text(addresses.to_text(address)) == address
    assert addresses.from_text(addresses.to_text(address).lower()) == address
