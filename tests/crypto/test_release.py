"""Releases and receipts: bound to one access, one share and one custodian."""

from dataclasses import fields, replace

import cbor2
import pytest

from crypto.errors import FormatError, OpenError, SignatureError
from crypto.hpke import EncryptionKey, seal
from crypto.person import person_commitment
from crypto.release import (
    ReleaseBinding,
    ReleaseReceipt,
    open_release,
    seal_release,
    sign_receipt,
    verify_receipt,
)
from crypto.signer import AccountKey

RESPONSE = EncryptionKey.from_seed(b"\x07" * 32)
CUSTODIAN = AccountKey.from_bytes(b"\x01" * 32)
BINDING = ReleaseBinding(31337, b"\x11" * 20, b"\x33" * 20, 9, b"\x22" * 32, 2, 1, CUSTODIAN.address)
SHARE, WRAP = b"\x0a" * 32, b"\x0b" * 1168
RECEIPT = ReleaseReceipt(
    BINDING,
    b"\x44" * 20,
    b"\x55" * 32,
    RESPONSE.digest,
    b"\x66" * 32,
    b"\x77" * 32,
    1234,
    b"\x88" * 32,
    1_700_000_000,
)


def other_value(value: object) -> object:
    return value + 1 if isinstance(value, int) else b"\x99" * len(value)


def test_open_release_gives_share_and_wrap():
    opened = open_release(seal_release(SHARE, WRAP, RESPONSE.public, BINDING), RESPONSE, BINDING)
    assert (opened.share, opened.consent_wrap) == (SHARE, WRAP)
    assert SHARE.hex() not in repr(opened)


@pytest.mark.parametrize("name", [field.name for field in fields(ReleaseBinding)])
def test_attack_replay_a_release_under_another_binding_does_not_open(name):
    sealed = seal_release(SHARE, WRAP, RESPONSE.public, BINDING)
    with pytest.raises(OpenError):
        open_release(sealed, RESPONSE, replace(BINDING, **{name: other_value(getattr(BINDING, name))}))


def test_attack_open_a_release_with_another_accesss_key_does_not_open():
    sealed = seal_release(SHARE, WRAP, RESPONSE.public, BINDING)
    with pytest.raises(OpenError):
        open_release(sealed, EncryptionKey.from_seed(b"\x08" * 32), BINDING)


def test_open_release_of_another_size_is_refused():
    sealed = seal(b"short", RESPONSE.public, BINDING.info(RESPONSE.digest))
    with pytest.raises(OpenError, match="expected 1200 bytes inside; came 5"):
        open_release(sealed, RESPONSE, BINDING)


@pytest.mark.parametrize(("share", "wrap"), [(b"", WRAP), (SHARE, b""), (SHARE + b"\x00", WRAP[1:])])
def test_seal_release_of_another_size_is_refused(share, wrap):
    with pytest.raises(FormatError):
        seal_release(share, wrap, RESPONSE.public, BINDING)


@pytest.mark.parametrize(
    ("name", "bits"), [("chain_id", 64), ("sequence", 32), ("share_index", 8), ("generation", 32)]
)
def test_release_binding_wider_than_its_field_is_refused(name, bits):
    replace(BINDING, **{name: 2**bits - 1}).info(bytes(32))
    for value in (2**bits, -1):
        with pytest.raises(FormatError):
            replace(BINDING, **{name: value})


def test_verify_receipt_of_its_custodian_passes():
    receipt = ReleaseReceipt.from_bytes(RECEIPT.to_bytes())
    assert receipt == RECEIPT
    verify_receipt(receipt, sign_receipt(CUSTODIAN, RECEIPT))


@pytest.mark.parametrize("name", [field.name for field in fields(ReleaseReceipt) if field.name != "binding"])
def test_attack_alter_any_field_of_a_receipt_is_refused(name):
    signature = sign_receipt(CUSTODIAN, RECEIPT)
    with pytest.raises(SignatureError):
        verify_receipt(replace(RECEIPT, **{name: other_value(getattr(RECEIPT, name))}), signature)


@pytest.mark.parametrize("name", [field.name for field in fields(ReleaseBinding)])
def test_attack_alter_any_field_of_a_receipts_binding_is_refused(name):
    signature = sign_receipt(CUSTODIAN, RECEIPT)
    binding = replace(BINDING, **{name: other_value(getattr(BINDING, name))})
    with pytest.raises(SignatureError):
        verify_receipt(replace(RECEIPT, binding=binding), signature)


def test_sign_receipt_for_another_custodian_is_refused():
    with pytest.raises(FormatError, match="its custodian"):
        sign_receipt(AccountKey.from_bytes(b"\x02" * 32), RECEIPT)


@pytest.mark.parametrize(
    "changed", [{"blockNumber": 2**64}, {"releasedAtSeconds": -1}, {"surprise": 1}, {"requester": b""}]
)
def test_receipt_from_bytes_of_another_shape_is_refused(changed):
    with pytest.raises(FormatError):
        ReleaseReceipt.from_bytes(cbor2.dumps(cbor2.loads(RECEIPT.to_bytes()) | changed, canonical=True))


def test_person_commitment_binds_salt_member_staff_and_role():
    person = (b"s" * 32, b"m" * 20, "dr-kim", "physician")
    assert person_commitment(*person) == person_commitment(*person)
    others = [
        (b"t" * 32, b"m" * 20, "dr-kim", "physician"),
        (b"s" * 32, b"n" * 20, "dr-kim", "physician"),
        (b"s" * 32, b"m" * 20, "dr-lee", "physician"),
        (b"s" * 32, b"m" * 20, "dr-kim", "nurse"),
        (b"s" * 32, b"m" * 20, "dr-kimp", "hysician"),
        (b"s" * 32, b"m" * 20, "physician", "dr-kim"),
    ]
    assert len({person_commitment(*other) for other in (*others, person)}) == 7


@pytest.mark.parametrize(
    "person",
    [
        (b"", b"m" * 20, "a", "b"),
        (b"s" * 32, b"m", "a", "b"),
        (b"s" * 32, b"m" * 20, "", "b"),
        (b"s" * 32, b"m" * 20, "a", "b" * 257),
        (b"s" * 32, b"m" * 20, "a\n", "b"),
        (b"s" * 32, b"m" * 20, "\ud800", "b"),
    ],
)
def test_person_commitment_of_impossible_values_is_refused(person):
    with pytest.raises(FormatError):
        person_commitment(*person)
