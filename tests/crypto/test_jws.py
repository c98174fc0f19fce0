"""The provider's detached JWS: with joserfc as the other implementation, and each forgery."""

import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws as joserfc_jws
from joserfc.jwk import ECKey

from crypto.errors import CryptoError, FormatError, SignatureError
from crypto.jws import sign_detached, verify_detached
from crypto.signer import AccountKey

KEY = AccountKey.from_bytes(b"\x01" * 32)
OTHER = AccountKey.from_bytes(b"\x02" * 32)
CONTENT = b'{"resourceType":"Bundle"}'
JWS = sign_detached(KEY, CONTENT, "application/fhir+json", 1_700_000_000)


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def header_of(jws: str) -> dict:
    protected = jws.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(protected + "=" * (-len(protected) % 4)))


def signed_with(header: dict | str, key: AccountKey = KEY, content: bytes = CONTENT) -> str:
    """A correctly signed JWS under any header, as a hostile signer could make it."""
    text = header if isinstance(header, str) else json.dumps(header)
    protected = encode(text.encode())
    digest = hashlib.sha256(protected.encode() + b"." + content).digest()
    return f"{protected}..{encode(key.sign_digest(digest)[:64])}"


@given(content=st.binary(max_size=500), when=st.integers(0, 2**40 - 1))
def test_verify_what_was_signed_gives_author_type_and_time(content, when):
    verified = verify_detached(sign_detached(KEY, content, "application/pdf", when), content, KEY.address)
    assert (verified.author, verified.media_type, verified.signed_at_seconds) == (
        KEY.address,
        "application/pdf",
        when,
    )


def test_sign_detached_is_what_joserfc_verifies():
    registry = joserfc_jws.JWSRegistry(algorithms=["ES256K"], strict_check_header=False)
    registry.max_header_length = 2000
    key = ECKey.import_key(header_of(JWS)["jwk"])
    verified = joserfc_jws.deserialize_compact(JWS, key, registry=registry, payload=CONTENT)
    assert verified.headers()["cty"] == "application/fhir+json"


def test_verify_detached_takes_what_joserfc_signs():
    jwk = header_of(JWS)["jwk"] | {"d": encode(KEY.secret)}
    registry = joserfc_jws.JWSRegistry(algorithms=["ES256K"], strict_check_header=False)
    signed = joserfc_jws.serialize_compact(header_of(JWS), CONTENT, ECKey.import_key(jwk), registry=registry)
    assert verify_detached(signed, CONTENT, KEY.address).author == KEY.address


def test_sign_detached_is_reproducible():
    assert sign_detached(KEY, CONTENT, "application/fhir+json", 1_700_000_000) == JWS


@given(content=st.binary(max_size=100).filter(lambda content: content != CONTENT))
def test_attack_put_other_content_under_a_signature_is_refused(content):
    with pytest.raises(SignatureError):
        verify_detached(JWS, content, KEY.address)


def test_attack_sign_as_another_provider_is_refused():
    with pytest.raises(SignatureError, match="expected the key of"):
        verify_detached(
            signed_with(
                header_of(JWS) | {"jwk": header_of(sign_detached(OTHER, b"", "a/b", 1))["jwk"]}, OTHER
            ),
            CONTENT,
            KEY.address,
        )


def test_attack_name_the_authors_key_but_sign_with_another_is_refused():
    with pytest.raises(SignatureError, match="did not"):
        verify_detached(signed_with(header_of(JWS), OTHER), CONTENT, KEY.address)


@pytest.mark.parametrize(
    "changed",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES256"},
        {"b64": True},
        {"crit": ["b64", "exp"]},
        {"crit": []},
        {"kid": "1"},
        {"jku": "https://example.org/keys"},
        {"iat": -1},
        {"iat": 1.5},
        {"iat": True},
        {"iat": "1700000000"},
        {"cty": ""},
        {"cty": 7},
        {"jwk": "key"},
        {"jwk": header_of(JWS)["jwk"] | {"d": encode(KEY.secret)}},
        {"jwk": header_of(JWS)["jwk"] | {"crv": "P-256"}},
        {"jwk": header_of(JWS)["jwk"] | {"x": "AAAA"}},
        {"jwk": header_of(JWS)["jwk"] | {"x": 5}},
    ],
    ids=lambda changed: json.dumps(changed)[:40],
)
def test_attack_correctly_sign_another_header_is_refused(changed):
    jws = signed_with(header_of(JWS) | changed)
    with pytest.raises((FormatError, SignatureError)):
        verify_detached(jws, CONTENT, KEY.address)


@pytest.mark.parametrize("missing", sorted(header_of(JWS)))
def test_verify_header_without_a_field_is_refused(missing):
    header = header_of(JWS)
    del header[missing]
    with pytest.raises(FormatError):
        verify_detached(signed_with(header), CONTENT, KEY.address)


def test_attack_header_with_a_name_twice_is_refused():
    text = json.dumps(header_of(JWS))
    with pytest.raises(FormatError):
        verify_detached(signed_with('{"alg":"none",' + text[1:]), CONTENT, KEY.address)


@pytest.mark.parametrize(
    "jws",
    [
        "",
        "..",
        JWS + ".",
        JWS.replace("..", "." + encode(CONTENT) + "."),
        JWS + "=",
        JWS[:-1],
        JWS.replace("..", "..\n"),
        " " + JWS,
        "é" + JWS,
        JWS + "A" * 5000,
        encode(b"[" * 1200) + "..AAAA",
        encode(b"\xff") + "..AAAA",
    ],
)
def test_verify_text_that_is_no_detached_jws_is_refused(jws):
    with pytest.raises(FormatError):
        verify_detached(jws, CONTENT, KEY.address)


@given(st.text(max_size=200))
def test_verify_any_text_gives_only_our_errors(text):
    with pytest.raises(CryptoError):
        verify_detached(text, CONTENT, KEY.address)


def test_attack_loosen_the_last_base64_bits_is_refused():
    # 64 bytes leave four unused bits in the last character: other characters decode to the same signature.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet[alphabet.index(JWS[-1]) + 1]
    with pytest.raises(FormatError, match="base64url"):
        verify_detached(JWS[:-1] + last, CONTENT, KEY.address)
