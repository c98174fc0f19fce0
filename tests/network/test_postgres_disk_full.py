"""A node's database on a disk that runs full: refused in words, nothing damaged, and well again once there is room."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from node_fixtures import Member, Network, start_network
from records_flow import Case, bundle, observation

from crypto.signer import AccountKey
from node.local_verify import local_check
from wire.signing import RequestKey
from wire.staff import Publication

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]
SCRIPT = Path(__file__).parents[1] / "support" / "small_disk.py"
PATIENCE_SECONDS = 90.0
MEBIBYTES = {"sqlite": 24, "postgres": 160}


def namespace() -> list[str]:
    """The command that gives a process a mount namespace, and a namespace of processes that ends with it; skips where
    that is not allowed."""
    options = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *options, "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
    command.append("--mount-proc")
    try:
        allowed = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("this machine allows no mount namespace, so no small disk can be made")
    return command


class NodeOnSmallDisk:
    """The first member's node as a process with its database on a small disk."""

    def __init__(self, kind: str, member: Member, mount_point: Path) -> None:
        member.node.stop()
        self._process = subprocess.Popen(
            [
                *namespace(),
                sys.executable,
                str(SCRIPT),
                kind,
                str(member.directory),
                str(mount_point),
                str(MEBIBYTES[kind]),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.token = str(self._answer()["token"])

    def tell(self, word: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                try:
                    found = json.loads(line)
                except ValueError:
                    continue
                if {"ready", "full", "free", "check", "ended"} & set(found):
                    return dict(found)
        raise AssertionError(f"the node's process ended with {self._process.wait()}")

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    running = start_network(tmp_path_factory.mktemp("network"))
    yield running
    running.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "postgres" and os.geteuid() != 0:
        pytest.skip("needs root: only it may give a small disk to the user who runs PostgreSQL")
    return str(request.param)


def ready(member: Member) -> httpx.Response:
    return member.http.get(member.url + "/ready")


def wait_until_ready(member: Member) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while ready(member).status_code != 200:
        assert time.monotonic() < deadline, ready(member).text
        threading.Event().wait(0.1)


@pytest.fixture
def mount_point() -> Iterator[Path]:
    """An empty directory that PostgreSQL's user may enter too, which pytest's own are not."""
    made = Path(tempfile.mkdtemp(prefix="phr-test-disk-"))
    made.chmod(0o711)
    yield made
    made.rmdir()


def test_disk_that_runs_full_is_said_and_survived(network: Network, kind: str, mount_point: Path) -> None:
    member = network.members[0]
    disk = NodeOnSmallDisk(kind, member, mount_point)
    try:
        provider = replace(member, staff_token=disk.token)
        wait_until_ready(provider)
        case = Case.begin(network, provider)
        first, content = (bundle(case.number, observation(value)) for value in (5.1, 5.2))
        before = publish(case, first)

        assert disk.tell("fill")["full"] < 4096
        refused = first_refusal(provider)
        assert (refused.status_code, refused.json()["code"]) in {
            (507, "database-full"),
            (503, "database-unavailable"),
        }, refused.text
        answer = case.post_bundle(content)
        assert answer.status_code in (503, 507) or answer.json()["state"] != "published", answer.text
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := ready(provider)).status_code == 200:
            assert time.monotonic() < deadline
            threading.Event().wait(0.1)
        assert any("database" in problem.lower() for problem in found.json()["problems"]), found.text

        disk.tell("free")
        wait_until_ready(provider)
        after = publish(case, content)
        assert publish(case, first) == before
        assert disk.tell("check") == {"check": "ok", "divergence": None}
        assert disk.tell("stop")["alive"] is True
    finally:
        disk.kill()
    member.restart()
    network.wait_for_all()
    on_ledger = network.members[1].node.ledger.snapshot().state.records
    assert before | after == {
        key for key, record in on_ledger.items() if record.patient == case.patient.address
    }
    for one in network.members:
        snapshot = one.node.ledger.snapshot()
        block = network.chain.block(snapshot.final.number)
        assert local_check(one.directory)(snapshot.state, block) is None


def publish(case: Case, content: bytes) -> set[bytes]:
    """The records of a bundle, once they are published; sent again as a hospital's system would."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        answer = case.post_bundle(content)
        if answer.status_code == 200:
            publication = Publication.model_validate_json(answer.content)
            if publication.state == "published":
                return {record.record_id for record in publication.records}
        assert time.monotonic() < deadline, answer.text
        threading.Event().wait(0.2)


def first_refusal(member: Member) -> httpx.Response:
    """Signed requests, each of which writes its nonce, until the disk has no room for one."""
    for _ in range(5000):
        answer = member.call(
            "POST", "/registrations", b"{}", key=RequestKey.of_patient(AccountKey.generate())
        )
        if answer.status_code >= 500:
            return answer
    raise AssertionError("the disk never ran full")
