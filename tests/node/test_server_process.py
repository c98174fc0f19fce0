"""The node as a process: it serves, ends in order, survives a kill, runs once, and says why it cannot go on."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from node_fixtures import HOSPITAL, Member, Network
from sqlalchemy import select, text, update

from ledger.follow import Checkpoint
from node.config import NodeConfig
from node.database import Database
from node.errors import ConfigurationError
from node.event_codec import decode, encode
from node.follow_store import DatabaseFollowStore
from node.node import Node
from node.tables import events


@contextmanager
def running(directory: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "node", str(directory)], stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until_listening(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if '"listening"' in line:
            return
    pytest.fail(f"the node ended with {process.wait()} before it listened")


def wait_until_ready(member: Member) -> dict[str, object]:
    waiting, deadline = threading.Event(), time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            answer = member.http.get(member.node.config.endpoint + "/ready")
            if answer.status_code == 200:
                return dict(answer.json())
        except httpx.TransportError:
            pass
        waiting.wait(0.02)
    pytest.fail("the node did not get ready")


@pytest.fixture
def member(new_network: Callable[..., Network]) -> Member:
    """A member whose node does not run in this process."""
    network = new_network({"Seoul Hospital": HOSPITAL})
    network.members[0].node.stop()
    return network.members[0]


def test_process_runs_once_survives_a_kill_and_ends_in_order(member: Member) -> None:
    with running(member.directory) as process:
        wait_until_listening(process)
        assert wait_until_ready(member)["ready"]
        with pytest.raises(ConfigurationError, match="runs already"):
            Node(NodeConfig.load(member.directory)).start()
        process.kill()
        assert process.wait() == -signal.SIGKILL
    with running(member.directory) as process:
        wait_until_listening(process)
        assert wait_until_ready(member)["ready"]
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=120)
        assert (process.returncode, json.loads(rest.splitlines()[-1])["event"]) == (0, "ended")


def test_replaced_chain_ends_the_process_with_the_reason(member: Member) -> None:
    database = Database(NodeConfig.load(member.directory).database)
    store = DatabaseFollowStore(database)
    _, checkpoint = store.load()
    assert checkpoint is not None
    store.commit([], Checkpoint(checkpoint.block_number, b"\x66" * 32, checkpoint.block_time), None)
    # The last event that was taken in is of another chain too: not only idle blocks were lost.
    last = store.last_event()
    assert last is not None
    here = (events.c.block_number == last.block_number) & (events.c.log_index == last.log_index)
    with database.begin() as connection:
        event = decode(connection.execute(select(events.c.body).where(here)).scalar_one())
        foreign = replace(event, position=replace(last, block_hash=b"\x66" * 32))
        connection.execute(update(events).where(here).values(body=encode(foreign)))
    with running(member.directory) as process:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 1
        assert told.splitlines()[-1].startswith("the node ended: block ")
        assert "not on the chain" in told


def test_configuration_that_cannot_be_used_ends_the_process_with_the_reason(member: Member) -> None:
    database = Database(NodeConfig.load(member.directory).database)
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    ended = subprocess.run(
        [sys.executable, "-m", "node", str(member.directory)], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, "schema version" in ended.stderr) == (1, True)
    assert "Traceback" not in ended.stderr


def test_port_that_is_taken_is_named_and_the_lock_given_back(new_network: Callable[..., Network]) -> None:
    first, second = new_network({"Seoul Hospital": HOSPITAL, "Busan Hospital": HOSPITAL}).members
    second.node.stop()
    settings, free = second.directory / "node.toml", second.node.config.port
    text = settings.read_text()
    settings.write_text(text.replace(f"port = {free}", f"port = {first.node.config.port}"))
    with (
        pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1 port {first.node.config.port}"),
        Node(NodeConfig.load(second.directory)),
    ):
        pytest.fail("it listens on a port that is taken")
    settings.write_text(text)
    second.restart()
    assert second.call("GET", "/health").status_code == 200
