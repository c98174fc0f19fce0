"""What the demonstration's steps have in common: a line a step, its time, and `phr` run as a person would."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PHR = [str(ROOT / ".venv" / "bin" / "phr")]
STEP_SECONDS = 600.0
"""No command of the story takes so long: one that does hangs."""


class DemoFailed(Exception):
    """A step did not go as the story says."""


@dataclass
class Story:
    """What has happened so far."""

    directory: Path
    began: float = field(default_factory=time.monotonic)
    steps: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def step(self, title: str, act: Callable[[], str]) -> None:
        """Do one step and print its line: what came of it, and how long it took."""
        began = time.monotonic()
        outcome = act()
        seconds = time.monotonic() - began
        self.steps.append({"step": title, "outcome": outcome, "seconds": round(seconds, 2)})
        print(f"{len(self.steps):2}. {title:<52} {seconds:6.1f} s   {outcome}", flush=True)

    def phr(self, *words: str, expect: int | None = 0) -> Any:
        """Run `phr` as a person would, with --json; its document, or its error line where a refusal is expected.

        ``expect`` None takes any exit code: that of `phr network status` tells how the parts are, as its document does.
        """
        environment = {**os.environ, "PHR_NETWORK": str(self.directory)}
        try:
            done = subprocess.run(
                [*PHR, *words, "--json"],
                capture_output=True,
                text=True,
                env=environment,
                stdin=subprocess.DEVNULL,
                timeout=STEP_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"`phr {' '.join(words)}` did not end in {STEP_SECONDS:.0f} s") from None
        if expect is not None and done.returncode != expect:
            said = done.stderr.strip()[-2000:]
            raise DemoFailed(
                f"`phr {' '.join(words)}` ended with {done.returncode}, expected {expect}: {said}"
            )
        return json.loads(done.stdout) if done.stdout.strip() else {"error": done.stderr.strip()}
