"""The vault under a passphrase, its backup under a phrase, and the phrase as people type it."""

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mnemonic import Mnemonic

from crypto.errors import (
    FormatError,
    HeaderError,
    KeyfileError,
    OpenError,
    PassphraseError,
    RecoveryPhraseError,
    SignatureError,
)
from crypto.passphrase import PassphraseCost
from crypto.private_file import atomic_write_private
from crypto.recovery import BackupKeys, RecoveryPhrase, backup_locator
from crypto.vault import (
    check_backup,
    open_backup,
    open_vault,
    read_vault,
    seal_backup,
    seal_vault,
    write_vault,
)

CHEAP = PassphraseCost(memory_kib=64, iterations=1, lanes=1, scrypt_n=2)
PHRASE = RecoveryPhrase(b"\x05" * 32)
KEYS = PHRASE.backup_keys()
OTHER_KEYS = RecoveryPhrase(b"\x06" * 32).backup_keys()


@settings(max_examples=30)
@given(
    content=st.binary(max_size=2000),
    passphrase=st.text(st.characters(codec="utf-8"), min_size=1, max_size=30),
)
def test_open_vault_gives_what_was_sealed(content, passphrase):
    assert open_vault(seal_vault(content, passphrase, CHEAP), passphrase) == content


def test_seal_vault_hides_small_differences_in_size():
    assert len(seal_vault(bytes(1000), "p", CHEAP)) == len(seal_vault(bytes(1010), "p", CHEAP))


def altered(sealed: bytes, **changed: object) -> bytes:
    return cbor2.dumps(cbor2.loads(sealed) | changed, canonical=True)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"memoryKib": 65}, PassphraseError),
        ({"iterations": 2}, PassphraseError),
        ({"salt": bytes(16)}, PassphraseError),
        ({"ciphertext": bytes(200)}, PassphraseError),
        ({"ciphertext": b""}, PassphraseError),
        ({"memoryKib": 2**31}, FormatError),
        ({"iterations": 2**31}, FormatError),
        ({"lanes": 0}, FormatError),
        ({"kdf": "md5"}, FormatError),
        ({"type": "phr/v1/keystore"}, FormatError),
        ({"extra": 1}, FormatError),
    ],
    ids=str,
)
def test_open_vault_with_any_field_altered_is_refused(changed, error):
    with pytest.raises(error):
        open_vault(altered(seal_vault(b"content", "p", CHEAP), **changed), "p")


def test_open_vault_with_another_passphrase_is_refused():
    with pytest.raises(PassphraseError):
        open_vault(seal_vault(b"content", "p", CHEAP), "q")


def test_read_vault_file_gives_what_was_written(tmp_path):
    write_vault(tmp_path / "vault", b"content", "p", CHEAP)
    assert read_vault(tmp_path / "vault", "p") == b"content"
    with pytest.raises(PassphraseError):
        read_vault(tmp_path / "vault", "q")
    atomic_write_private(tmp_path / "vault", b"something else")
    with pytest.raises(KeyfileError, match="vault"):
        read_vault(tmp_path / "vault", "p")


def test_open_backup_gives_content_and_version():
    sealed = seal_backup(b"content", KEYS, 7)
    assert check_backup(sealed, KEYS.locator) == 7
    backup = open_backup(sealed, KEYS)
    assert (backup.version, backup.content) == (7, b"content")
    assert "content" not in repr(backup)


def test_attack_store_a_backup_under_another_locator_is_refused():
    with pytest.raises(HeaderError, match="another's"):
        check_backup(seal_backup(b"mine", OTHER_KEYS, 8), KEYS.locator)
    with pytest.raises(HeaderError):
        open_backup(seal_backup(b"mine", OTHER_KEYS, 8), KEYS)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"version": 8}, SignatureError),
        ({"ciphertext": bytes(100)}, SignatureError),
        ({"signature": bytes(64)}, SignatureError),
        ({"publicKey": bytes(32)}, HeaderError),
        ({"publicKey": bytes(31)}, FormatError),
        ({"version": 2**64}, FormatError),
        ({"extra": 1}, FormatError),
    ],
    ids=str,
)
def test_attack_alter_any_field_of_a_backup_is_refused(changed, error):
    with pytest.raises(error):
        check_backup(altered(seal_backup(b"content", KEYS, 7), **changed), KEYS.locator)


def test_attack_sign_an_old_ciphertext_as_a_newer_version_does_not_open():
    # Only the phrase's holder can sign; even then a ciphertext opens only as the version it was sealed for.
    mixed = BackupKeys(KEYS.locator, OTHER_KEYS.encryption_key, KEYS.signing_seed)
    with pytest.raises(OpenError):
        open_backup(seal_backup(b"content", mixed, 7), KEYS)


def test_recovery_phrase_round_trips_as_people_type_it():
    words = PHRASE.words
    assert len(words) == 24
    assert Mnemonic("english").check(" ".join(words))
    assert RecoveryPhrase.parse("  " + "\n\t ".join(words).upper() + " ") == PHRASE
    assert RecoveryPhrase.generate() != RecoveryPhrase.generate()


def test_backup_keys_are_derived_apart_and_reproducibly():
    assert PHRASE.backup_keys() == KEYS
    assert len({KEYS.locator, KEYS.encryption_key, KEYS.signing_seed}) == 3
    assert backup_locator(bytes(32)) != KEYS.locator
    assert KEYS.encryption_key.hex() not in repr(KEYS)
    assert repr(PHRASE) == "RecoveryPhrase(24 words)"


@given(st.integers(0, 23), st.integers(0, 2047))
def test_parse_phrase_with_one_other_word_never_gives_this_phrase_silently(position, number):
    words = list(PHRASE.words)
    replacement = Mnemonic("english").wordlist[number]
    if words[position] == replacement:
        return
    words[position] = replacement
    try:
        other = RecoveryPhrase.parse(" ".join(words))
    except RecoveryPhraseError as error:
        assert "one was read wrongly" in str(error)  # noqa: PT017
    else:
        assert other.backup_keys().locator != KEYS.locator


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected 24 words; came 0"),
        (" ".join(PHRASE.words[:23]), "came 23"),
        (" ".join((*PHRASE.words, "abandon")), "came 25"),
        ("x" * 5000, "too long"),
        (" ".join((*PHRASE.words[:6], "zzzz", *PHRASE.words[7:])), "not in it: word 7"),
        (" ".join(("zz", *PHRASE.words[1:23], "yy")), "not in it: word 1, 24"),
    ],
)
def test_parse_phrase_with_a_slip_says_where_and_shows_no_word(text, message):
    with pytest.raises(RecoveryPhraseError, match=message) as caught:
        RecoveryPhrase.parse(text)
    assert "zzzz" not in str(caught.value)


def test_parse_phrase_of_the_bip_39_vectors_gives_their_entropy():
    # Vectors of BIP-39 (256 bits, English).
    for entropy, words in (
        ("00" * 32, "abandon " * 23 + "art"),
        (
            "7f" * 32,
            "legal winner thank year wave sausage worth useful " * 2
            + "legal winner thank year wave sausage worth title",
        ),
        ("ff" * 32, "zoo " * 23 + "vote"),
    ):
        assert RecoveryPhrase.parse(words) == RecoveryPhrase(bytes.fromhex(entropy))
