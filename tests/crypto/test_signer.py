"""Accounts and statements, against eth-account as the independent implementation."""

import hashlib

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import FormatError, SignatureError
from crypto.labels import Label
from crypto.signer import AccountKey, Signer, address_of, checksum_address, keccak256, recover_address
from crypto.statement import recover_statement, sign_statement, statement_digest, verify_statement

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
KEY = AccountKey.from_bytes(b"\x01" * 32)
OTHER = AccountKey.from_bytes(b"\x02" * 32)


def mirrored(signature: bytes) -> bytes:
    """The same signature with s in the upper half of the order: ECDSA takes it, EIP-2 does not."""
    high_s = ORDER - int.from_bytes(signature[32:64])
    return signature[:32] + high_s.to_bytes(32) + bytes([55 - signature[64]])


@given(secret=st.binary(min_size=32, max_size=32).filter(lambda s: 0 < int.from_bytes(s) < ORDER))
def test_account_of_any_secret_is_the_one_that_eth_account_gives(secret):
    key = AccountKey.from_bytes(secret)
    assert key.checksum_address == Account.from_key(secret).address
    assert address_of(key.public_key) == key.address


@given(digest=st.binary(min_size=32, max_size=32))
def test_sign_digest_gives_the_low_s_signature_that_eth_account_gives(digest):
    signature = KEY.sign_digest(digest)
    assert signature == bytes(Account.from_key(KEY.secret).unsafe_sign_hash(digest).signature)
    assert recover_address(digest, signature) == KEY.address
    assert int.from_bytes(signature[32:64]) <= ORDER // 2


@given(label=st.sampled_from(list(Label)), body=st.binary(max_size=200))
def test_sign_statement_is_an_eip_191_personal_message(label, body):
    message = encode_defunct(label.value.encode() + hashlib.sha256(body).digest())
    signature = sign_statement(KEY, label, body)
    assert signature == bytes(Account.from_key(KEY.secret).sign_message(message).signature)
    assert recover_statement(label, body, signature) == KEY.address


def test_verify_statement_of_another_account_body_or_label_is_refused():
    signature = sign_statement(KEY, Label.RELEASE_RECEIPT, b"body")
    verify_statement(Label.RELEASE_RECEIPT, b"body", signature, KEY.address)
    for label, body, expected in (
        (Label.GRANT_BUNDLE, b"body", KEY.address),
        (Label.RELEASE_RECEIPT, b"b0dy", KEY.address),
        (Label.RELEASE_RECEIPT, b"body", OTHER.address),
    ):
        with pytest.raises(SignatureError):
            verify_statement(label, body, signature, expected)


def test_attack_mirror_a_signature_is_refused():
    digest = keccak256(b"x")
    signature = KEY.sign_digest(digest)
    assert Account._recover_hash(digest, signature=mirrored(signature)) == KEY.checksum_address
    with pytest.raises(SignatureError, match="lower half"):
        recover_address(digest, mirrored(signature))


@pytest.mark.parametrize("v", [0, 1, 26, 29, 35, 255])
def test_recover_address_of_another_v_is_refused(v):
    with pytest.raises(SignatureError, match="27 or 28"):
        recover_address(bytes(32), KEY.sign_digest(bytes(32))[:64] + bytes([v]))


@pytest.mark.parametrize(
    "signature",
    [b"", bytes(64), bytes(66), bytes(64) + b"\x1b", b"\xff" * 32 + bytes(31) + b"\x01\x1b"],
    ids=["empty", "64 bytes", "66 bytes", "zeros", "r beyond the order"],
)
def test_recover_address_of_what_is_no_signature_is_refused(signature):
    with pytest.raises(SignatureError):
        recover_address(bytes(32), signature)


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(32), ORDER.to_bytes(32), b"\xff" * 32])
def test_account_of_an_impossible_secret_is_refused(secret):
    with pytest.raises(FormatError, match="account key"):
        AccountKey.from_bytes(secret)


@pytest.mark.parametrize(
    "label", ["", "deposit", "phr/v1/", "phr/v1/Deposit", "phr/v1/a b", "phr/v1/a\n", "phr/v1/" + "a" * 60]
)
def test_statement_under_a_malformed_label_is_refused(label):
    with pytest.raises(FormatError, match="label"):
        statement_digest(label, b"")


def test_sign_digest_of_another_size_is_refused():
    with pytest.raises(FormatError, match="32 bytes"):
        KEY.sign_digest(b"message")


def test_checksum_address_of_eip_55_examples_has_their_case():
    # Examples of EIP-55.
    for text in (
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ):
        assert checksum_address(bytes.fromhex(text[2:])) == text


def test_account_key_is_a_signer_whose_repr_hides_the_secret():
    signer: Signer = KEY
    assert signer.address == KEY.address
    assert KEY.secret.hex() not in repr(KEY)
    assert AccountKey.generate().address != AccountKey.generate().address
