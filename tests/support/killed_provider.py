"""A provider's node that is killed with SIGKILL, at a named moment or when a test says so."""

import subprocess
import sys
import threading
from pathlib import Path

from records_flow import Case

SCRIPT = Path(__file__).with_name("killed_node.py")


class KilledProvider:
    """The provider's node as a process of its own, which ends by SIGKILL."""

    def __init__(self, case: Case, step: str, moment: str, count: int) -> None:
        case.provider.node.stop()
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(case.provider.directory), step, moment, str(count)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in self._process.stdout:
            if line.strip() == "ready":
                break
        self._reader = threading.Thread(target=self._process.stdout.read, daemon=True)
        self._reader.start()

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> int:
        code = self._process.wait(120)
        self._reader.join(60)
        self._process.stdout.close()
        return code
