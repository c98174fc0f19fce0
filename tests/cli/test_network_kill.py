"""A network whose processes were all killed comes back with everything that it had."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from phr_commands import run_phr


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "network"
    care = "provider,consumer,custodian"
    made = run_phr("network", "up", place, "--member", f"One={care}", "--member", f"Two={care}", "--json")
    assert made.exit_code == 0, made.err
    yield place
    run_phr("network", "down", place)


def parts_of(directory: Path) -> dict[str, dict[str, object]]:
    return {
        part["name"]: part for part in run_phr("network", "status", directory, "--json").document["parts"]
    }


def states_of(directory: Path) -> set[object]:
    return {part["state"] for part in parts_of(directory).values()}


def is_saved_while_idle(directory: Path) -> bool:
    """Whether the keeper writes down the chain's state within three blocks of which none has a transaction."""
    state, height = directory / "chain" / "state.json", height_of(directory)
    saved_at = state.stat().st_mtime_ns
    wait_until(lambda: height_of(directory) > height + 2)
    return state.stat().st_mtime_ns != saved_at


def height_of(directory: Path) -> int:
    return int(str(parts_of(directory)["One"]["final_block"] or 0))


def wait_until(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def kill(*pids: object) -> None:
    for pid in pids:
        process = psutil.Process(int(str(pid)))
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)


def test_network_up_after_kill_of_all_processes_brings_everything_back(directory: Path) -> None:
    before = run_phr("admin", "members", "--network", directory, "--json").document
    deployment = (directory / "deployment.json").read_bytes()
    kill(*(part["pid"] for part in parts_of(directory).values()))
    assert states_of(directory) == {"stopped"}
    # The engine outlived its keeper: what it takes now, nobody saves.
    events = run_phr("auditor", "verify", "--network", directory, "--json").document["events"]
    for words in (("suspend", "Two"), ("suspend", "Two", "--reinstate")):
        done = run_phr("admin", *words, "--network", directory, "--yes", "--json")
        assert done.exit_code == 0, done.err
    assert run_phr("network", "up", directory, "--json").exit_code == 0
    wait_until(lambda: states_of(directory) == {"ready"})
    assert run_phr("admin", "members", "--network", directory, "--json").document == before
    assert (directory / "deployment.json").read_bytes() == deployment
    assert run_phr("auditor", "verify", "--network", directory, "--json").document["events"] == events + 2
    # The chain's engine that outlived its keeper was ended, and a new one is kept: it ends with the network.
    assert "chain" in run_phr("network", "down", directory, "--json").document["stopped"]
    assert not [
        p for p in psutil.process_iter(["cmdline"]) if str(directory) in " ".join(p.info["cmdline"] or [])
    ]


def test_network_up_after_a_power_cut_of_an_idle_network_brings_everything_back(directory: Path) -> None:
    before = run_phr("admin", "members", "--network", directory, "--json").document
    # The last transactions of its making may be saved only now.
    wait_until(lambda: not is_saved_while_idle(directory))
    engine = json.loads((directory / "chain" / "anvil-engine.pid").read_text())["pid"]
    kill(engine, *(part["pid"] for part in parts_of(directory).values() if part["name"] != "chain"))
    again = run_phr("network", "up", directory, "--json")
    assert again.exit_code == 0, again.err
    wait_until(lambda: states_of(directory) == {"ready"})
    assert run_phr("admin", "members", "--network", directory, "--json").document == before


def test_network_down_after_kill_of_the_keeper_ends_the_engine_too(directory: Path) -> None:
    kill(parts_of(directory)["chain"]["pid"])
    assert "chain" in run_phr("network", "down", directory, "--json").document["stopped"]
    assert not [
        p for p in psutil.process_iter(["cmdline"]) if str(directory) in " ".join(p.info["cmdline"] or [])
    ]
