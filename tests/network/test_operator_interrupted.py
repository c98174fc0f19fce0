"""The making of a network on the real engines, killed: their daemons are known, stopped, and all is made again."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from interrupted_up import Moment, interrupt
from operated_network import CARE
from phr_commands import run_phr

from cli.exit_codes import ExitCode
from engines import EngineNotBuilt, find_binary
from engines.postgres_cluster import remove_cluster

pytestmark = [pytest.mark.network, pytest.mark.timeout(900)]
PROJECT = Path(__file__).parents[2]
ASKED = ("--engine", "bft", "--storage", "kubo", "--database", "postgres")
MEMBERS = ("--member", f"One={CARE}", "--member", f"Two={CARE}")
ENGINES = {"PostgreSQL", "One Kubo", "Two Kubo"} | {
    f"{member} validator{number}" for member in ("One", "Two") for number in ("", " 2")
}


@pytest.fixture
def directory(tmp_path: Path, ipfs_binary: Path) -> Iterator[Path]:
    try:
        find_binary(PROJECT, "phr-chain")
    except EngineNotBuilt as error:
        pytest.skip(str(error))
    made = tmp_path / "network"
    yield made
    run_phr("network", "down", made)
    remove_cluster(made / "postgres")


def running(*places: Path) -> list[str]:
    """The commands of all processes that have something to do with these places."""
    found = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    return [words for words in found if any(str(place) in words for place in places)]


def test_network_killed_with_all_engines_running_is_stopped_by_down_and_made_again_with_a_cluster_anew(
    directory: Path,
) -> None:
    cluster = directory / "postgres"
    # First where the cluster's place is chosen, and not made.
    for moment in (
        Moment("engines.postgres_place", "make_directory", "before"),
        Moment("cli.network_setup", "_deploy"),
    ):
        killed = interrupt(signal.SIGKILL, moment, "network", "up", directory, *ASKED, *MEMBERS)
        assert killed.returncode == -signal.SIGKILL, killed
    left = cluster.resolve()
    assert run_phr("network", "status", directory).exit_code == ExitCode.NOT_FOUND
    assert set(run_phr("network", "down", directory, "--json").document["stopped"]) == ENGINES
    assert running(directory, left) == []
    made = run_phr("network", "up", directory)
    assert made.exit_code == 0, made
    assert "is unfinished: what is there is removed" in made.out
    # Root's clusters lie elsewhere, each in a place of its own.
    assert not cluster.is_symlink() or not left.exists()
    parts = run_phr("network", "status", directory, "--json").document["parts"]
    assert {part["name"] for part in parts} == ENGINES | {"One", "Two"}
