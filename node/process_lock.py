"""One process a node's directory: two would give out the same transaction numbers, or move blocks under each other."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.errors import ConfigurationError

LOCK_FILE = "lock"


def take_lock(directory: Path) -> int:
    """Takes the lock of a node's directory; closing the returned descriptor, or the process's end, frees it.

    Raises:
        ConfigurationError: another process has it.
    """
    path = directory / LOCK_FILE
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigurationError(f"the node in {directory} runs already: stop that process first") from None
    return descriptor


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Holds the lock of a node's directory.

    Raises:
        ConfigurationError: another process has it.
    """
    descriptor = take_lock(directory)
    try:
        yield
    finally:
        os.close(descriptor)
