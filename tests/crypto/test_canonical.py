"""Strict documents: one encoding for each value, and every other refused, whatever the document."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto import canonical
from crypto.envelope import Header
from crypto.errors import CryptoError, FormatError
from crypto.grant import GrantBundle
from crypto.keyring import Keyring, KeyringSecrets
from crypto.labels import Label
from crypto.release import ReleaseReceipt

READERS = [
    Header.from_bytes,
    Keyring.from_bytes,
    KeyringSecrets.from_bytes,
    GrantBundle.from_bytes,
    ReleaseReceipt.from_bytes,
]

values = st.recursive(
    st.integers(0, 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=30), inner, max_size=4),
    max_leaves=12,
)


@given(fields=st.dictionaries(st.text(max_size=30).filter(lambda name: name != "type"), values, max_size=6))
def test_encode_any_fields_is_core_deterministic(fields):
    data = canonical.encode(Label.HEADER, fields)
    canonical.decode(data, Label.HEADER, 10**6)
    keys = [cbor2.dumps(key) for key in cbor2.loads(data)]
    assert keys == sorted(keys)


@given(st.binary(max_size=300))
def test_decode_any_bytes_gives_only_format_errors(data):
    with pytest.raises(FormatError):
        canonical.decode(data, Label.HEADER, 10_000).done()


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__qualname__)
@given(data=st.binary(max_size=200) | values.map(lambda value: cbor2.dumps(value, canonical=True)))
def test_read_any_bytes_gives_only_our_errors(read, data):
    with pytest.raises(CryptoError):
        read(data)


def kind(data: str) -> bytes:
    """A map of ``type`` and one more field ``a``, whose encoding is given in hexadecimal."""
    return b"\xa2\x61a" + bytes.fromhex(data) + b"\x64type" + cbor2.dumps(Label.HEADER.value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("1800", "an integer longer than need be"),
        ("1b0000000000000001", "an integer of eight bytes for one"),
        ("5f4101ff", "a byte string of indefinite length"),
        ("9fff", "a list of indefinite length"),
        ("bfff", "a map of indefinite length"),
        ("f90000", "a float"),
        ("fb3ff0000000000000", "a double"),
        ("f4", "false"),
        ("f6", "null"),
        ("f7", "undefined"),
        ("20", "a negative integer is a value, but no field takes it"),
        ("c101", "a time stamp"),
        ("c24101", "a big number of one byte"),
        ("c249010000000000000000", "a big number"),
        ("d823 6161", "a regular expression"),
        ("d81c80", "a shareable value"),
        ("d9010280", "a set"),
        ("d9d9f701", "a self-described value"),
        ("6180", "a text that is no UTF-8"),
        ("a2616101616102", "a key twice"),
        ("a2616201616101", "keys in another order"),
        ("a10101", "a key that is no text"),
        ("81" * 12 + "01", "too many levels"),
        ("5a7fffffff", "a byte string longer than the document"),
        ("9a7fffffff", "a list longer than the document"),
    ],
)
def test_decode_encoding_that_is_not_ours_is_refused(value, why):
    with pytest.raises(FormatError):
        canonical.decode(kind(value), Label.HEADER, 10_000).uint("a", 64)


def test_decode_the_same_document_in_our_encoding_is_read():
    assert canonical.decode(kind("01"), Label.HEADER, 10_000).uint("a", 64) == 1


def test_decode_trailing_bytes_are_refused():
    data = canonical.encode(Label.HEADER, {})
    with pytest.raises(FormatError, match="trailing"):
        canonical.decode(data + b"\x00", Label.HEADER, 10_000)


def test_decode_document_of_another_type_is_refused():
    with pytest.raises(
        FormatError, match=r"expected a document of type phr/v1/keyring; came type phr/v1/header"
    ):
        canonical.decode(canonical.encode(Label.HEADER, {}), Label.KEYRING, 10_000)


def test_decode_over_the_limit_is_refused_unparsed():
    with pytest.raises(FormatError, match="at most 10 bytes"):
        canonical.decode(b"\xff" * 11, Label.HEADER, 10)


def test_done_with_an_unknown_field_left_is_refused():
    fields = canonical.decode(canonical.encode(Label.HEADER, {"surprise": 1}), Label.HEADER, 100)
    with pytest.raises(FormatError, match="no further field; came 'surprise'"):
        fields.done()


def test_labels_are_different_and_none_is_anothers_prefix():
    prefixes = [label.prefix for label in Label]
    for one in prefixes:
        assert [other for other in prefixes if other.startswith(one)] == [one]
        assert one.count(b"\x00") == 1
