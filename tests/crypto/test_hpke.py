"""The suite against published vectors, and what must not open."""

import hashlib
import json
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography.hazmat.bindings._rust import openssl as rust_openssl
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import FormatError, OpenError
from crypto.hpke import OVERHEAD_BYTES, EncryptionKey, key_digest, seal

HPKE_VECTORS = Path(cryptography_vectors.__file__).parent / "HPKE" / "hpke-pq-test-vectors.json"
XWING_VECTORS = Path(__file__).parent.parent / "vectors" / "xwing.json"
XWING_KEM = 0x647A
KDFS = {1: hpke.KDF.HKDF_SHA256, 17: hpke.KDF.SHAKE256}
AEADS = {2: hpke.AEAD.AES_256_GCM, 3: hpke.AEAD.CHACHA20_POLY1305}

KEY = EncryptionKey.from_seed(b"\x07" * 32)
OTHER = EncryptionKey.from_seed(b"\x08" * 32)


def xwing_hpke_vectors():
    return [vector for vector in json.loads(HPKE_VECTORS.read_text()) if vector["kem_id"] == XWING_KEM]


@pytest.mark.parametrize("vector", json.loads(XWING_VECTORS.read_text())["vectors"])
def test_expand_seed_of_the_drafts_vectors_gives_their_public_keys(vector):
    key = EncryptionKey.from_seed(bytes.fromhex(vector["seed"]))
    assert key.public.hex() == vector["pk"]


def test_expand_seed_of_the_hpke_vectors_gives_their_public_keys():
    vectors = xwing_hpke_vectors()
    assert len(vectors) == 2
    for vector in vectors:
        assert EncryptionKey.from_seed(bytes.fromhex(vector["skRm"])).public.hex() == vector["pkRm"]


@pytest.mark.parametrize("vector", xwing_hpke_vectors(), ids=lambda vector: f"kdf{vector['kdf_id']}")
def test_decrypt_hpke_vectors_with_the_expanded_key_gives_their_plaintexts(vector):
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, KDFS[vector["kdf_id"]], AEADS[vector["aead_id"]])
    key = EncryptionKey.from_seed(bytes.fromhex(vector["skRm"]))
    first = vector["encryptions"][0]
    opened = rust_openssl.hpke._decrypt_with_aad(
        suite,
        bytes.fromhex(vector["enc"]) + bytes.fromhex(first["ct"]),
        key._private,
        bytes.fromhex(vector["info"]),
        bytes.fromhex(first["aad"]),
    )
    assert opened.hex() == first["pt"]


def test_seal_is_the_standard_suite_that_any_hpke_opens():
    expanded = hashlib.shake_256(KEY.seed).digest(96)
    private = hpke.MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(expanded[64:])
    )
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    assert suite.decrypt(seal(b"message", KEY.public, b"info"), private, b"info") == b"message"
    assert KEY.open(suite.encrypt(b"message", private.public_key(), b"info"), b"info") == b"message"


@given(plaintext=st.binary(max_size=2000), info=st.binary(max_size=200))
def test_open_what_was_sealed_gives_the_plaintext(plaintext, info):
    sealed = seal(plaintext, KEY.public, info)
    assert len(sealed) == len(plaintext) + OVERHEAD_BYTES
    assert KEY.open(sealed, info) == plaintext


@given(position=st.integers(0, OVERHEAD_BYTES + 4), bit=st.integers(0, 7))
def test_attack_flip_any_bit_does_not_open(position, bit):
    sealed = bytearray(seal(b"hello", KEY.public, b"info"))
    sealed[position] ^= 1 << bit
    with pytest.raises(OpenError):
        KEY.open(bytes(sealed), b"info")


@given(size=st.integers(0, OVERHEAD_BYTES + 4))
def test_attack_truncate_anywhere_does_not_open(size):
    with pytest.raises(OpenError):
        KEY.open(seal(b"hello", KEY.public, b"info")[:size], b"info")


def test_open_with_another_key_or_info_does_not_open():
    sealed = seal(b"hello", KEY.public, b"info")
    with pytest.raises(OpenError):
        OTHER.open(sealed, b"info")
    with pytest.raises(OpenError):
        KEY.open(sealed, b"inf0")
    with pytest.raises(OpenError):
        KEY.open(sealed, b"")


def test_seal_same_message_twice_gives_different_bytes():
    assert seal(b"hello", KEY.public, b"") != seal(b"hello", KEY.public, b"")


@pytest.mark.parametrize("public", [b"", KEY.public[:-1], KEY.public + b"\x00", b"\xff" * 1216])
def test_seal_to_bytes_that_are_no_key_is_refused(public):
    with pytest.raises(FormatError, match="public encryption key"):
        seal(b"hello", public, b"")


def test_seal_to_a_low_order_x25519_point_is_refused():
    with pytest.raises(FormatError):
        seal(b"hello", KEY.public[:1184] + bytes(32), b"")


@pytest.mark.parametrize("seed", [b"", b"\x00" * 31, b"\x00" * 33])
def test_from_seed_of_another_size_is_refused(seed):
    with pytest.raises(FormatError, match="32 bytes"):
        EncryptionKey.from_seed(seed)


def test_key_digest_names_the_key_and_repr_hides_the_seed():
    assert key_digest(KEY.public) == KEY.digest
    assert KEY.seed.hex() not in repr(KEY)
    assert KEY == EncryptionKey.from_seed(KEY.seed) != OTHER
    assert EncryptionKey.generate() != EncryptionKey.generate()
