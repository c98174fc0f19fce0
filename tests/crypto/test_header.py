"""The header document: round trip, and every field strict."""

from dataclasses import fields, replace

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.binding import RecordIdentity
from crypto.envelope import MAX_HEADER_BYTES, CustodianEntry, Header
from crypto.errors import FormatError, HeaderError
from vocabulary import Category

addresses = st.binary(min_size=20, max_size=20)
digests = st.binary(min_size=32, max_size=32)
identities = st.builds(
    RecordIdentity,
    st.integers(0, 2**64 - 1),
    addresses,
    digests,
    addresses,
    addresses,
    st.sampled_from(Category),
)
headers = st.builds(
    Header,
    identity=identities,
    ciphertext_cid=st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=1, max_size=128),
    ciphertext_digest=digests,
    ciphertext_size=st.integers(0, 2**48 - 1),
    epoch=st.integers(0, 2**16 - 1),
    owner_key_digest=digests,
    category_key_digest=digests,
    threshold=st.just(2),
    generation=st.integers(0, 2**32 - 1),
    custodians=st.lists(
        st.builds(CustodianEntry, addresses, digests, digests, digests), min_size=2, max_size=5
    ).map(tuple),
    owner_wrap_digest=digests,
    consent_wrap_digest=digests,
)


@given(headers)
def test_from_bytes_of_any_header_gives_it_back(header):
    data = header.to_bytes()
    again = Header.from_bytes(data)
    assert again == header
    assert again.digest == header.digest
    assert len(data) < MAX_HEADER_BYTES


def test_to_bytes_with_the_most_custodians_fits_the_limit(sealed):
    entry = sealed.record.header.custodians[0]
    largest = replace(
        sealed.record.header, custodians=(entry,) * 32, ciphertext_cid="b" * 128, ciphertext_size=2**48 - 1
    )
    assert Header.from_bytes(largest.to_bytes()) == largest


@pytest.mark.parametrize("name", [field.name for field in fields(Header)])
def test_digest_binds_every_field(sealed, name):
    header = sealed.record.header
    value = getattr(header, name)
    if isinstance(value, RecordIdentity):
        other: object = replace(value, record_id=b"\x99" * 32)
    elif isinstance(value, tuple):
        other = value[::-1]
    elif isinstance(value, int):
        other = value + 1
    elif isinstance(value, str):
        other = value + "a"
    else:
        other = b"\x99" * 32
    assert replace(header, **{name: other}).digest != header.digest


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chainId", -1),
        ("chainId", 2**64),
        ("contract", b"\x00" * 19),
        ("recordId", b""),
        ("patient", "text"),
        ("category", 22),
        ("category", 300),
        ("ciphertextCid", ""),
        ("ciphertextCid", "b\x00"),
        ("ciphertextCid", "b" * 129),
        ("ciphertextDigest", b"\x00" * 33),
        ("ciphertextSize", 2**48),
        ("epoch", 2**16),
        ("threshold", 1),
        ("threshold", 6),
        ("threshold", True),
        ("generation", 2**32),
        ("custodians", []),
        ("custodians", {}),
        ("custodians", [{}] * 5),
        ("custodians", [7] * 5),
        ("ownerWrapDigest", None),
        ("surprise", 1),
    ],
    ids=str,
)
def test_from_bytes_with_an_impossible_field_is_refused(sealed, name, value):
    document = cbor2.loads(sealed.record.header_bytes) | {name: value}
    with pytest.raises(FormatError):
        Header.from_bytes(cbor2.dumps(document, canonical=True))


def test_from_bytes_without_any_one_field_is_refused(sealed):
    document = cbor2.loads(sealed.record.header_bytes)
    assert len(document) == 18
    for name in document:
        left = {key: value for key, value in document.items() if key != name}
        with pytest.raises(FormatError, match=f"'{name}'; it is missing"):
            Header.from_bytes(cbor2.dumps(left, canonical=True))


def test_share_index_of_is_the_position_from_one(sealed):
    assert [sealed.record.header.share_index_of(sealed.address(index)) for index in range(1, 6)] == [
        1,
        2,
        3,
        4,
        5,
    ]
    with pytest.raises(HeaderError):
        sealed.record.header.share_index_of(bytes(20))


@given(headers, st.data())
def test_from_bytes_with_any_flipped_bit_gives_another_header_or_an_error(header, data):
    altered = bytearray(header.to_bytes())
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        again = Header.from_bytes(bytes(altered))
    except FormatError:
        return
    assert again != header
    assert again.to_bytes() == altered
