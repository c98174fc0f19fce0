"""Run as a program: notes in a process file who it is, then becomes the command that it was given.

So there is no moment at which a process runs that nobody could find again, whoever is killed when. Uses the standard
library alone, since it is started without the project's path: ``python -I -S becoming.py PROCESS_FILE LOCK REPORT
COMMAND…``. LOCK and REPORT are descriptors; both close when it has become the command.
"""

import json
import os
import sys
from pathlib import Path

_START_TIME_AFTER_NAME = 19
"""Where field 22 of /proc/<pid>/stat is, counted behind the name, which may hold spaces; see proc(5)."""


def identity(pid: int) -> dict[str, int | str]:
    """What tells a process from all others of this machine, also after its number was given to another one.

    Its start in clock ticks since the boot, and which boot: neither moves when the clock is set.

    Raises:
        OSError: there is no such process.
    """
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    ticks = int(stat.rpartition(b")")[2].split()[_START_TIME_AFTER_NAME])
    return {
        "pid": pid,
        "started_ticks": ticks,
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
    }


def note(path: Path, pid: int) -> None:
    """Write a process file, whole or not at all; for whoever holds the lock. It need not outlive a power cut."""
    made = path.with_name(f"{path.name}.new")
    with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        json.dump(identity(pid), file)
    made.rename(path)


def _given_environment() -> dict[bytes, bytes]:
    """The environment as it was given: Python adds a locale to its own."""
    lines = Path("/proc/self/environ").read_bytes().split(b"\0")
    return {name: value for name, equals, value in (line.partition(b"=") for line in lines) if equals}


def main() -> None:
    """See above; what went wrong is written to REPORT."""
    path, lock, report, *command = sys.argv[1:]
    for descriptor in (int(lock), int(report)):
        os.set_inheritable(descriptor, False)
    try:
        note(Path(path), os.getpid())
        os.execve(command[0], command, _given_environment())  # noqa: S606 - no shell is meant to come between
    except OSError as error:
        Path(path).unlink(missing_ok=True)
        os.write(int(report), str(error).encode()[:1024])
        raise SystemExit(127) from None


if __name__ == "__main__":
    main()
