"""The vault's file: whole or not at all, one process at a time, nothing readable without the passphrase."""

import multiprocessing
import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from wallet_parts import CHEAP, member, relationship, vault_content

from crypto.keyring import KeyringSecrets
from vocabulary import Category
from wallet import content as codec
from wallet.errors import VaultBusy, VaultError
from wallet.journal import (
    DeliveryEntry,
    GrantEntry,
    KeyringEntry,
    MessageEntry,
    RevocationEntry,
    RotationEntry,
)
from wallet.store import VaultStore

SUPPORT = Path(__file__).parents[1] / "support"
ENTRIES = (
    GrantEntry(patient=bytes(20), consent_id=bytes(32)),
    DeliveryEntry(patient=bytes(20), consent_id=bytes(32)),
    RevocationEntry(patient=bytes(20), consent_id=bytes(32), next_keyring=b"k", rotation_nonce=2**63),
    RotationEntry(patient=bytes(20), next_keyring=b"k", rotation_nonce=1, backed_up=True),
    KeyringEntry(patient=bytes(20)),
    MessageEntry(patient=bytes(20), message={"type": "Freeze", "patient": "0x", "nonce": "0x1"}),
)


def test_content_to_bytes_and_back_is_the_same() -> None:
    content = vault_content().replaced(journal=ENTRIES)
    assert codec.from_bytes(codec.to_bytes(content)) == content


def test_content_repr_shows_no_secret() -> None:
    content = vault_content().replaced(journal=ENTRIES)
    keyring = content.relationships[0].secrets
    shown = repr(content) + repr(content.relationships[0]) + repr(content.backup) + str(content)
    for secret in (
        content.seed,
        content.backup.encryption_key,
        content.backup.signing_seed,
        keyring.owner.seed,
        content.account(content.relationships[0].patient).secret,
    ):
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"\x00",
        lambda data: b"\xa0",
        lambda data: b"",
        lambda data: data.replace(b"fformat\x01", b"fformat\x02"),
        lambda data: data.replace(b"chain_id", b"chain_ix"),
    ],
)
def test_content_that_is_damaged_is_refused(damage: object) -> None:
    data = codec.to_bytes(vault_content())
    with pytest.raises(VaultError):
        codec.from_bytes(damage(data))  # type: ignore[operator]


def test_content_with_a_foreign_keyring_is_refused() -> None:
    content = vault_content()
    other = KeyringSecrets.generate(content.chain_id, content.contract, bytes(20), (Category.LABORATORY,))
    swapped = content.relationships[0].model_copy(update={"keyring": other.to_bytes()})
    with pytest.raises(VaultError, match="keyring"):
        codec.from_bytes(codec.to_bytes(content.with_relationship(swapped)))


def test_content_with_a_pseudonym_of_another_seed_is_refused() -> None:
    content = vault_content()
    stranger = relationship(bytes(32), 0, member("Clinic"))
    with pytest.raises(VaultError, match="seed"):
        codec.from_bytes(codec.to_bytes(content.with_relationship(stranger)))


def test_store_create_then_open_gives_the_content(tmp_path: Path) -> None:
    content = vault_content()
    path = tmp_path / "deep" / "vault"
    VaultStore.create(path, "correct horse", content, CHEAP).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with VaultStore.open(path, "correct horse", CHEAP) as store:
        assert store.content == content


def test_store_create_over_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vault"
    path.write_bytes(b"precious")
    with pytest.raises(VaultError, match="never overwritten"):
        VaultStore.create(path, "p", vault_content(), CHEAP)
    assert path.read_bytes() == b"precious"


def test_store_open_with_wrong_passphrase_says_so_and_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "vault"
    VaultStore.create(path, "right", vault_content(), CHEAP).close()
    with pytest.raises(VaultError, match="passphrase"):
        VaultStore.open(path, "wrong", CHEAP)
    VaultStore.open(path, "right", CHEAP).close()


def test_store_open_of_nothing_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="recover"):
        VaultStore.open(tmp_path / "none", "p", CHEAP)


def test_store_open_of_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vault"
    VaultStore.create(path, "p", vault_content(), CHEAP).close()
    path.chmod(0o644)
    with pytest.raises(VaultError):
        VaultStore.open(path, "p", CHEAP)


def test_store_open_twice_in_one_process_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "vault"
    with VaultStore.create(path, "p", vault_content(), CHEAP), pytest.raises(VaultBusy):
        VaultStore.open(path, "p", CHEAP)


def _try_open(path: str, answers: "multiprocessing.Queue[str]") -> None:
    try:
        VaultStore.open(Path(path), "p", CHEAP).close()
        answers.put("opened")
    except VaultBusy:
        answers.put("busy")


def test_store_open_in_another_process_is_busy_until_closed(tmp_path: Path) -> None:
    path = tmp_path / "vault"
    spawn = multiprocessing.get_context("fork")
    answers: multiprocessing.Queue[str] = spawn.Queue()
    with VaultStore.create(path, "p", vault_content(), CHEAP):
        process = spawn.Process(target=_try_open, args=(str(path), answers))
        process.start()
        process.join(120)
        assert answers.get(timeout=60) == "busy"
    _try_open(str(path), answers)
    assert answers.get(timeout=60) == "opened"


def test_store_save_after_close_is_refused(tmp_path: Path) -> None:
    store = VaultStore.create(tmp_path / "vault", "p", vault_content(), CHEAP)
    store.close()
    with pytest.raises(VaultError, match="closed"):
        store.save(vault_content())


def test_store_killed_while_saving_keeps_the_last_acknowledged_content(tmp_path: Path) -> None:
    path = tmp_path / "vault"
    VaultStore.create(path, "p", vault_content(), CHEAP).close()
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from wallet_parts import CHEAP
        from wallet.store import VaultStore
        store = VaultStore.open(Path(sys.argv[1]), "p", CHEAP)
        for version in range(store.content.backup.version + 1, 10**9):
            backup = store.content.backup.model_copy(update={"version": version})
            store.save(store.content.replaced(backup=backup))
            print(version, flush=True)
        """
    )
    for saves in (1, 2, 7):
        environment = {**os.environ, "PYTHONPATH": str(SUPPORT)}
        with subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            assert process.stdout is not None
            acknowledged = [int(process.stdout.readline()) for _ in range(saves)][-1]
            process.kill()
            rest = process.stdout.read().split()
            acknowledged = int(rest[-1]) if rest else acknowledged
        with VaultStore.open(path, "p", CHEAP) as store:
            assert store.content.backup.version in (acknowledged, acknowledged + 1)
