"""A member's keystore file: opens with its passphrase, and not otherwise."""

import json
import subprocess
import sys

import pytest
from eth_account import Account

from crypto.errors import FormatError, KeyfileError, OpenError, PassphraseError
from crypto.hpke import EncryptionKey
from crypto.keystore import MemberSecrets, PassphraseCost, read_keystore, write_keystore
from crypto.private_file import atomic_write_private
from crypto.signer import AccountKey

CHEAP = PassphraseCost(memory_kib=64, iterations=1, lanes=1, scrypt_n=2)
SECRETS = MemberSecrets(
    AccountKey.from_bytes(b"\x01" * 32),
    (EncryptionKey.from_seed(b"\x02" * 32), EncryptionKey.from_seed(b"\x03" * 32)),
    b"\x04" * 32,
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "keystore.json"
    write_keystore(path, SECRETS, "correct horse", CHEAP)
    return path


def same(secrets: MemberSecrets) -> bool:
    return (
        secrets.account.secret == SECRETS.account.secret
        and secrets.encryption_keys == SECRETS.encryption_keys
        and secrets.transport_seed == SECRETS.transport_seed
    )


def test_read_what_was_written_gives_all_secrets(path):
    assert same(read_keystore(path, "correct horse"))


def test_write_at_the_default_cost_gives_a_file_that_opens(tmp_path):
    write_keystore(tmp_path / "k", SECRETS, "correct horse")
    assert same(read_keystore(tmp_path / "k", "correct horse"))


def test_account_in_the_file_opens_with_eth_account(path):
    account = json.loads(path.read_bytes())["account"]
    assert bytes(Account.decrypt(account, "correct horse")) == SECRETS.account.secret


def test_passphrase_typed_on_another_keyboard_opens_the_file(tmp_path):
    write_keystore(tmp_path / "k", SECRETS, "pässwörd", CHEAP)
    assert same(read_keystore(tmp_path / "k", "pa\u0308sswo\u0308rd"))


@pytest.mark.parametrize("passphrase", ["correct hors", "correct horse ", "Correct horse"])
def test_read_with_another_passphrase_is_refused(path, passphrase):
    with pytest.raises(PassphraseError, match="another one, or the file was altered"):
        read_keystore(path, passphrase)


def test_write_with_an_empty_passphrase_is_refused_and_writes_nothing(tmp_path):
    with pytest.raises(FormatError, match="passphrase"):
        write_keystore(tmp_path / "k", SECRETS, "", CHEAP)
    assert list(tmp_path.iterdir()) == []


def test_file_holds_no_secret_in_the_clear(path):
    data = path.read_bytes()
    for secret in (
        SECRETS.account.secret,
        SECRETS.transport_seed,
        *(key.seed for key in SECRETS.encryption_keys),
    ):
        assert secret not in data
        assert secret.hex().encode() not in data
    assert "04" * 8 not in repr(SECRETS)


def rewrite(path, change) -> None:
    document = json.loads(path.read_bytes())
    change(document)
    atomic_write_private(path, json.dumps(document).encode())


def test_attack_put_another_account_into_the_file_is_refused(path, tmp_path):
    other = MemberSecrets(
        AccountKey.from_bytes(b"\x09" * 32), SECRETS.encryption_keys, SECRETS.transport_seed
    )
    write_keystore(tmp_path / "other", other, "correct horse", CHEAP)
    account = json.loads((tmp_path / "other").read_bytes())["account"]
    rewrite(path, lambda document: document.update(account=account))
    with pytest.raises(KeyfileError, match="put together"):
        read_keystore(path, "correct horse")


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.pop("account"),
        lambda document: document.pop("sealed"),
        lambda document: document.update(type="other"),
        lambda document: document.update(sealed="?"),
        lambda document: document.update(sealed=5),
        lambda document: document.update(sealed=""),
        lambda document: document.update(account=[]),
        lambda document: document["account"].update(version=4),
        lambda document: document["account"]["crypto"]["kdfparams"].update(n=2**30),
        lambda document: document["account"]["crypto"].pop("mac"),
        lambda document: document["account"]["crypto"].update(cipher="none"),
        lambda document: document["account"]["crypto"].update(ciphertext="00" * 32),
        lambda document: document["account"]["crypto"].update(kdf="md5"),
        lambda document: document["account"]["crypto"]["kdfparams"].update(r=2**20),
        lambda document: document["account"]["crypto"]["kdfparams"].update(n=3),
        lambda document: document["account"]["crypto"]["kdfparams"].update(salt=7),
        lambda document: document["account"]["crypto"]["kdfparams"].update(dklen=2**40),
        lambda document: document["account"].update(crypto=5),
    ],
)
def test_read_damaged_file_is_refused_with_our_error(path, change):
    rewrite(path, change)
    with pytest.raises(KeyfileError):
        read_keystore(path, "correct horse")


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"type":1}'])
def test_read_another_file_is_refused_with_our_error(tmp_path, data):
    atomic_write_private(tmp_path / "k", data)
    with pytest.raises(KeyfileError, match="expected a keystore"):
        read_keystore(tmp_path / "k", "correct horse")


@pytest.mark.parametrize(
    "cost",
    [
        {"memory_kib": 2**21},
        {"memory_kib": 7, "lanes": 1},
        {"iterations": 0},
        {"iterations": 17},
        {"lanes": 0},
        {"lanes": 17},
        {"scrypt_n": 3},
        {"scrypt_n": 2**21},
        {"scrypt_n": 0},
    ],
    ids=str,
)
def test_cost_beyond_the_limits_is_refused(cost):
    with pytest.raises(FormatError, match="cost"):
        PassphraseCost(**cost)


def test_keystore_leaves_the_interpreters_recursion_limit_as_it_was(tmp_path):
    program = (
        "import sys, pathlib; from crypto.keystore import *; from crypto.signer import AccountKey; "
        "from crypto.hpke import EncryptionKey; before = sys.getrecursionlimit(); "
        "write_keystore(pathlib.Path(sys.argv[1]), MemberSecrets(AccountKey.generate(), "
        "(EncryptionKey.generate(),), bytes(32)), 'p', PassphraseCost(64, 1, 1, 2)); "
        "sys.exit(sys.getrecursionlimit() != before)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "k")], check=True)


def test_encryption_key_by_digest_finds_old_ones_and_refuses_others():
    for key in SECRETS.encryption_keys:
        assert SECRETS.encryption_key(key.digest) is key
    with pytest.raises(OpenError, match="none of its keys"):
        SECRETS.encryption_key(bytes(32))


def test_member_secrets_without_an_encryption_key_are_refused():
    with pytest.raises(FormatError):
        MemberSecrets(SECRETS.account, (), SECRETS.transport_seed)
    with pytest.raises(FormatError):
        MemberSecrets(SECRETS.account, SECRETS.encryption_keys, b"")
