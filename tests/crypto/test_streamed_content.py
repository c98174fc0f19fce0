"""Contents too large for memory: sealed and opened in pieces, and every way in which that must fail."""

import hashlib
import tracemalloc
from dataclasses import dataclass, replace

import pytest
import zstandard
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import canonical
from crypto.binding import RecordIdentity, record_context
from crypto.envelope import Custodian, Header, Recipients, SealedWraps, read_header, reseal_consent
from crypto.errors import DigestMismatchError, FormatError, OpenError, SignatureError
from crypto.hpke import EncryptionKey
from crypto.jws import (
    compact,
    protected_header,
    sign_detached,
    signing_hash,
    verify_detached,
    verify_digest,
)
from crypto.labels import Label
from crypto.opening import combine_shares, open_ciphertext, open_owner_wrap
from crypto.padding import padme_size
from crypto.payload import commitment_of
from crypto.signer import AccountKey
from crypto.streamed_opening import StreamedContent
from crypto.streamed_payload import SEGMENT_BYTES, PayloadHead, StreamPacker, StreamUnpacker
from crypto.streamed_sealing import StreamSealer

AUTHOR = AccountKey.from_bytes(hashlib.sha256(b"author").digest())
OWNER, CATEGORY, JOURNAL = (EncryptionKey.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
CUSTODIANS = tuple(EncryptionKey.from_seed(bytes([0xC0 + n]) * 32) for n in range(3))
RECIPIENTS = Recipients(
    3,
    OWNER.public,
    CATEGORY.public,
    tuple(Custodian(bytes([0xC0 + n]) * 20, key.public) for n, key in enumerate(CUSTODIANS)),
    2,
    journal_public=JOURNAL.public,
)
NOISE = hashlib.shake_256(b"noise").digest(3 * SEGMENT_BYTES)


@pytest.fixture(scope="module")
def by_author(identity: RecordIdentity) -> RecordIdentity:
    return replace(identity, author=AUTHOR.address)


@dataclass(frozen=True)
class SealedStream:
    content: bytes
    ciphertext: bytes
    wraps: SealedWraps
    payload_commitment: bytes

    @property
    def header(self) -> Header:
        return self.wraps.header

    @property
    def data_key(self) -> bytes:
        return open_owner_wrap(OWNER, self.wraps.owner_wrap, self.header)


def seal(identity: RecordIdentity, content: bytes, pieces_bytes: int = 100_000) -> SealedStream:
    sealer = StreamSealer(
        identity, AUTHOR, media_type="application/dicom", content_bytes=len(content), signed_at_seconds=1
    )
    parts = [
        sealer.update(content[start : start + pieces_bytes]) for start in range(0, len(content), pieces_bytes)
    ]
    ciphertext = b"".join([*parts, sealer.finalize()])
    return SealedStream(content, ciphertext, sealer.wrap("bcid", RECIPIENTS), sealer.payload_commitment)


def opened(sealed: SealedStream, pieces_bytes: int = 2**20, **changed: object) -> bytes:
    given_ = {
        "data_key": sealed.data_key,
        "header": sealed.header,
        "payload_commitment": sealed.payload_commitment,
        "ciphertext": sealed.ciphertext,
    } | changed
    ciphertext = given_.pop("ciphertext")
    pieces = (ciphertext[start : start + pieces_bytes] for start in range(0, len(ciphertext), pieces_bytes))
    return b"".join(StreamedContent(ciphertext=pieces, **given_))


def take(into: list[bytes], sealed: SealedStream, **changed: object) -> None:
    """Keeps each piece as it comes, whatever happens after it."""
    arguments = {
        "payload_commitment": sealed.payload_commitment,
        "ciphertext": [sealed.ciphertext],
    } | changed
    for piece in StreamedContent(sealed.data_key, sealed.header, **arguments):
        into.append(piece)


@pytest.fixture(scope="module")
def sealed(by_author: RecordIdentity) -> SealedStream:
    return seal(by_author, NOISE[: 2 * SEGMENT_BYTES + 5000])


def resealed(by_author: RecordIdentity, packed: bytes, commitment: bytes = bytes(32)) -> dict[str, object]:
    """What an author can do who seals anything it likes, with a header that is right for it."""
    data_key = Cobblestone256Encryptor.generate_key()
    encryptor = Cobblestone256Encryptor(data_key, record_context(by_author, streamed=True))
    ciphertext = encryptor.update(packed) + encryptor.finalize()
    header = replace(
        seal(by_author, b"x").header,
        ciphertext_digest=hashlib.sha256(ciphertext).digest(),
        ciphertext_size=len(ciphertext),
    )
    return {
        "data_key": data_key,
        "header": header,
        "payload_commitment": commitment,
        "ciphertext": ciphertext,
    }


def unpacked(packed: bytes) -> bytes:
    unpacker = StreamUnpacker([packed])
    return b"".join(unpacker.content())


def head_of(content_bytes: int, media_type: str = "application/dicom") -> PayloadHead:
    return PayloadHead(media_type, content_bytes, protected_header(AUTHOR, media_type, 1), b"s" * 32)


def packed_of(content: bytes, signature: bytes = bytes(64)) -> bytes:
    packer = StreamPacker(head_of(len(content)))
    return packer.update(content) + packer.finalize(signature)


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(1, 3 * SEGMENT_BYTES),
    given_bytes=st.sampled_from([1000, 65536, SEGMENT_BYTES, 10**7]),
    taken_bytes=st.sampled_from([777, 65536, SEGMENT_BYTES, 10**7]),
)
def test_open_what_was_sealed_in_any_pieces_gives_the_content(size, given_bytes, taken_bytes, by_author):
    record = seal(by_author, NOISE[:size], given_bytes)
    assert opened(record, taken_bytes) == NOISE[:size]
    assert padme_size(packed_bytes := len(record.ciphertext) - overhead(record)) == packed_bytes


def overhead(record: SealedStream) -> int:
    decryptor = Cobblestone256Decryptor(
        record.data_key, record_context(record.header.identity, streamed=True)
    )
    return len(record.ciphertext) - len(decryptor.update(record.ciphertext) + decryptor.finalize())


@pytest.mark.parametrize("edge", range(-2, 3))
def test_pack_around_a_segments_edge_gives_the_content(edge):
    head_bytes = 2 + len(head_of(SEGMENT_BYTES).to_bytes())
    for size in (SEGMENT_BYTES - head_bytes + edge, SEGMENT_BYTES - head_bytes - 64 + edge):
        assert unpacked(packed_of(NOISE[:size])) == NOISE[:size]


def test_streamed_signature_is_the_detached_jws_of_the_same_content(by_author, sealed):
    unpacker = StreamUnpacker(
        [
            Cobblestone256Decryptor(sealed.data_key, record_context(by_author, streamed=True)).update(
                sealed.ciphertext
            )
        ]
    )
    assert b"".join(unpacker.content()) == sealed.content
    jws = compact(unpacker.head.protected, unpacker.signature)
    assert jws == sign_detached(AUTHOR, sealed.content, "application/dicom", 1)
    assert verify_detached(jws, sealed.content, AUTHOR.address).media_type == "application/dicom"
    made = commitment_of(
        unpacker.head.salt, "application/dicom", hashlib.sha256(sealed.content).digest(), jws
    )
    assert made == sealed.payload_commitment


@given(st.binary(max_size=300))
def test_verify_digest_agrees_with_verify_detached(content):
    jws = sign_detached(AUTHOR, content, "text/plain", 5)
    digest = signing_hash(jws.partition(".")[0])
    digest.update(content)
    assert verify_digest(jws, digest.digest(), AUTHOR.address) == verify_detached(
        jws, content, AUTHOR.address
    )
    digest.update(b"x")
    with pytest.raises(SignatureError):
        verify_digest(jws, digest.digest(), AUTHOR.address)


def test_shares_of_a_streamed_record_give_its_data_key(by_author, sealed):
    from crypto.envelope import open_consent_wrap, open_custody_wrap

    shares = {
        index: open_custody_wrap(CUSTODIANS[index - 1], wrap, sealed.header, bytes([0xC0 + index - 1]) * 20)
        for index, wrap in enumerate(sealed.wraps.custody_wraps, start=1)
        if index != 2
    }
    consent_share = open_consent_wrap(CATEGORY, sealed.wraps.consent_wrap, sealed.header)
    assert combine_shares(consent_share, shares, sealed.header, by_author) == sealed.data_key


def test_reseal_consent_keeps_the_layout(sealed):
    again = reseal_consent(sealed.header, sealed.wraps.journal_wrap or b"", JOURNAL, 4, CATEGORY.public)
    assert again.header.streamed
    assert Header.from_bytes(again.header_bytes) == again.header


def test_header_of_each_layout_is_another_document(by_author, sealed):
    data = sealed.wraps.header_bytes
    assert Header.from_bytes(data) == sealed.header
    whole = replace(sealed.header, streamed=False)
    assert whole.digest != sealed.header.digest
    assert canonical.decode(data, Label.STREAMED_HEADER, 2**14)
    with pytest.raises(DigestMismatchError):
        read_header(whole.to_bytes(), sealed.header.digest, by_author)


# What somebody between author and reader may try.


@pytest.mark.parametrize("position", [0, 40, 5000, SEGMENT_BYTES + 7, -20, -1])
def test_attack_alter_one_bit_of_the_ciphertext_is_refused(sealed, position):
    altered = bytearray(sealed.ciphertext)
    altered[position] ^= 1
    with pytest.raises((OpenError, DigestMismatchError)):
        opened(sealed, ciphertext=bytes(altered))


@pytest.mark.parametrize("kept", [0, 1, 100, 16384, SEGMENT_BYTES, 2 * SEGMENT_BYTES, -16400, -1])
def test_attack_truncate_the_ciphertext_is_refused_and_the_last_piece_never_given(sealed, kept):
    given_pieces: list[bytes] = []
    with pytest.raises((FormatError, DigestMismatchError, OpenError)):
        take(given_pieces, sealed, ciphertext=[sealed.ciphertext[:kept]])
    assert len(b"".join(given_pieces)) < len(sealed.content)


def test_attack_append_to_the_ciphertext_is_refused(sealed):
    with pytest.raises(DigestMismatchError, match="more came"):
        opened(sealed, ciphertext=sealed.ciphertext + bytes(16))


def test_attack_swap_two_chunks_is_refused(sealed):
    chunk, header = 16384 + 16, len(sealed.ciphertext) % (16384 + 16)
    first, second = header + chunk, header + 2 * chunk
    swapped = bytearray(sealed.ciphertext)
    swapped[first:second], swapped[second : second + chunk] = (
        sealed.ciphertext[second : second + chunk],
        sealed.ciphertext[first:second],
    )
    with pytest.raises(OpenError):
        opened(sealed, ciphertext=bytes(swapped))


@pytest.mark.parametrize(
    "changed",
    [
        {"chain_id": 1},
        {"contract": b"\x12" * 20},
        {"record_id": b"\x23" * 32},
        {"patient": b"\x34" * 20},
        {"category": 7},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_attack_take_a_ciphertext_for_another_records_is_refused(sealed, changed):
    header = replace(sealed.header, identity=replace(sealed.header.identity, **changed))
    with pytest.raises(OpenError):
        opened(sealed, header=header)


def test_attack_take_a_ciphertext_for_another_authors_is_refused(sealed):
    header = replace(sealed.header, identity=replace(sealed.header.identity, author=b"\x45" * 20))
    with pytest.raises(OpenError):
        opened(sealed, header=header)


def test_attack_open_a_streamed_content_as_a_whole_one_is_refused(sealed):
    with pytest.raises(FormatError, match="streamed"):
        open_ciphertext(sealed.data_key, sealed.header, sealed.ciphertext)
    with pytest.raises(OpenError):  # the AEAD's context tells the layouts apart, whatever a header says
        open_ciphertext(sealed.data_key, replace(sealed.header, streamed=False), sealed.ciphertext)
    with pytest.raises(FormatError, match="whole"):
        opened(sealed, header=replace(sealed.header, streamed=False))


def test_attack_open_with_another_key_is_refused(sealed):
    with pytest.raises(OpenError):
        opened(sealed, data_key=bytes(32))


# What an author may try who seals something else than it should.


@pytest.mark.parametrize("size", [1, SEGMENT_BYTES, 3 * SEGMENT_BYTES])
def test_attack_commit_to_another_payload_is_refused_before_the_last_piece(by_author, size):
    record = seal(by_author, NOISE[:size])
    given_pieces: list[bytes] = []
    with pytest.raises(DigestMismatchError, match="commits to"):
        take(given_pieces, record, payload_commitment=bytes(32))
    assert len(b"".join(given_pieces)) < size


def test_attack_sign_other_bytes_is_refused(by_author):
    other = sign_detached(AUTHOR, b"other", "application/dicom", 1)
    signature = verify_bytes(other)
    commitment = commitment_of(b"s" * 32, "application/dicom", hashlib.sha256(b"content").digest(), other)
    with pytest.raises(SignatureError, match="to have signed these bytes"):
        opened(seal(by_author, b"x"), **resealed(by_author, packed_of(b"content", signature), commitment))


def verify_bytes(jws: str) -> bytes:
    from base64 import urlsafe_b64decode

    return urlsafe_b64decode(jws.rpartition(".")[2] + "==")


def test_attack_sign_as_another_media_type_is_refused(by_author):
    head = replace(head_of(1), media_type="text/plain")
    packer = StreamPacker(head)
    packed = packer.update(b"x") + packer.finalize(bytes(64))
    with pytest.raises(SignatureError, match="media type"):
        opened(seal(by_author, b"x"), **resealed(by_author, packed))


def test_attack_sign_by_somebody_else_is_refused_before_the_content(by_author):
    stranger = AccountKey.from_bytes(b"\x05" * 32)
    head = replace(head_of(1), protected=protected_header(stranger, "application/dicom", 1))
    packer = StreamPacker(head)
    packed = packer.update(b"x") + packer.finalize(bytes(64))
    with pytest.raises(SignatureError, match="expected the key of"):
        opened(seal(by_author, b"x"), **resealed(by_author, packed))


def segment(stream: bytes, **parameters: object) -> bytes:
    frame = zstandard.ZstdCompressor(level=19, **parameters).compress(stream)
    return len(frame).to_bytes(4) + frame


def padded(before: bytes) -> bytes:
    return before + bytes(padme_size(len(before)) - len(before))


def stream_of(content: bytes) -> bytes:
    head = head_of(len(content)).to_bytes()
    return len(head).to_bytes(2) + head + content + bytes(64)


END = bytes(4)
STREAM = stream_of(b"content")
LONG = stream_of(bytes(2 * SEGMENT_BYTES))


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        END,
        padded(END),
        segment(STREAM),
        padded(segment(STREAM) + END) + bytes(8),
        segment(STREAM) + END + bytes(100),
        padded(segment(STREAM) + segment(b"more") + END),
        padded(segment(STREAM[:-1]) + END),
        padded(segment(STREAM[:-1]) + segment(STREAM[-1:]) + END),
        padded(segment(STREAM + b"\x00") + END),
        padded(segment(STREAM, write_content_size=False) + END),
        padded(segment(LONG[: SEGMENT_BYTES + 1]) + segment(LONG[SEGMENT_BYTES + 1 :]) + END),
        padded(segment(LONG[:SEGMENT_BYTES]) + segment(LONG[SEGMENT_BYTES : SEGMENT_BYTES + 9]) + END),
        padded((2**31).to_bytes(4) + bytes(100)),
        padded(segment(b"\xff\xff" + b"x" * 100) + END),
        padded(segment(b"\x00\x00") + END),
        padded((5).to_bytes(4) + b"no zstd frame"),
    ],
)
def test_unpack_another_shape_is_refused(packed):
    with pytest.raises(FormatError):
        unpacked(packed)


def test_unpack_the_shapes_that_the_refused_ones_vary_is_taken():
    assert unpacked(padded(segment(STREAM) + END)) == b"content"


def test_attack_hide_bytes_in_padding_is_refused():
    packed = bytearray(packed_of(NOISE[:5000]))
    assert packed[-1] == 0
    packed[-1] = 1
    with pytest.raises(FormatError, match="zeros"):
        unpacked(bytes(packed))


@given(st.binary(max_size=400))
def test_unpack_any_bytes_gives_only_format_errors(data):
    with pytest.raises(FormatError):
        unpacked(data)


@settings(max_examples=60)
@given(position=st.integers(0, 6000), bit=st.integers(0, 7))
def test_unpack_altered_bytes_gives_a_format_error_or_other_content(position, bit):
    packed = bytearray(packed_of(NOISE[:5000]))
    packed[position % len(packed)] ^= 1 << bit
    try:
        unpacked(bytes(packed))
    except FormatError:
        return


def test_attack_announce_more_than_the_reader_takes_is_refused_at_once():
    with pytest.raises(FormatError, match="at most 10 bytes"):
        StreamUnpacker([packed_of(b"x" * 11)], max_content_bytes=10)


def test_attack_decompression_bomb_never_takes_more_memory_than_a_segment(by_author):
    bomb = segment(LONG[:SEGMENT_BYTES]) + segment(bytes(400 * 2**20))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="segments of"):
            unpacked(padded(bomb + END))
        assert tracemalloc.get_traced_memory()[1] < 8 * SEGMENT_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content", [b"abc", b"abcdefg"])
def test_seal_another_size_than_announced_is_refused_and_nothing_signed(by_author, content):
    sealer = StreamSealer(by_author, AUTHOR, media_type="text/plain", content_bytes=5, signed_at_seconds=1)
    with pytest.raises(FormatError, match="announced"):
        _ = sealer.update(content) + sealer.finalize()
    with pytest.raises(FormatError, match="finalized"):
        sealer.wrap("bcid", RECIPIENTS)
    with pytest.raises(FormatError, match="finalized"):
        _ = sealer.payload_commitment


@pytest.mark.parametrize("size", [0, 2**35, -1])
def test_seal_a_size_that_no_payload_has_is_refused(by_author, size):
    with pytest.raises(FormatError):
        StreamSealer(by_author, AUTHOR, media_type="text/plain", content_bytes=size, signed_at_seconds=1)


def test_repr_shows_neither_salt_nor_keys(by_author):
    assert repr(head_of(1)) == "PayloadHead(media_type='application/dicom', content_bytes=1)"
    assert repr(RECIPIENTS).count("key") == 0
