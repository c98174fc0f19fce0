"""TCP ports of this machine's loopback, for the engines that run on it."""

import random
import socket
from contextlib import ExitStack

PORTS = range(12_000, 32_000)
"""Below those that outgoing connections get (Linux: ``ip_local_port_range``, from 32,768): any connection could take
one of those between the choice and the start of a server, or while it restarts."""


def free_ports(count: int) -> list[int]:
    """Different TCP ports of 127.0.0.1 that nothing listened on a moment ago.

    Chosen at random, so that programs that start at the same time hardly choose the same.

    Raises:
        OSError: nearly all of them are taken.
    """
    ports: list[int] = []
    with ExitStack() as probes:
        for port in random.SystemRandom().sample(PORTS, len(PORTS)):
            probe = probes.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(port)
            if len(ports) == count:
                return ports
    raise OSError(f"expected {count} free TCP ports of 127.0.0.1 among {PORTS}; found {len(ports)}")
