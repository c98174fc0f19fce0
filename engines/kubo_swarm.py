"""Several Kubo daemons of one machine as a private swarm: one a member, each naming the others."""

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from typing import Self

from engines.kubo import KuboDaemon, create_repository, read_swarm_key, set_peers
from engines.kubo_config import new_swarm_key
from ledger.ports import free_ports


class KuboSwarm:
    """Daemons that know each other, started and stopped together."""

    def __init__(self, daemons: Sequence[KuboDaemon]) -> None:
        """Takes daemons whose directories are ready (``create_swarm``)."""
        self.daemons = tuple(daemons)

    def start(self) -> None:
        """Starts all and connects each pair; left to themselves they would need 8 to 12 seconds.

        Raises:
            EngineFailed: one does not start, or refuses another; those started so far are stopped.
        """
        with ExitStack() as started:
            for daemon in self.daemons:
                started.callback(daemon.stop)
                daemon.start()
            self.connect()
            started.pop_all()

    def connect(self) -> None:
        """Connects each pair now.

        Raises:
            EngineFailed: as ``KuboDaemon.connect``.
        """
        for one, other in combinations(self.daemons, 2):
            one.connect(other.peer)

    def stop(self) -> None:
        """Stops all."""
        for daemon in self.daemons:
            daemon.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def create_swarm(
    directories: Sequence[Path], binary: Path, *, ports: Sequence[tuple[int, int]] | None = None
) -> KuboSwarm:
    """Makes a swarm on this machine, a directory and two ports a daemon; directories made before keep what they have.

    Between organisations each makes its own (``create_repository``) with a key agreed on, sends its ``KuboPeer`` to the
    others, and enters theirs (``set_peers``): ``docs/operations.md``.

    Args:
        ports: for each daemon the TCP ports on 127.0.0.1 of its RPC and of its swarm; None takes free ones.

    Raises:
        EnginesError: as ``create_repository``.
    """
    if ports is None:
        free = iter(free_ports(2 * len(directories)))
        ports = [(next(free), next(free)) for _ in directories]
    # A swarm that grows keeps its key: who has another cannot connect.
    known = (read_swarm_key(directory) for directory in directories)
    swarm_key = next((key for key in known if key is not None), None) or new_swarm_key()
    peers = [
        create_repository(
            directory,
            binary,
            swarm_key=swarm_key,
            rpc_port=rpc_port,
            swarm_listen=f"/ip4/127.0.0.1/tcp/{swarm_port}",
        )
        for directory, (rpc_port, swarm_port) in zip(directories, ports, strict=True)
    ]
    for directory in directories:
        set_peers(directory, peers)
    return KuboSwarm([KuboDaemon(directory, binary) for directory in directories])
