"""Packing payloads, their padding and their commitment."""

from contextlib import suppress
from dataclasses import replace

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from crypto import canonical
from crypto.errors import FormatError
from crypto.labels import Label
from crypto.padding import pad, padme_size, unpad
from crypto.payload import Payload, commitment, pack, unpack

payloads = st.builds(
    Payload,
    media_type=st.sampled_from(["application/fhir+json", "application/pdf", "text/plain;charset=utf-8"]),
    content=st.binary(max_size=5000),
    signature=st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=300),
    salt=st.binary(min_size=32, max_size=32),
)
SAMPLE = Payload("application/fhir+json", b"{}", "h..s", b"s" * 32)


@given(payloads)
def test_unpack_what_was_packed_gives_the_payload(payload):
    packed = pack(payload)
    assert unpack(packed) == payload
    assert padme_size(len(packed)) == len(packed)


@given(st.binary(max_size=400))
def test_unpack_any_bytes_gives_only_format_errors(data):
    with pytest.raises(FormatError):
        unpack(data)


@given(payload=payloads, position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_unpack_altered_bytes_gives_a_payload_or_a_format_error(payload, position, bit):
    packed = bytearray(pack(payload))
    packed[position % len(packed)] ^= 1 << bit
    with suppress(FormatError):
        assert isinstance(unpack(bytes(packed)), Payload)


@given(payloads, payloads)
def test_commitment_equals_only_for_equal_payloads(one, other):
    assert (commitment(one) == commitment(other)) == (one == other)


@pytest.mark.parametrize(
    "changed",
    [{"media_type": "text/plain"}, {"content": b"{} "}, {"signature": "h..t"}, {"salt": b"t" * 32}],
    ids=lambda changed: next(iter(changed)),
)
def test_commitment_binds_every_field(changed):
    assert commitment(replace(SAMPLE, **changed)) != commitment(SAMPLE)


def test_create_draws_a_fresh_salt():
    assert Payload.create("text/plain", b"x", "s").salt != Payload.create("text/plain", b"x", "s").salt


def test_repr_shows_neither_content_nor_salt():
    assert repr(SAMPLE) == "Payload(media_type='application/fhir+json')"


def frame(document: bytes, **parameters: object) -> bytes:
    return pad(zstandard.ZstdCompressor(level=19, **parameters).compress(document))


def document(**changed: object) -> bytes:
    fields = {"mediaType": "text/plain", "content": b"x", "signature": "s", "salt": b"s" * 32}
    return canonical.encode(Label.PAYLOAD, fields | changed)


def test_attack_decompression_bomb_is_refused_before_it_is_unpacked():
    bomb = frame(document(content=bytes(200 * 2**20)))
    assert len(bomb) < 100_000
    with pytest.raises(FormatError, match="at most 67108864 bytes unpacked"):
        unpack(bomb)


def test_attack_bomb_that_lies_about_its_size_is_refused():
    honest = bytearray(zstandard.ZstdCompressor().compress(document(content=bytes(100_000))))
    # The frame's declared content size, 4 bytes here, is made smaller than what it yields.
    parameters = zstandard.get_frame_parameters(bytes(honest))
    offset = bytes(honest).index(parameters.content_size.to_bytes(4, "little"))
    honest[offset : offset + 4] = (1000).to_bytes(4, "little")
    assert zstandard.get_frame_parameters(bytes(honest)).content_size == 1000
    with pytest.raises(FormatError):
        unpack(pad(bytes(honest)))


def test_unpack_frame_without_a_size_is_refused():
    with pytest.raises(FormatError, match="says its size"):
        unpack(frame(document(), write_content_size=False))


def test_unpack_two_frames_is_refused():
    one = zstandard.ZstdCompressor().compress(document())
    with pytest.raises(FormatError):
        unpack(pad(one + one))


@pytest.mark.parametrize("limit", [10, 100])
def test_unpack_over_the_callers_limit_is_refused(limit):
    with pytest.raises(FormatError, match=f"at most {limit} bytes"):
        unpack(pack(SAMPLE), max_bytes=limit)


@pytest.mark.parametrize(
    "changed",
    [
        {"salt": b"s" * 31},
        {"content": "text"},
        {"mediaType": ""},
        {"mediaType": "a\nb"},
        {"signature": b"s"},
        {"extra": 1},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_unpack_document_of_another_shape_is_refused(changed):
    with pytest.raises(FormatError):
        unpack(frame(document(**changed)))


@given(st.integers(0, 2**40))
def test_padme_size_adds_at_most_twelve_percent_and_is_stable(size):
    padded = padme_size(size)
    assert size <= padded <= size * 1.12
    assert padme_size(padded) == padded


def test_padme_size_gives_the_papers_buckets():
    assert [padme_size(size) for size in (0, 1, 2, 9, 100, 1000, 1025, 10**6)] == [
        0,
        1,
        2,
        10,
        104,
        1024,
        1088,
        1015808,
    ]


@given(st.binary(max_size=300))
def test_unpad_what_was_padded_gives_the_content(content):
    assert bytes(unpad(pad(content))) == content


def test_attack_hide_bytes_in_padding_is_refused():
    padded = bytearray(pad(b"x" * 92))
    assert len(padded) == 104
    padded[-1] = 1
    with pytest.raises(FormatError, match="zeros"):
        unpad(bytes(padded))


@pytest.mark.parametrize("length", [91, 89, 97, 2**63])
def test_unpad_with_another_length_prefix_is_refused(length):
    padded = length.to_bytes(8) + pad(b"\x00" * 92)[8:]
    expected_ok = padme_size(length + 8) == 104 and length + 8 <= 104
    if expected_ok:
        assert len(unpad(padded)) == length
    else:
        with pytest.raises(FormatError, match="prefix"):
            unpad(padded)
