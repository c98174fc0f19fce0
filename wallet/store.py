"""The vault's file: sealed under a passphrase, written atomically, open in one process at a time."""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from crypto import CryptoError, PassphraseError
from crypto.passphrase import DEFAULT_COST, PassphraseCost
from crypto.vault import read_vault, write_vault
from wallet import content as codec
from wallet.content import VaultContent
from wallet.errors import VaultBusy, VaultError


class VaultStore:
    """An open vault. ``save`` returns once the new content survives the loss of the process.

    The lock lies beside the file (``<path>.lock``), since the file itself is replaced at each save; the kernel
    frees it when the process ends, however it ends.
    """

    def __init__(
        self, path: Path, passphrase: str, lock: int, content: VaultContent, cost: PassphraseCost
    ) -> None:
        self._path, self._passphrase, self._cost = path, passphrase, cost
        self._lock: int | None = lock
        self._content = content

    @classmethod
    def create(
        cls, path: Path, passphrase: str, content: VaultContent, cost: PassphraseCost = DEFAULT_COST
    ) -> "VaultStore":
        """A new vault file; its directory is made, for its owner only, when there is none.

        Raises:
            VaultError: a file is there already, or the place is not writable.
            VaultBusy: another process makes one there just now.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise VaultError(f"expected a directory {path.parent}; it cannot be made: {error}") from error
        lock = _take_lock(path)
        try:
            if path.exists() or path.is_symlink():
                raise VaultError(f"expected no file at {path}; there is one: a wallet is never overwritten")
            store = cls(path, passphrase, lock, content, cost)
            store.save(content)
        except BaseException:
            os.close(lock)
            raise
        return store

    @classmethod
    def open(cls, path: Path, passphrase: str, cost: PassphraseCost = DEFAULT_COST) -> "VaultStore":
        """The vault at ``path``.

        Raises:
            VaultError: there is none, the passphrase does not open it, or others may read the file.
            VaultBusy: another process has it open.
        """
        if not path.is_file():
            raise VaultError(f"expected a wallet at {path}; there is none: make one, or recover it there")
        lock = _take_lock(path)
        try:
            return cls(path, passphrase, lock, codec.from_bytes(read_vault(path, passphrase)), cost)
        except PassphraseError as error:
            os.close(lock)
            raise VaultError(f"the passphrase does not open {path}, or the file was altered") from error
        except (CryptoError, OSError) as error:
            os.close(lock)
            raise VaultError(f"the wallet at {path} cannot be opened: {error}") from error
        except BaseException:
            os.close(lock)
            raise

    @property
    def content(self) -> VaultContent:
        """The content as last saved."""
        return self._content

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._path

    def save(self, content: VaultContent) -> None:
        """Replaces the file by one that holds ``content``, durably or not at all.

        Raises:
            VaultError: the vault is closed, too large, or the disk refuses; the file is as before.
        """
        if self._lock is None:
            raise VaultError("expected an open vault; this one is closed")
        try:
            write_vault(self._path, codec.to_bytes(content), self._passphrase, cost=self._cost)
        except (CryptoError, OSError) as error:
            raise VaultError(f"the wallet at {self._path} cannot be written: {error}") from error
        self._content = content

    def discard(self) -> None:
        """Removes the file of a vault that was never of use, and closes it."""
        self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Frees the lock; closing twice is fine."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "VaultStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"VaultStore({str(self._path)!r})"


def _take_lock(path: Path) -> int:
    lock_path = path.with_name(path.name + ".lock")
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        lock = os.open(lock_path, flags, 0o600)
    except OSError as error:
        raise VaultError(f"the lock {lock_path} cannot be opened: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise VaultBusy(f"another process has the wallet {path} open: wait until it ends") from error
    return lock
