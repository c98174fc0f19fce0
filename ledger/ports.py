"""TCP ports of this machine's loopback, for the engines that run on it."""

import random
import socket
import sys
from collections import deque
from contextlib import ExitStack

PORTS = range(12_000, 32_000)
"""Below those that outgoing connections get (Linux: ``ip_local_port_range``, from 32,768): any connection could take
one of those between the choice and the start of a server, or while it restarts."""
_RESERVATIONS: deque[socket.socket] = deque(maxlen=256)
"""The newest choices of this process, so that no other one chooses the same before a server listens."""


def free_ports(count: int) -> list[int]:
    """Different TCP ports of 127.0.0.1 that nothing listened on a moment ago.

    On Linux no two processes that choose by this function get the same: each choice is reserved until its process
    ends, or has chosen 256 more. Elsewhere chosen at random only, so that they hardly choose the same.

    Raises:
        OSError: nearly all of them are taken.
    """
    ports: list[int] = []
    with ExitStack() as probes:
        for port in random.SystemRandom().sample(PORTS, len(PORTS)):
            probe = probes.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
                _reserve(port)
            except OSError:
                continue
            ports.append(port)
            if len(ports) == count:
                return ports
    raise OSError(f"expected {count} free TCP ports of 127.0.0.1 among {PORTS}; found {len(ports)}")


def _reserve(port: int) -> None:
    """Takes the name of a port, which is gone with the process (unix(7): abstract socket addresses).

    Raises:
        OSError: another process, or this one, has chosen it.
    """
    if sys.platform != "linux":
        return
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(f"\0phr-port-{port}")
    except OSError:
        reservation.close()
        raise
    if len(_RESERVATIONS) == _RESERVATIONS.maxlen:
        _RESERVATIONS.popleft().close()
    _RESERVATIONS.append(reservation)
