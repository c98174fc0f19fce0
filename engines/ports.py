"""TCP ports of this machine's loopback."""

import socket
from contextlib import ExitStack


def free_ports(count: int) -> list[int]:
    """Different TCP ports of 127.0.0.1 that nothing listened on a moment ago."""
    with ExitStack() as probes:
        ports = []
        for _ in range(count):
            probe = probes.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports.append(int(probe.getsockname()[1]))
        return ports
