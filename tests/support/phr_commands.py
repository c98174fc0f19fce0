"""`phr` as people run it, in this process: what went in, the exit code, and what came out on both streams.

``people`` is one network for all tests, made by `phr network up`: its members have the names that break careless
programs. Kim Minji is registered at the first one, has records there, and granted the clinic her laboratory results.
"""

import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from records_flow import SYSTEM, bundle, condition, observation

from cli.main import execute

HOSPITAL = "서울병원"
SECOND = "Hôpital d'Évian"
CLINIC = "Hanok Clinic [red]"
AUTHORITY = "건강정보원"
CARE = "provider,consumer,custodian"
NUMBER = "12345"
IDENTIFIER = f"{SYSTEM}|{NUMBER}"
DEADLINE_SECONDS = 120.0


@dataclass(frozen=True)
class Ran:
    """One run of `phr`."""

    words: tuple[str, ...]
    exit_code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output; fails where there is none or more than one."""
        return json.loads(self.out)

    @property
    def line(self) -> str:
        """The one error line, without "phr: "; fails where there is none or more than one."""
        lines = [line for line in self.err.splitlines() if line.startswith("phr: ")]
        assert len(lines) == 1, self
        return lines[0].removeprefix("phr: ")


def run_phr(*words: object, stdin: bytes = b"", environment: dict[str, str] | None = None) -> Ran:
    """Runs `phr` with its streams as pipes."""
    arguments = tuple(str(word) for word in words)
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    given = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "stdin", given),
        mock.patch.dict(os.environ, environment or {}),
    ):
        exit_code = execute(list(arguments))
    return Ran(arguments, exit_code, _text(out), _text(err))


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


@dataclass(frozen=True)
class People:
    """A running network, and where its people keep their things."""

    directory: Path
    files: Path
    """A directory for bundles, passphrases and what commands save."""

    @property
    def passphrase(self) -> Path:
        return self.files / "passphrase"

    def phr(self, *words: object, expect: int | None = 0, stdin: bytes = b"", **environment: str) -> Ran:
        """Runs `phr` on this network; ``expect`` None takes any exit code."""
        known = {"PHR_NETWORK": str(self.directory), "PHR_PASSPHRASE_FILE": str(self.passphrase)}
        done = run_phr(*words, stdin=stdin, environment={**known, "COLUMNS": "100", **environment})
        assert expect is None or done.exit_code == expect, done
        assert "Traceback" not in done.err, done
        return done

    def document(self, *words: object) -> Any:
        """The document of a command that succeeds."""
        return self.phr(*words, "--json").document

    def bundle(self, *resources: dict[str, Any], number: str = NUMBER) -> Path:
        """A file with a FHIR bundle of a patient."""
        path = self.files / f"bundle-{len(list(self.files.iterdir()))}.json"
        path.write_bytes(bundle(number, *(resources or (observation(5.4),))))
        return path

    def new_patient(self, wallet: str, number: str, provider: str = HOSPITAL) -> None:
        """Somebody with a wallet, registered at a provider."""
        self.phr("patient", "create", wallet, "--phrase-file", self.files / f"{wallet}.phrase")
        self.register(wallet, number, provider)

    def publish(
        self, wallet: str, number: str, *resources: dict[str, Any], provider: str = HOSPITAL
    ) -> list[dict[str, Any]]:
        """Publishes for a patient; all that the wallet sees then."""
        path = self.bundle(*resources, number=number)
        self.phr("hospital", "publish", path, "--as", provider, "--patient", f"{SYSTEM}|{number}")
        self.settle()
        records: list[dict[str, Any]] = self.document("patient", "records", "--wallet", wallet)
        return records

    def settle(self) -> None:
        """Waits until every running node has seen what the chain has now: they follow it a moment apart."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        found = self._final_blocks()
        wanted = max(found.values())
        behind = {name for name, number in found.items() if number < wanted}
        while behind:
            assert time.monotonic() < deadline, (behind, wanted)
            time.sleep(0.1)
            found = self._final_blocks()
            behind = {name for name in behind if found.get(name, wanted) < wanted}

    def _final_blocks(self) -> dict[str, int]:
        """Of each process that runs; -1 of one that did not say it in time."""
        parts = self.phr("network", "status", "--json", expect=None).document["parts"]
        return {
            part["name"]: -1 if part["final_block"] is None else part["final_block"]
            for part in parts
            if part["state"] in ("ready", "not ready")
        }

    def register(self, wallet: str, number: str, provider: str = HOSPITAL) -> dict[str, Any]:
        """Registers a wallet's owner at a provider's desk; the ticket."""
        ticket: dict[str, Any] = self.document("patient", "register", provider, "--wallet", wallet)
        self.phr("hospital", "register", ticket["code"], "--as", provider, "--patient", f"{SYSTEM}|{number}")
        return ticket


def make_private(path: Path, text: str) -> Path:
    """A file of a secret, as the commands demand it."""
    path.touch(mode=0o600)
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def people() -> Iterator[People]:
    """The network of all tests of a process; see this module's docstring."""
    # Not pytest's directory: it keeps three runs, and a network's blocks are megabytes.
    root = Path(tempfile.mkdtemp(prefix="phr-cli-"))
    made = People(root / "network", root / "files")
    made.files.mkdir()
    make_private(made.passphrase, "correct horse battery staple\n")
    try:
        members = [f"{name}={CARE}" for name in (HOSPITAL, SECOND, CLINIC)] + [f"{AUTHORITY}=auditor"]
        made.phr("network", "up", made.directory, *(w for m in members for w in ("--member", m)))
        made.new_patient("minji", NUMBER)
        history = made.bundle(observation(5.4), observation(6.1, "2025-01-09"), condition())
        made.phr("hospital", "publish", history, "--as", HOSPITAL, "--patient", IDENTIFIER)
        made.settle()
        made.phr(
            *("patient", "grant", "hanok", "--category", "laboratory", "--for", "90 days"),
            *("--introduce", "Kim Minji", "--wallet", "minji", "--yes"),
        )
        made.settle()
        yield made
    finally:
        run_phr("network", "down", made.directory)
        shutil.rmtree(root)
