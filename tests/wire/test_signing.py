"""Signed requests: what is bound, and what an attacker may not change."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.signer import AccountKey
from wire.errors import RequestSignatureInvalid
from wire.limits import REQUEST_AGE_SECONDS
from wire.signing import CallerKind, RequestKey, VerifiedRequest, sign_request, verify_request

NODE = bytes.fromhex("11" * 20)
OTHER_NODE = bytes.fromhex("22" * 20)
MEMBER = bytes.fromhex("33" * 20)
SEED = secrets.token_bytes(32)
MEMBER_KEY = RequestKey.of_member(MEMBER, SEED)
PATIENT_KEY = RequestKey.of_patient(AccountKey.generate())
BACKUP_KEY = RequestKey.of_backup(secrets.token_bytes(32))
PATH = "/patients/0xabc/records?since=5"
BODY = b'{"a": 1}'


def transport_key_of(address: bytes) -> bytes | None:
    return MEMBER_KEY.private_key.public_key().public_bytes_raw() if address == MEMBER else None


def verify(headers, method="POST", path=PATH, body=BODY, destination=NODE) -> VerifiedRequest:
    return verify_request(method, path, headers, body, destination, transport_key_of)


@pytest.fixture(params=[MEMBER_KEY, PATIENT_KEY, BACKUP_KEY], ids=lambda key: key.caller.kind.value)
def key(request):
    return request.param


def test_verify_request_signed_by_each_kind_names_the_caller(key):
    verified = verify(sign_request("POST", PATH, BODY, NODE, key))
    assert verified.caller == key.caller
    assert len(verified.nonce) >= 16


def test_verify_request_without_body_names_the_caller(key):
    headers = sign_request("GET", PATH, b"", NODE, key)
    assert verify(headers, method="GET", body=b"").caller == key.caller


def test_sign_request_twice_draws_another_nonce(key):
    first, second = (verify(sign_request("POST", PATH, BODY, NODE, key)).nonce for _ in range(2))
    assert first != second


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"path": "/patients/0xabd/records?since=5"},
        {"path": "/patients/0xabc/records?since=6"},
        {"path": "/patients/0xabc/records"},
        {"body": b'{"a": 2}'},
        {"body": b""},
        {"destination": OTHER_NODE},
    ],
    ids=["method", "path", "query", "no-query", "body", "no-body", "destination"],
)
def test_attack_request_altered_on_the_way_is_refused(key, change):
    headers = sign_request("POST", PATH, BODY, NODE, key)
    with pytest.raises(RequestSignatureInvalid):
        verify(headers, **change)


def test_attack_destination_header_rewritten_is_refused(key):
    headers = sign_request("POST", PATH, BODY, OTHER_NODE, key)
    headers["PHR-Destination"] = "0x" + NODE.hex()
    with pytest.raises(RequestSignatureInvalid):
        verify(headers)


def test_attack_digest_header_rewritten_with_the_body_is_refused(key):
    headers = sign_request("POST", PATH, BODY, NODE, key)
    headers["Content-Digest"] = sign_request("POST", PATH, b"other", NODE, key)["Content-Digest"]
    with pytest.raises(RequestSignatureInvalid):
        verify(headers, body=b"other")


@pytest.mark.parametrize("offset_seconds", [-2 * REQUEST_AGE_SECONDS - 60, REQUEST_AGE_SECONDS + 60])
def test_attack_request_from_another_time_is_refused(key, offset_seconds):
    at = datetime.now(UTC) + timedelta(seconds=offset_seconds)
    with pytest.raises(RequestSignatureInvalid):
        verify(sign_request("POST", PATH, BODY, NODE, key, at=at))


def test_attack_key_id_of_somebody_else_is_refused(key):
    headers = sign_request("POST", PATH, BODY, NODE, key)
    other = "0" * len(key.caller.identifier.hex())
    headers["Signature-Input"] = headers["Signature-Input"].replace(key.caller.identifier.hex(), other)
    with pytest.raises(RequestSignatureInvalid):
        verify(headers)


def test_attack_member_signs_as_patient_of_its_own_address_is_refused():
    headers = sign_request("POST", PATH, BODY, NODE, MEMBER_KEY)
    headers["Signature-Input"] = headers["Signature-Input"].replace("member:", "patient:")
    with pytest.raises(RequestSignatureInvalid):
        verify(headers)


def test_verify_request_of_unknown_member_says_so():
    stranger = RequestKey.of_member(bytes(20), secrets.token_bytes(32))
    with pytest.raises(RequestSignatureInvalid, match="none on the ledger"):
        verify(sign_request("POST", PATH, BODY, NODE, stranger))


@pytest.mark.parametrize("missing", ["Signature", "Signature-Input", "Content-Digest", "PHR-Destination"])
def test_verify_request_without_a_header_is_refused(key, missing):
    headers = sign_request("POST", PATH, BODY, NODE, key)
    del headers[missing]
    with pytest.raises(RequestSignatureInvalid):
        verify(headers)


@pytest.mark.parametrize("dropped", ["@method", "@path", "@query", "phr-destination", "content-digest"])
def test_attack_signature_covering_less_is_refused(key, dropped, monkeypatch):
    kept = tuple(
        c for c in ("@method", "@path", "@query", "phr-destination", "content-digest") if c != dropped
    )
    with monkeypatch.context() as patched:
        patched.setattr("wire.signing._COVERED", kept)
        # The library adds content-digest on its own when it is given a body, so it is signed without one.
        body = BODY if dropped != "content-digest" else b""
        headers = sign_request("POST", PATH, body, NODE, key)
    if dropped == "content-digest":
        del headers["Content-Digest"]
    with pytest.raises(RequestSignatureInvalid):
        verify(headers)


@settings(max_examples=200)
@given(st.text(max_size=300), st.text(max_size=100))
def test_verify_request_with_arbitrary_headers_raises_nothing_else(signature_input, signature):
    headers = {
        "Signature-Input": signature_input,
        "Signature": signature,
        "PHR-Destination": "0x" + NODE.hex(),
        "Content-Digest": "sha-256=:AA==:",
    }
    with pytest.raises(RequestSignatureInvalid):
        verify(headers)


def test_request_key_of_patient_has_patient_caller():
    assert PATIENT_KEY.caller.kind is CallerKind.PATIENT
