"""Where PostgreSQL's programs are, who runs them, and the directories that only that user may enter."""

import contextlib
import os
import pwd
import secrets
import shutil
from pathlib import Path

from engines.errors import EngineFailed, EngineNotBuilt

SERVER_USER = "postgres"
"""Who the server runs as when root starts it."""

ELSEWHERE = Path("/var/lib/phr")
"""Where root makes clusters whose own place the server's user cannot enter."""
_ELSEWHERE_PREFIX = "postgres-"


def find_postgres() -> Path:
    """The directory of PostgreSQL's programs, the newest version that is installed.

    Raises:
        EngineNotBuilt: there is none.
    """
    found = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")),
        key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0,
    )
    if found:
        return found[-1]
    on_path = shutil.which("postgres")
    if on_path is None:
        raise EngineNotBuilt(
            "expected PostgreSQL's programs under /usr/lib/postgresql or on the PATH; there are none: install "
            "PostgreSQL 15 or later, such as Debian's package postgresql"
        )
    return Path(on_path).resolve().parent


def server_user() -> pwd.struct_passwd:
    """Who the server runs as: whoever runs this, and ``postgres`` where that is root.

    Raises:
        EngineFailed: root runs this, and there is no such user.
    """
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam(SERVER_USER)
    except KeyError:
        raise EngineFailed(
            f"PostgreSQL does not run as root, and there is no user {SERVER_USER}: make one (useradd --system "
            f"{SERVER_USER}), or run this as another user than root"
        ) from None


def make_place(directory: Path, user: pwd.struct_passwd) -> Path:
    """The directory itself, or what it links to, made where it is not there.

    Raises:
        EngineFailed: it is there, and not the server's user's alone.
    """
    if directory.is_dir() and _is_own(directory) and not any(directory.iterdir()):
        directory.resolve().rmdir()
    if not directory.exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0 and not all(_may_enter(parent, user) for parent in directory.parents):
            ELSEWHERE.mkdir(mode=0o711, parents=True, exist_ok=True)
            # A name of its own each time: a cluster that outlived its network's directory is nobody else's.
            elsewhere = ELSEWHERE / f"{_ELSEWHERE_PREFIX}{secrets.token_hex(8)}"
            directory.unlink(missing_ok=True)
            # The link first, so that no cluster is ever one that no link names, whoever is killed when.
            directory.symlink_to(elsewhere)
            make_directory(elsewhere, user)
        else:
            make_directory(directory, user)
    else:
        make_directory(directory.resolve(), user)
    return directory.resolve()


def lies_elsewhere(directory: Path) -> bool:
    """Whether a directory is the link to a cluster that ``make_place`` put where its server's user can enter."""
    if not directory.is_symlink():
        return False
    target = directory.readlink()
    return target.parent == ELSEWHERE and target.name.startswith(_ELSEWHERE_PREFIX)


def _is_own(directory: Path) -> bool:
    """Whether it is one to make anew while nothing is in it; what others link to is theirs."""
    return not directory.is_symlink() or lies_elsewhere(directory)


def _may_enter(directory: Path, user: pwd.struct_passwd) -> bool:
    found = directory.stat()
    if found.st_uid == user.pw_uid:
        return bool(found.st_mode & 0o100)
    return bool(found.st_mode & (0o010 if found.st_gid == user.pw_gid else 0o001))


def make_directory(directory: Path, user: pwd.struct_passwd) -> None:
    """A directory of the server's user alone.

    Raises:
        EngineFailed: it is there already, and another's, open to others, or a link.
    """
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
        if os.geteuid() != user.pw_uid:
            os.chown(directory, user.pw_uid, user.pw_gid)
    found = directory.lstat()
    if directory.is_symlink() or found.st_uid != user.pw_uid or found.st_mode & 0o077:
        raise EngineFailed(
            f"expected {directory} to be a directory of {user.pw_name} alone (mode 0700); it is not: remove it"
        )


def write_for(user: pwd.struct_passwd, path: Path, text: str) -> None:
    """A file of the server's user, mode 0600, on disk when this returns."""
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if os.geteuid() != user.pw_uid:
        os.chown(path, user.pw_uid, user.pw_gid)
