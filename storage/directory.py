"""Files under one directory, written durably and reached by descriptors, so that no symbolic link leads elsewhere.

Every path is a directory's descriptor and one plain name below it, opened with ``O_NOFOLLOW``.
"""

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from storage.errors import BlockTooLargeError, StorageError, StoreAccessError, StoreFullError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a named pipe put in a file's place must not hang the reader.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_OR_CREATE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def storage_error(error: OSError, doing: str) -> StorageError:
    """The ``StorageError`` that tells a person what this operating system's error means for the store."""
    if error.errno in _NO_ROOM:
        return StoreFullError(
            f"no room left while {doing} ({error.strerror}): nothing was kept; free space or raise the quota, "
            f"then try again"
        )
    return StoreAccessError(
        f"expected a usable store while {doing}; came: {error.strerror} (errno {error.errno}): "
        f"check the directory's owner, its rights and its disk, and that nothing in it is a symbolic link"
    )


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Closes the descriptor at the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make_root(path: Path) -> None:
    """Makes the directory (0700) and its parents, where they are missing, and its name durable."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as parent:
        make_below(parent, path.name)


def open_root(path: Path) -> AbstractContextManager[int]:
    """A descriptor of the directory itself.

    Raises:
        OSError: it is not there, or it is a symbolic link or no directory.
    """
    return closing(os.open(path, _DIRECTORY))


def open_below(parent: int, name: str) -> AbstractContextManager[int]:
    """A descriptor of a directory below another.

    Raises:
        OSError: it is not there, or it is a symbolic link or no directory.
    """
    return closing(os.open(name, _DIRECTORY, dir_fd=parent))


def make_below(parent: int, name: str) -> None:
    """Makes a directory (0700) below another, if it is not there, and its name durable."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    # Also when it was there: the process that made it may have died before this line.
    os.fsync(parent)


@contextmanager
def locked(root: int, *, shared: bool) -> Iterator[None]:
    """Holds the directory's lock against other processes and threads; the kernel frees it when a holder dies."""
    with closing(os.open("lock", _OPEN_OR_CREATE, 0o600, dir_fd=root)) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def is_directory(parent: int, name: str) -> bool:
    """Whether a directory has this name; a symbolic link does not count as one."""
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def is_file(directory: int, name: str) -> bool:
    """Whether a regular file has this name; a symbolic link does not count as one."""
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def read_file(directory: int, name: str, limit_bytes: int) -> bytes:
    """The whole of a regular file of at most ``limit_bytes``.

    Raises:
        OSError: there is none, it cannot be read, or it is a symbolic link (ELOOP).
        StoreAccessError: it is no regular file.
        BlockTooLargeError: it is larger; no more than one byte beyond the limit was read.
    """
    with closing(os.open(name, _READ, dir_fd=directory)) as descriptor:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StoreAccessError(f"expected {name} to be a regular file; remove what stands in its place")
        parts = []
        room = limit_bytes
        while part := os.read(descriptor, room + 1):
            room -= len(part)
            if room < 0:
                raise BlockTooLargeError(f"expected {name} to have at most {limit_bytes} bytes; it has more")
            parts.append(part)
        return b"".join(parts)


def write_file(root: int, temporary: int, directory: int, name: str, content: bytes) -> None:
    """Writes a file (0600) so that it is there whole and durable, or not at all: write, fsync, rename, fsync.

    The temporary file is locked while it is written, so that ``remove_abandoned`` of another process leaves
    it alone; it is removed on failure.

    Raises:
        OSError: it could not be written; nothing is left of it.
    """
    temporary_name = secrets.token_hex(16)
    # The shared lock makes creating and locking one step for whoever cleans up under the exclusive one.
    with locked(root, shared=True):
        descriptor = os.open(temporary_name, _CREATE, 0o600, dir_fd=temporary)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            os.unlink(temporary_name, dir_fd=temporary)
            raise
    with closing(descriptor):
        try:
            unwritten = memoryview(content)
            while unwritten:
                unwritten = unwritten[os.write(descriptor, unwritten) :]
            os.fsync(descriptor)
            os.rename(temporary_name, name, src_dir_fd=temporary, dst_dir_fd=directory)
        except BaseException:  # an interrupt too must leave nothing behind
            with suppress(FileNotFoundError):
                os.unlink(temporary_name, dir_fd=temporary)
            raise
        os.fsync(directory)


def touch(directory: int, name: str) -> None:
    """Makes an empty file (0600), if it is not there, and its name durable."""
    with closing(os.open(name, _OPEN_OR_CREATE, 0o600, dir_fd=directory)) as descriptor:
        os.fsync(descriptor)
        os.fsync(directory)


def remove_abandoned(root: int, temporary: int) -> int:
    """Removes the temporary files whose writers are dead, and returns how many they were."""
    removed = 0
    with locked(root, shared=False):
        for name in os.listdir(temporary):
            try:
                descriptor = os.open(name, _READ, dir_fd=temporary)
            except FileNotFoundError:
                continue  # its writer has just renamed it
            with closing(descriptor):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue  # its writer lives
                try:
                    os.unlink(name, dir_fd=temporary)
                except FileNotFoundError:
                    continue
                removed += 1
    return removed
