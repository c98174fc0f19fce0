"""Kubo daemons for tests: real ones, on free ports of 127.0.0.1, ended by the test.

With ``--store kubo`` every consortium of a run keeps its blocks in them.
"""

from base64 import b32encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import EngineNotBuilt, find_binary
from engines.kubo import KuboDaemon
from engines.kubo_swarm import KuboSwarm, create_swarm
from storage import Cid, KuboBlockStore

EMBEDDED, KUBO = "embedded", "kubo"
_PROJECT = Path(__file__).parents[2]
_chosen = EMBEDDED


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store",
        choices=(EMBEDDED, KUBO),
        default=EMBEDDED,
        help="where the nodes of tests keep blocks: in their directories, or each in a Kubo daemon",
    )


def pytest_configure(config: pytest.Config) -> None:
    global _chosen
    _chosen = config.getoption("--store")


def chosen_store() -> str:
    """Where this run's nodes keep their blocks."""
    return _chosen


def built_ipfs() -> Path:
    """The built ``ipfs``; the test is skipped, saying how to build it, when there is none."""
    try:
        return find_binary(_PROJECT, "ipfs")
    except EngineNotBuilt as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def ipfs_binary() -> Path:
    """As ``built_ipfs``."""
    return built_ipfs()


@pytest.fixture
def kubo(ipfs_binary: Path, tmp_path: Path) -> Iterator[KuboDaemon]:
    """A running daemon with an empty repository, the only one of its swarm."""
    with new_swarm(tmp_path, ipfs_binary, 1) as swarm:
        yield swarm.daemons[0]


@pytest.fixture
def kubo_pair(ipfs_binary: Path, tmp_path: Path) -> Iterator[KuboSwarm]:
    """Two running daemons that are connected."""
    with new_swarm(tmp_path, ipfs_binary, 2) as swarm:
        yield swarm


def new_swarm(directory: Path, binary: Path, count: int) -> KuboSwarm:
    """Daemons with empty repositories, not started."""
    return create_swarm([directory / f"kubo-{number}" for number in range(count)], binary)


def store_of(daemon: KuboDaemon, *, call_seconds: float = 30.0) -> KuboBlockStore:
    """The block store of a daemon."""
    return KuboBlockStore(daemon.rpc_url, daemon.secret_file.read_text().strip(), call_seconds=call_seconds)


def kubo_settings(daemon: KuboDaemon) -> dict[str, object]:
    """What a node's settings say of its daemon."""
    return {"store": KUBO, "kubo_url": daemon.rpc_url, "kubo_secret_file": str(daemon.secret_file)}


def flatfs_files(daemon: KuboDaemon, cid: Cid) -> list[Path]:
    """The file of a block in a daemon's repository: its name is the base32 of the multihash, in upper case."""
    name = b32encode(bytes(cid)[2:]).decode().rstrip("=")
    return list((daemon.repository / "blocks").rglob(f"{name}.data"))
