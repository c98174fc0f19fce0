"""Both locks of the envelope, and every party that tries to go around one."""

from dataclasses import replace
from itertools import combinations

import pytest

from crypto.envelope import (
    Custodian,
    check_header,
    open_consent_wrap,
    open_custody_wrap,
    open_owner_wrap,
    open_with_owner_key,
    open_with_shares,
    read_header,
    reseal_consent,
    seal_record,
    wrong_shares,
)
from crypto.errors import (
    DigestMismatchError,
    EpochError,
    FormatError,
    HeaderError,
    OpenError,
    WrongShareError,
)
from crypto.hpke import EncryptionKey
from crypto.payload import unpack


def shares_of(sealed, indices):
    record = sealed.record
    return {
        index: open_custody_wrap(
            sealed.custodians[index - 1],
            record.custody_wraps[index - 1],
            record.header,
            sealed.address(index),
        )
        for index in indices
    }


def consent_share_of(sealed):
    return open_consent_wrap(sealed.category, sealed.record.consent_wrap, sealed.record.header)


def test_open_with_owner_key_patient_alone_reads_the_payload(sealed):
    packed = open_with_owner_key(
        sealed.owner,
        sealed.record.owner_wrap,
        sealed.record.header,
        sealed.record.ciphertext,
        sealed.identity,
    )
    assert unpack(packed) == sealed.payload


@pytest.mark.parametrize("indices", list(combinations(range(1, 6), 3)))
def test_open_with_shares_any_three_of_five_reads_the_payload(sealed, indices):
    record = sealed.record
    packed = open_with_shares(
        consent_share_of(sealed),
        shares_of(sealed, indices),
        record.header,
        record.ciphertext,
        sealed.identity,
    )
    assert packed == sealed.packed


def test_open_with_shares_more_than_threshold_reads_the_payload(sealed):
    record = sealed.record
    shares = shares_of(sealed, range(1, 6))
    assert sealed.packed == open_with_shares(
        consent_share_of(sealed), shares, record.header, record.ciphertext, sealed.identity
    )


def test_open_with_shares_fewer_than_threshold_is_refused(sealed):
    record = sealed.record
    with pytest.raises(FormatError, match="at least 3; came 2"):
        open_with_shares(
            consent_share_of(sealed),
            shares_of(sealed, (1, 2)),
            record.header,
            record.ciphertext,
            sealed.identity,
        )


def test_attack_read_with_consent_but_invented_shares_names_the_custodians(sealed):
    record = sealed.record
    shares = shares_of(sealed, (1, 2)) | {4: b"\x00" * 32}
    with pytest.raises(WrongShareError, match="share 4 of custodian 0xc3c3") as caught:
        open_with_shares(consent_share_of(sealed), shares, record.header, record.ciphertext, sealed.identity)
    assert caught.value.wrong == ((4, b"\xc3" * 20),)


def test_attack_read_with_all_shares_but_without_consent_does_not_open(sealed):
    record = sealed.record
    with pytest.raises(OpenError):
        open_with_shares(
            b"\x00" * 32, shares_of(sealed, range(1, 6)), record.header, record.ciphertext, sealed.identity
        )


def test_attack_swap_shares_between_custodians_is_attributed(sealed):
    shares = shares_of(sealed, (1, 2))
    wrong = wrong_shares(sealed.record.header, {1: shares[2], 2: shares[1]})
    assert [index for index, _ in wrong] == [1, 2]


def test_wrong_shares_index_beyond_custodians_is_refused(sealed):
    for index in (0, 6):
        with pytest.raises(FormatError, match="expected 1 to 5"):
            wrong_shares(sealed.record.header, {index: b"\x00" * 32})


def test_open_custody_wrap_of_another_custodian_is_refused(sealed):
    record = sealed.record
    with pytest.raises(DigestMismatchError):
        open_custody_wrap(sealed.custodians[0], record.custody_wraps[1], record.header, sealed.address(1))
    with pytest.raises(OpenError):
        open_custody_wrap(sealed.custodians[1], record.custody_wraps[0], record.header, sealed.address(1))
    with pytest.raises(HeaderError, match="holds no share"):
        open_custody_wrap(sealed.custodians[0], record.custody_wraps[0], record.header, b"\x99" * 20)


def test_attack_author_commits_to_another_share_is_found_at_deposit(sealed):
    header = sealed.record.header
    lied = replace(header.custodians[0], share_commitment=b"\x00" * 32)
    header = replace(header, custodians=(lied, *header.custodians[1:]))
    with pytest.raises(WrongShareError):
        open_custody_wrap(
            sealed.custodians[0], sealed.record.custody_wraps[0], header, header.custodians[0].address
        )


def test_attack_serve_altered_ciphertext_is_refused_before_decryption(sealed):
    record = sealed.record
    altered = bytearray(record.ciphertext)
    altered[100] ^= 1
    for ciphertext in (bytes(altered), record.ciphertext[:-1], record.ciphertext + b"\x00", b""):
        with pytest.raises(DigestMismatchError):
            open_with_owner_key(sealed.owner, record.owner_wrap, record.header, ciphertext, sealed.identity)


def test_attack_serve_another_records_header_is_refused(sealed, identity):
    other = replace(identity, record_id=b"\x55" * 32)
    record = sealed.record
    with pytest.raises(DigestMismatchError):
        read_header(record.header_bytes, b"\x00" * 32, identity)
    with pytest.raises(HeaderError):
        read_header(record.header_bytes, record.header.digest, other)
    with pytest.raises(HeaderError):
        open_with_owner_key(sealed.owner, record.owner_wrap, record.header, record.ciphertext, other)


def test_open_wraps_with_an_older_key_names_both_keys(sealed):
    record = sealed.record
    other = EncryptionKey.generate()
    with pytest.raises(OpenError, match=f"{record.header.category_key_digest.hex()}.*{other.digest.hex()}"):
        open_consent_wrap(other, record.consent_wrap, record.header)
    with pytest.raises(OpenError, match="owner_wrap"):
        open_owner_wrap(other, record.owner_wrap, record.header)


def test_attack_use_consent_wrap_as_owner_wrap_is_refused(sealed):
    record = sealed.record
    with pytest.raises(DigestMismatchError):
        open_owner_wrap(sealed.category, record.consent_wrap, record.header)


def test_reseal_consent_under_newer_epoch_opens_with_the_new_key_and_the_old_shares(sealed):
    new_key = EncryptionKey.generate()
    again = reseal_consent(sealed.record.header, sealed.record.journal_wrap, sealed.author, 4, new_key.public)
    header = read_header(again.header_bytes, again.header.digest, sealed.identity)
    assert header.digest != sealed.record.header.digest
    assert header.custodians == sealed.record.header.custodians
    consent_share = open_consent_wrap(new_key, again.consent_wrap, header)
    shares = {
        index: open_custody_wrap(
            sealed.custodians[index - 1],
            sealed.record.custody_wraps[index - 1],
            header,
            sealed.address(index),
        )
        for index in (2, 3, 5)
    }
    packed = open_with_shares(consent_share, shares, header, sealed.record.ciphertext, sealed.identity)
    assert packed == sealed.packed


def test_attack_revoked_category_key_on_resealed_consent_does_not_open(sealed):
    new_key = EncryptionKey.generate()
    again = reseal_consent(sealed.record.header, sealed.record.journal_wrap, sealed.author, 4, new_key.public)
    with pytest.raises(OpenError):
        open_consent_wrap(sealed.category, again.consent_wrap, again.header)


def test_reseal_consent_at_the_same_epoch_or_by_another_author_is_refused(sealed):
    header, wrap = sealed.record.header, sealed.record.journal_wrap
    with pytest.raises(EpochError, match="above 3"):
        reseal_consent(header, wrap, sealed.author, 3, sealed.category.public)
    with pytest.raises(OpenError):
        reseal_consent(header, wrap, EncryptionKey.generate(), 4, sealed.category.public)


@pytest.mark.parametrize(("threshold", "count"), [(1, 5), (6, 5), (2, 1), (0, 0), (2, 33)])
def test_seal_record_impossible_threshold_is_refused(sealed, threshold, count):
    custodians = [Custodian(bytes([index]) * 20, sealed.owner.public) for index in range(count)]
    with pytest.raises(FormatError, match="threshold"):
        seal_record(
            b"x",
            sealed.identity,
            1,
            sealed.owner.public,
            sealed.category.public,
            custodians,
            threshold,
            cid_of=lambda _: "b",
        )


def test_seal_record_one_custodian_twice_is_refused(sealed):
    custodians = [Custodian(b"\x01" * 20, sealed.owner.public)] * 3
    with pytest.raises(FormatError, match="one twice"):
        seal_record(
            b"x",
            sealed.identity,
            1,
            sealed.owner.public,
            sealed.category.public,
            custodians,
            2,
            cid_of=lambda _: "b",
        )


def test_check_header_within_the_networks_rules_passes(sealed):
    check_header(sealed.record.header, 3, lambda address: address[0] >= 0xC0)


def test_attack_header_with_low_threshold_is_refused(sealed):
    with pytest.raises(HeaderError, match="at least 4; came 3"):
        check_header(sealed.record.header, 4, lambda _: True)


def test_attack_header_with_one_custodian_twice_is_refused(sealed):
    header = sealed.record.header
    twice = replace(header, custodians=(*header.custodians[:4], header.custodians[0]))
    with pytest.raises(HeaderError, match="one twice"):
        check_header(twice, 3, lambda _: True)


def test_attack_header_with_one_key_under_two_names_is_refused(sealed):
    header = sealed.record.header
    alias = replace(header.custodians[4], key_digest=header.custodians[0].key_digest)
    with pytest.raises(HeaderError, match="two with one key"):
        check_header(replace(header, custodians=(*header.custodians[:4], alias)), 3, lambda _: True)


def test_attack_header_with_an_outsider_as_custodian_is_refused(sealed):
    with pytest.raises(HeaderError, match=r"c4c4.*has not the role CUSTODIAN"):
        check_header(sealed.record.header, 3, lambda address: address != b"\xc4" * 20)


def test_repr_of_a_sealed_record_shows_no_sealed_bytes(sealed):
    shown = repr(sealed.record) + repr(sealed.owner)
    assert sealed.owner.seed.hex() not in shown
    assert "custody_wraps" not in shown
    assert repr(sealed.record.consent_wrap)[2:20] not in shown
