"""Files of secrets: written whole or not at all, for the owner's eyes only."""

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from crypto.errors import KeyfileError

_MODE = 0o600
_OTHERS = 0o077
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_NAMELESS_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
"""How file systems without O_TMPFILE refuse it (open(2))."""


def atomic_write_private(path: Path, data: bytes) -> None:
    """Puts ``data`` at ``path``, mode 0600: after a crash at any point there is the old file or the new one.

    Writes a new file beside it, syncs it, renames it over ``path`` and syncs the directory. What an earlier,
    killed write left behind is removed.

    Raises:
        KeyfileError: ``path`` is a symbolic link or no regular file, or its directory is missing.
        OSError: the disk refused; ``path`` is as it was.
    """
    with _locked_directory(path) as directory:
        try:
            existing = os.stat(path.name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            pass
        else:
            _require_regular(path, existing)
        _remove_leftovers(path.name, directory)
        temporary = _temporary_name(path)
        try:
            _write_new(temporary, data, directory)
            os.rename(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            _remove_leftovers(path.name, directory)
            raise
        os.fsync(directory)


@contextmanager
def new_private_file(path: Path) -> Iterator[BinaryIO]:
    """A new file of mode 0600 for content that comes in pieces: at ``path`` when the block ends by itself, or nowhere.

    Until then it has no name, so that not even a killed process leaves any of it behind. (Where the file system
    knows no such files it has one that starts with a dot, and a kill leaves that.)

    Raises:
        KeyfileError: something is at ``path`` already, or its directory is missing.
        OSError: the disk refused; nothing is at ``path``.
    """
    directory = _open_directory(path)
    try:
        name, descriptor = _open_nameless(path, directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, _MODE)
                yield file
                file.flush()
                os.fsync(descriptor)
                # With directories named Python follows the link, to the file that is open here.
                source = name or f"/proc/self/fd/{descriptor}"
                os.link(source, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except FileExistsError:
            raise KeyfileError(f"{path} exists; name a new file") from None
        finally:
            if name is not None:
                os.unlink(name, dir_fd=directory)
        os.fsync(directory)
    finally:
        os.close(directory)


def read_private(path: Path, max_bytes: int) -> bytes:
    """The content of a file of secrets.

    Raises:
        KeyfileError: it is missing, a symbolic link, not a regular file, another user's, open to group or
            others, or larger than ``max_bytes``; the message says what to do.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise KeyfileError(f"{path}: expected a file of secrets; there is none") from None
    except OSError as error:
        raise KeyfileError(
            f"{path}: expected a file that can be read and is no symbolic link; {error.strerror}"
        ) from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        _require_regular(path, found)
        if found.st_uid != os.geteuid():
            raise KeyfileError(f"{path}: expected a file of the user who runs this; it is another user's")
        if found.st_mode & _OTHERS:
            raise KeyfileError(
                f"{path}: expected mode 0600; came {stat.S_IMODE(found.st_mode):04o}, which lets others read secrets. "
                f"Run: chmod 600 {path}"
            )
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise KeyfileError(f"{path}: expected at most {max_bytes} bytes; came more")
    return data


@contextmanager
def _locked_directory(path: Path) -> Iterator[int]:
    # The lock makes every temporary file that we find here a dead writer's.
    descriptor = _open_directory(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _open_directory(path: Path) -> int:
    try:
        return os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise KeyfileError(f"{path}: expected the directory {path.parent} to exist; it does not") from None


def _open_nameless(path: Path, directory: int) -> tuple[str | None, int]:
    """A new file that has no name or, where there are no such files, a temporary one."""
    try:
        return None, os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, _MODE, dir_fd=directory)
    except OSError as error:
        if error.errno not in _NO_NAMELESS_FILES:
            raise
    name = _temporary_name(path)
    return name, os.open(name, _NEW, _MODE, dir_fd=directory)


def _write_new(name: str, data: bytes, directory: int) -> None:
    descriptor = os.open(name, _NEW, _MODE, dir_fd=directory)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), _MODE)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _temporary_name(path: Path) -> str:
    return f".{path.name}.{secrets.token_hex(8)}.tmp"


def _remove_leftovers(name: str, directory: int) -> None:
    for entry in os.listdir(directory):
        if entry.startswith(f".{name}.") and entry.endswith(".tmp") and len(entry) == len(name) + 22:
            os.unlink(entry, dir_fd=directory)


def _require_regular(path: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise KeyfileError(f"{path}: expected a file; came a symbolic link. Name the file itself")
    if not stat.S_ISREG(found.st_mode):
        raise KeyfileError(f"{path}: expected a regular file; came something else")
