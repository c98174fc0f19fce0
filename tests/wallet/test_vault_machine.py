"""A machine that saves, closes, crashes and reopens a vault: it always holds what was last acknowledged."""

import shutil
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from wallet_parts import CHEAP, vault_content

from wallet.errors import VaultBusy, VaultError
from wallet.journal import DeliveryEntry, GrantEntry
from wallet.store import VaultStore

_CONTENT = vault_content()
_PATIENT = _CONTENT.relationships[0].patient
_ENTRIES = st.builds(
    lambda kind, number: kind(patient=_PATIENT, consent_id=bytes([number]) * 32),
    st.sampled_from([GrantEntry, DeliveryEntry]),
    st.integers(0, 3),
)


class VaultMachine(RuleBasedStateMachine):
    @initialize()
    def create(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.path = self.directory / "vault"
        self.expected = _CONTENT
        self.store: VaultStore | None = VaultStore.create(self.path, "p", _CONTENT, CHEAP)

    @precondition(lambda self: self.store is not None)
    @rule(entries=st.lists(_ENTRIES, max_size=4))
    def save(self, entries: list[GrantEntry | DeliveryEntry]) -> None:
        assert self.store is not None
        content = self.expected.replaced(journal=tuple(entries))
        self.store.save(content)
        self.expected = content

    @precondition(lambda self: self.store is not None)
    @rule()
    def close(self) -> None:
        assert self.store is not None
        self.store.close()
        self.store = None

    @precondition(lambda self: self.store is None)
    @rule()
    def open(self) -> None:
        self.store = VaultStore.open(self.path, "p", CHEAP)

    @precondition(lambda self: self.store is not None)
    @rule()
    def open_again_is_busy(self) -> None:
        with pytest.raises(VaultBusy):
            VaultStore.open(self.path, "p", CHEAP)

    @rule()
    def create_again_is_refused(self) -> None:
        with pytest.raises(VaultError):
            VaultStore.create(self.path, "p", _CONTENT, CHEAP)

    @precondition(lambda self: self.store is None)
    @rule(passphrase=st.text(min_size=1, max_size=4).filter(lambda text: text != "p"))
    def open_with_another_passphrase_is_refused(self, passphrase: str) -> None:
        try:
            VaultStore.open(self.path, passphrase, CHEAP).close()
        except VaultError:
            return
        assert unicodedata.normalize("NFKC", passphrase) == "p"

    @precondition(lambda self: self.store is None)
    @rule(data=st.data())
    def open_of_a_damaged_copy_is_refused(self, data: st.DataObject) -> None:
        sealed = bytearray(self.path.read_bytes())
        sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        copy = self.directory / "copy"
        copy.write_bytes(sealed)
        copy.chmod(0o600)
        with pytest.raises(VaultError):
            VaultStore.open(copy, "p", CHEAP)

    @invariant()
    def holds_what_was_acknowledged(self) -> None:
        if getattr(self, "store", None) is not None:
            assert self.store is not None
            assert self.store.content == self.expected

    def teardown(self) -> None:
        if getattr(self, "store", None) is not None:
            assert self.store is not None
            self.store.close()
        shutil.rmtree(getattr(self, "directory", "/nonexistent"), ignore_errors=True)


VaultMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
TestVaultMachine = VaultMachine.TestCase
