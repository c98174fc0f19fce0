"""CIDs: strict in, canonical out."""

import base64
import hashlib

import libipld
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import Cid, CidError, Codec, StorageError

_CID = Cid.of(b"block")
_TEXT = str(_CID)
_cids = st.builds(Cid, st.sampled_from(Codec), st.binary(min_size=32, max_size=32))


def _text_of(binary: bytes) -> str:
    return "b" + base64.b32encode(binary).decode().rstrip("=").lower()


@given(_cids)
def test_parse_of_any_cids_text_returns_the_cid(cid: Cid) -> None:
    assert Cid.parse(str(cid)) == cid
    assert Cid.from_bytes(bytes(cid)) == cid
    assert Cid.from_parts(int(cid.codec), cid.digest) == cid


@given(_cids)
def test_text_of_any_cid_equals_rfc_4648_base32_of_its_bytes(cid: Cid) -> None:
    assert str(cid) == _text_of(b"\x01" + bytes([cid.codec]) + b"\x12\x20" + cid.digest)


def test_cid_of_the_empty_block_equals_the_published_one() -> None:
    # The raw CID of nothing, known from https://github.com/ipfs/go-cid and Kubo's own tests.
    assert str(Cid.of(b"")) == "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


@pytest.mark.parametrize(
    "text",
    [
        "",
        _TEXT.upper(),
        _TEXT[:-1],
        _TEXT + "a",
        _TEXT + "\n",
        " " + _TEXT,
        "z" + _TEXT[1:],
        _TEXT.replace(_TEXT[10], "1", 1),
        _TEXT[:20] + "é" + _TEXT[21:],
        "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR",
        "/ipfs/" + _TEXT,
        "../" * 19 + "ab",
        _text_of(b"\x01\x71\x12\x20" + bytes(32)),
        _text_of(b"\x01\x55\x16\x20" + bytes(32)),
        _text_of(b"\x01\x55\x00\x20" + bytes(32)),
        _text_of(b"\x02\x55\x12\x20" + bytes(32)),
        _text_of(b"\x00\x55\x12\x20" + bytes(32)),
        _text_of(b"\x01\x55\x12\x1f" + bytes(32)),
        _text_of(b"\x01\xd5\x00\x12\x20" + bytes(31)),
    ],
    ids=[
        "empty",
        "upper case",
        "one character short",
        "one character long",
        "newline at the end",
        "space before",
        "base58 prefix",
        "letter outside base32",
        "letter outside ASCII",
        "version 0",
        "path",
        "path of 59 characters",
        "codec dag-cbor",
        "hash sha3-256",
        "hash identity",
        "version 2",
        "version 0 in base32",
        "digest of 31 bytes",
        "codec in an overlong integer",
    ],
)
def test_parse_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(CidError):
        Cid.parse(text)


def test_parse_of_text_with_stray_bits_at_the_end_is_refused() -> None:
    # 58 base32 characters hold 290 bits, a CID 288: with the two last bits set, it would be a second name.
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    stray = _TEXT[:-1] + alphabet[alphabet.index(_TEXT[-1]) | 1]
    assert stray != _TEXT
    with pytest.raises(CidError):
        Cid.parse(stray)


@given(st.text(max_size=80) | st.from_regex(r"b[a-z2-7]{58}", fullmatch=True))
def test_parse_of_any_text_gives_its_only_name_or_is_refused(text: str) -> None:
    try:
        cid = Cid.parse(text)
    except CidError:
        return
    assert str(cid) == text


@given(st.binary(max_size=40) | st.binary(min_size=32, max_size=32).map(lambda d: b"\x01\x55\x12\x20" + d))
def test_from_bytes_of_any_bytes_gives_its_only_form_or_is_refused(binary: bytes) -> None:
    try:
        cid = Cid.from_bytes(binary)
    except CidError:
        return
    assert bytes(cid) == binary
    assert libipld.decode_cid(binary)["hash"]["digest"] == cid.digest


@pytest.mark.parametrize(
    ("codec", "digest"), [(0x71, bytes(32)), (0x55, bytes(31)), (0x70, b""), (-1, bytes(32))]
)
def test_from_parts_of_another_codec_or_length_is_refused(codec: int, digest: bytes) -> None:
    with pytest.raises(CidError):
        Cid.from_parts(codec, digest)


def test_constructor_with_an_integer_for_codec_is_refused() -> None:
    with pytest.raises(CidError, match="from_parts"):
        Cid(0x55, bytes(32))  # type: ignore[arg-type]


def test_digest_of_a_cid_is_the_sha_256_of_the_block() -> None:
    assert _CID.digest == hashlib.sha256(b"block").digest()


def test_cid_error_is_a_storage_error_and_a_value_error() -> None:
    with pytest.raises(StorageError) as raised:
        Cid.parse("x" * 10_000)
    assert isinstance(raised.value, ValueError)
    assert len(str(raised.value)) < 400
