"""A member's Kubo (IPFS) daemon: its repository with the private configuration, and its process.

A directory holds all of one daemon: ``repository/`` (Kubo's own), ``rpc-secret`` (0600) and the process's log and pid.
Secrets lie in files of mode 0600 only: never in arguments, environment or logs.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import orjson

from crypto.private_file import atomic_write_private, read_private
from engines.errors import EngineFailed, EnginesError
from engines.kubo_config import (
    KuboPeer,
    KuboSettings,
    peer_limits,
    private_configuration,
    swarm_key_file,
    with_peers,
)
from engines.processes import STOP_TIMEOUT_SECONDS, Background, wait_for

START_TIMEOUT_SECONDS = 60.0
_REPOSITORY = "repository"
_RPC_SECRET = "rpc-secret"  # noqa: S105 - the name of a file
_LIMITS = "libp2p-resource-limit-overrides.json"
_CONFIG_LIMIT_BYTES = 1024 * 1024
_INIT_TIMEOUT_SECONDS = 60.0


def create_repository(
    directory: Path,
    binary: Path,
    *,
    swarm_key: bytes,
    rpc_port: int,
    swarm_listen: str,
    announce: str = "",
    storage_max_bytes: int | None = None,
) -> KuboPeer:
    """Makes a daemon's directory, and returns how others reach it; a directory that has one is left as it is.

    An interrupted run leaves nothing that a second one trips over.

    Args:
        binary: the built ``ipfs``.
        swarm_key: 32 bytes that all members of the swarm share.
        rpc_port: TCP port of the RPC on 127.0.0.1.
        swarm_listen: multiaddr for other members' daemons, for example ``/ip4/127.0.0.1/tcp/4001``.
        announce: the multiaddr that others dial, where it is not the one to listen on.
        storage_max_bytes: what the repository may grow to; None takes 90 % of what is free on its disk now.

    Raises:
        EnginesError: ``ipfs init`` failed; the message has its words. Or others could not dial what they are told.
    """
    if _is_any_address(swarm_listen) and not announce:
        raise EnginesError(
            f"expected the address that others dial, beside {swarm_listen}, which means any of this machine's: "
            "announce it, such as /ip4/192.0.2.10/tcp/4001"
        )
    directory = directory.absolute()
    repository = directory / _REPOSITORY
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret_file = directory / _RPC_SECRET
    if not secret_file.exists():
        atomic_write_private(secret_file, secrets.token_urlsafe(32).encode() + b"\n")
    if not repository.exists():
        if storage_max_bytes is None:
            storage_max_bytes = shutil.disk_usage(directory).free // 10 * 9
        making = directory / f"{_REPOSITORY}.making"
        shutil.rmtree(making, ignore_errors=True)
        _initialise(binary, making)
        settings = KuboSettings(rpc_port, swarm_listen, announce, storage_max_bytes)
        config = private_configuration(_read_config(making), settings, _read_secret(secret_file))
        _write_config(making, config)
        _write_json(making / _LIMITS, peer_limits(()))
        atomic_write_private(making / "swarm.key", swarm_key_file(swarm_key).encode())
        making.rename(repository)
    return read_peer(directory)


def read_peer(directory: Path) -> KuboPeer:
    """The id of a directory's daemon and where others dial it, from its configuration."""
    config = _read_config(directory.absolute() / _REPOSITORY)
    addresses = config["Addresses"]
    return KuboPeer(config["Identity"]["PeerID"], (addresses["Announce"] or addresses["Swarm"])[0])


def read_swarm_key(directory: Path) -> bytes | None:
    """The pre-shared key (32 bytes) of a directory's daemon; None where no repository was made yet."""
    path = directory.absolute() / _REPOSITORY / "swarm.key"
    if not path.exists():
        return None
    return bytes.fromhex(read_private(path, 4096).decode().split()[-1])


def set_peers(directory: Path, peers: Sequence[KuboPeer]) -> None:
    """Names the daemons that this one keeps connected to, and refuses all others; it must be restarted to learn it.

    Its own entry among them is left out.
    """
    repository = directory.absolute() / _REPOSITORY
    own = read_peer(directory).peer_id
    others = [peer for peer in peers if peer.peer_id != own]
    # The limits first: a crash between the two leaves a daemon that dials whom it refuses, never one that admits
    # a peer which was to be shut out.
    _write_json(repository / _LIMITS, peer_limits(others))
    _write_config(repository, with_peers(_read_config(repository), others))


class KuboDaemon:
    """The process of one repository, known by its directory: any program may open it, start it or stop it."""

    def __init__(self, directory: Path, binary: Path) -> None:
        """Opens a directory of ``create_repository``; nothing is started."""
        self.directory = directory.absolute()
        self.binary = binary
        self.background = Background(self.directory, "kubo")

    @property
    def secret_file(self) -> Path:
        """The file (0600) with the bearer token of the RPC."""
        return self.directory / _RPC_SECRET

    @property
    def repository(self) -> Path:
        """Kubo's own directory (``IPFS_PATH``)."""
        return self.directory / _REPOSITORY

    @property
    def rpc_url(self) -> str:
        """Where the RPC answers: ``http://127.0.0.1:<port>``."""
        return f"http://127.0.0.1:{_read_config(self.repository)['Addresses']['API'].rsplit('/', 1)[1]}"

    @property
    def peer(self) -> KuboPeer:
        """How others reach this daemon."""
        return read_peer(self.directory)

    def is_running(self) -> bool:
        """Whether the process is there; it may not answer yet."""
        return self.background.process() is not None

    def start(self, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Starts the daemon, unless it runs, and waits until its RPC answers to the secret.

        Raises:
            EngineFailed: it ended or does not answer; with its last words and the path of its log.
        """
        command = [str(self.binary), "daemon", "--migrate=false", "--enable-gc=false"]
        self.background.start(command, environment(self.repository))
        wait_for(self.background, self.answers, timeout_seconds)

    def answers(self) -> bool:
        """Whether the RPC answers to the secret now, as this daemon."""
        try:
            answer = self._post("id")
        except (httpx.TransportError, EngineFailed):
            return False
        return bool(answer["ID"] == self.peer.peer_id)

    def stop(self) -> bool:
        """Ends the daemon in good order (killed when it does not end); False when it did not run."""
        return self.background.stop()

    def kill(self) -> None:
        """Kills the daemon at once (SIGKILL), as a power cut would."""
        process = self.background.process()
        if process is not None:
            process.kill()
            process.wait(STOP_TIMEOUT_SECONDS)

    def restart(self) -> None:
        """Stops and starts it, for example after ``set_peers``."""
        self.stop()
        self.start()

    def connect(self, other: KuboPeer) -> None:
        """Connects to another daemon now; by itself it would take some seconds.

        Raises:
            EngineFailed: the other is down, has another swarm key, or one of the two does not allow the other.
        """
        self._post("swarm/connect", arg=other.multiaddr, timeout="10s")

    def connected_peers(self) -> frozenset[str]:
        """Ids of the peers that it is connected to at this moment."""
        return frozenset(peer["Peer"] for peer in self._post("swarm/peers")["Peers"] or ())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _post(self, command: str, **arguments: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {_read_secret(self.secret_file)}"}
        answer = httpx.post(
            f"{self.rpc_url}/api/v0/{command}",
            params=arguments,
            headers=headers,
            timeout=15.0,
            trust_env=False,
        )
        if answer.status_code != httpx.codes.OK:
            raise EngineFailed(
                f"Kubo in {self.directory} refused {command}: {answer.text[:500].strip()} ({answer.status_code})"
            )
        return dict(orjson.loads(answer.content))


def environment(repository: Path) -> dict[str, str]:
    """The whole environment of an ``ipfs`` process: no secret, nothing of the caller's but PATH.

    ``LIBP2P_FORCE_PNET`` makes it end rather than run without a swarm key.
    """
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": str(repository.parent),
        "IPFS_PATH": str(repository),
        "IPFS_TELEMETRY": "off",
        "LIBP2P_FORCE_PNET": "1",
    }


def _is_any_address(multiaddr: str) -> bool:
    return multiaddr.split("/")[2:3] in (["0.0.0.0"], ["::"])  # noqa: S104 - looked for, not listened on


def _initialise(binary: Path, repository: Path) -> None:
    command = [str(binary), "init", "--empty-repo", "--profile=autoconf-off,unixfs-v1-2025"]
    try:
        done = subprocess.run(
            command,
            env=environment(repository),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_INIT_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnginesError(
            f"expected {binary} to make a repository in {repository}; came: {error}"
        ) from error
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip()[-500:]
        raise EnginesError(f"expected {binary} to make a repository in {repository}; it said: {words}")
    repository.chmod(0o700)


def _read_config(repository: Path) -> dict[str, Any]:
    return dict(orjson.loads(read_private(repository / "config", _CONFIG_LIMIT_BYTES)))


def _write_config(repository: Path, config: dict[str, Any]) -> None:
    _write_json(repository / "config", config)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    atomic_write_private(path, orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")


def _read_secret(path: Path) -> str:
    return read_private(path, 4096).decode().strip()
