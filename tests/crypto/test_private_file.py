"""Files of secrets: whole or not at all, whoever kills the writer; closed to others."""

import errno
import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crypto.errors import KeyfileError
from crypto.private_file import atomic_write_private, new_private_file, read_private

WRITER = """
import sys
from pathlib import Path
from crypto.private_file import atomic_write_private
path = Path(sys.argv[1])
for number in range(1_000_000):
    atomic_write_private(path, number.to_bytes(8) * 20_000)
    sys.stdout.buffer.write(number.to_bytes(8))
    sys.stdout.buffer.flush()
"""


def test_write_then_read_gives_the_bytes_at_mode_0600(tmp_path):
    path = tmp_path / "secret"
    old = os.umask(0)
    try:
        atomic_write_private(path, b"one")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    atomic_write_private(path, b"two")
    assert read_private(path, 10) == b"two"
    assert os.listdir(tmp_path) == ["secret"]


@pytest.mark.parametrize("acknowledged_writes", [0, 1, 7, 23])
def test_kill_the_writer_at_any_moment_leaves_a_whole_file_no_older_than_acknowledged(
    tmp_path, acknowledged_writes
):
    path = tmp_path / "secret"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        acknowledged = -1
        for _ in range(acknowledged_writes + 1):
            acknowledged = int.from_bytes(writer.stdout.read(8))
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read()
    if rest:
        acknowledged = int.from_bytes(rest[-8:])
    content = path.read_bytes()
    number = int.from_bytes(content[:8])
    assert content == number.to_bytes(8) * 20_000
    assert number >= acknowledged
    atomic_write_private(path, b"after")
    assert os.listdir(tmp_path) == ["secret"]


@pytest.mark.parametrize("step", ["write", "fsync", "rename"])
def test_write_that_the_disk_refuses_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "secret"
    atomic_write_private(path, b"old")

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    if step == "write":
        monkeypatch.setattr("crypto.private_file.os.fchmod", full)
    else:
        monkeypatch.setattr(f"crypto.private_file.os.{step}", full)
    with pytest.raises(OSError, match="No space left"):
        atomic_write_private(path, b"new" * 1000)
    monkeypatch.undo()
    assert read_private(path, 10) == b"old"
    assert os.listdir(tmp_path) == ["secret"]


def test_write_by_many_at_once_leaves_one_whole_file(tmp_path):
    path = tmp_path / "secret"
    contents = [bytes([value]) * 50_000 for value in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: atomic_write_private(path, content), contents))
    assert read_private(path, 50_000) in contents
    assert os.listdir(tmp_path) == ["secret"]


def test_attack_symbolic_link_at_the_path_is_neither_written_nor_read(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"precious")
    target.chmod(0o600)
    link.symlink_to(target)
    with pytest.raises(KeyfileError, match="symbolic link"):
        atomic_write_private(link, b"new")
    with pytest.raises(KeyfileError, match="symbolic link"):
        read_private(link, 100)
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_read_file_open_to_others_is_refused_with_the_command_that_helps(tmp_path, mode):
    path = tmp_path / "secret"
    atomic_write_private(path, b"x")
    path.chmod(mode)
    with pytest.raises(KeyfileError, match=f"came {mode:04o}.*chmod 600"):
        read_private(path, 100)


def test_read_another_users_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "secret"
    atomic_write_private(path, b"x")
    monkeypatch.setattr("crypto.private_file.os.geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(KeyfileError, match="another user's"):
        read_private(path, 100)


def test_read_over_the_limit_or_missing_or_no_file_is_refused(tmp_path):
    path = tmp_path / "secret"
    with pytest.raises(KeyfileError, match="there is none"):
        read_private(path, 3)
    atomic_write_private(path, b"four")
    with pytest.raises(KeyfileError, match="at most 3 bytes"):
        read_private(path, 3)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeyfileError, match="regular file"):
        read_private(tmp_path / "pipe", 3)
    (tmp_path / "directory").mkdir()
    with pytest.raises(KeyfileError, match="regular file"):
        atomic_write_private(tmp_path / "directory", b"x")
    with pytest.raises(KeyfileError, match="to exist"):
        atomic_write_private(tmp_path / "absent" / "secret", b"x")


def test_new_private_file_appears_whole_at_the_end_and_only_then(tmp_path: Path) -> None:
    path = tmp_path / "image.dcm"
    with new_private_file(path) as file:
        for piece in (b"one", b"two"):
            file.write(piece)
        assert list(tmp_path.iterdir()) == []
    assert path.read_bytes() == b"onetwo"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("nameless", [True, False])
def test_new_private_file_that_fails_leaves_nothing(tmp_path, monkeypatch, nameless) -> None:
    if not nameless:
        without_nameless_files(monkeypatch)
    with pytest.raises(TypeError), new_private_file(tmp_path / "x") as file:
        file.writelines([b"half", "no bytes"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("nameless", [True, False])
def test_new_private_file_never_replaces_what_came_meanwhile(tmp_path, monkeypatch, nameless) -> None:
    if not nameless:
        without_nameless_files(monkeypatch)
    path = tmp_path / "x"
    with pytest.raises(KeyfileError, match="exists"), new_private_file(path) as file:
        file.writelines([b"mine", path.write_bytes(b"theirs").to_bytes()])
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_new_private_file_without_nameless_files_is_whole_too(tmp_path, monkeypatch) -> None:
    without_nameless_files(monkeypatch)
    with new_private_file(tmp_path / "x") as file:
        file.write(b"content")
    assert (tmp_path / "x").read_bytes() == b"content"
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


def test_new_private_file_in_a_missing_directory_is_refused(tmp_path) -> None:
    with pytest.raises(KeyfileError, match="exist"), new_private_file(tmp_path / "no" / "x"):
        pass


def test_new_private_file_of_a_killed_process_leaves_nothing(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from crypto.private_file import new_private_file\n"
        "with new_private_file(Path(sys.argv[1])) as file:\n"
        "    file.write(b'x' * 10_000_000); file.flush(); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "x")], check=False)
    assert done.returncode == -9
    assert list(tmp_path.iterdir()) == []


def without_nameless_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that knows no O_TMPFILE."""
    real = os.open

    def refusing(path: object, flags: int, *more: object, **named: object) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not supported")
        return real(path, flags, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refusing)
