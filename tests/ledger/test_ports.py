"""Ports that are chosen before a server takes them."""

import socket
from pathlib import Path

import pytest

from ledger.ports import PORTS, free_ports


def test_free_ports_of_many_are_different_and_can_be_bound() -> None:
    ports = free_ports(100)
    assert len(set(ports)) == 100
    for port in ports:
        with socket.socket() as server:
            server.bind(("127.0.0.1", port))


def test_free_ports_are_none_that_outgoing_connections_get() -> None:
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not given.exists():
        pytest.skip("this system does not say which ports outgoing connections get")
    lowest, highest = map(int, given.read_text().split())
    assert not set(free_ports(100)) & set(range(lowest, highest + 1))


def test_free_ports_with_some_taken_gives_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.ports.PORTS", PORTS[:3])
    with socket.socket() as server:
        server.bind(("127.0.0.1", PORTS[1]))
        server.listen()
        assert sorted(free_ports(2)) == [PORTS[0], PORTS[2]]
        with pytest.raises(OSError, match="expected 3 free TCP ports"):
            free_ports(3)
