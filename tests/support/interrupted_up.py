"""Runs `phr` as a process that ends itself by a signal at a moment of its work, as a kill or Ctrl-C there would.

Usage: interrupted_up.py SIGNAL MODULE FUNCTION MOMENT COUNT WORDS…: SIGNAL comes "before" or "after" (MOMENT) the
COUNTth call of FUNCTION of MODULE; WORDS are those of `phr`.
"""

import importlib
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Moment:
    """Where in the work the signal comes."""

    module: str
    function: str
    moment: str = "after"
    count: int = 1

    def __str__(self) -> str:
        return f"{self.moment} {self.function} {self.count}"


def interrupt(number: signal.Signals, moment: Moment, *words: object) -> "subprocess.CompletedProcess[str]":
    """Runs `phr` with these words until the moment."""
    given = (number.name, moment.module, moment.function, moment.moment, moment.count, *words)
    return subprocess.run(
        [sys.executable, __file__, *(str(word) for word in given)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def main() -> None:
    """See above."""
    name, module_name, function, moment, count, *words = sys.argv[1:]
    module = importlib.import_module(module_name)
    real, lock, remaining = getattr(module, function), threading.Lock(), int(count)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        nonlocal remaining
        with lock:
            remaining -= 1
            now = remaining == 0
        if now and moment == "before":
            os.kill(os.getpid(), signal.Signals[name])
        done = real(*arguments, **options)
        if now and moment == "after":
            os.kill(os.getpid(), signal.Signals[name])
        return done

    setattr(module, function, interrupted)
    from cli.main import execute

    sys.exit(execute(words))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
