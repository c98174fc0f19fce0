"""Ports that are chosen before a server takes them."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ledger import ports
from ledger.ports import free_ports


def test_free_ports_of_many_are_different_and_can_be_bound() -> None:
    chosen = free_ports(100)
    assert len(set(chosen)) == 100
    for port in chosen:
        with socket.socket() as server:
            server.bind(("127.0.0.1", port))


def test_free_ports_are_none_that_outgoing_connections_get() -> None:
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not given.exists():
        pytest.skip("this system does not say which ports outgoing connections get")
    lowest, highest = map(int, given.read_text().split())
    assert not set(free_ports(100)) & set(range(lowest, highest + 1))


def test_free_ports_with_some_taken_gives_others(monkeypatch: pytest.MonkeyPatch) -> None:
    few = free_ports(3)
    for reservation in list(ports._RESERVATIONS)[-3:]:
        reservation.close()
    monkeypatch.setattr(ports, "PORTS", few)
    with socket.socket() as server:
        server.bind(("127.0.0.1", few[1]))
        server.listen()
        assert sorted(free_ports(2)) == sorted([few[0], few[2]])
        with pytest.raises(OSError, match="expected 1 free TCP ports"):
            free_ports(1)


@pytest.mark.skipif(sys.platform != "linux", reason="choices are reserved on Linux only")
def test_free_ports_chosen_by_another_process_are_not_chosen_before_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choosing = "from ledger.ports import free_ports; print(*free_ports(20), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", choosing], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        chosen = [int(port) for port in other.stdout.readline().split()]
        assert len(chosen) == 20
        monkeypatch.setattr(ports, "PORTS", chosen)
        with pytest.raises(OSError, match="expected 1 free TCP ports"):
            free_ports(1)
        other.stdin.write("\n")
        other.stdin.flush()
        other.wait(60)
    assert sorted(free_ports(20)) == sorted(chosen)


@pytest.mark.skipif(sys.platform != "linux", reason="choices are reserved on Linux only")
def test_free_ports_of_many_choices_leave_no_more_than_some_sockets_open() -> None:
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(40):
        free_ports(20)
    assert len(list(Path("/proc/self/fd").iterdir())) <= open_before + 256
