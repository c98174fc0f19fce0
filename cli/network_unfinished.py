"""A network whose making was interrupted: what it left is told from other people's files, stopped and removed."""

import shutil
from pathlib import Path

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.network_description import without_parts, write_unfinished
from cli.network_parts import stages_of
from cli.network_plan import Plan
from cli.network_processes import LOCK_FILE, stop_parts
from cli.places import UNFINISHED, is_unfinished, read_network
from cli.texts import _
from engines.postgres_cluster import remove_cluster
from engines.postgres_place import lies_elsewhere

_CLUSTER = "postgres"
_DIRECTORIES = ("administrator", "chain", "members", _CLUSTER)
_FILES = ("deployment.json", LOCK_FILE, UNFINISHED)
"""With the directories all that ``network_setup`` makes before a network is finished."""


def check_directory(directory: Path) -> None:
    """Look whether a network can be made there: where nothing is, or an unfinished one alone.

    Raises:
        CommandError: something else is there, which nobody removes.
    """
    if directory.exists() and not directory.is_dir():
        raise CommandError(
            _("expected a directory; {path} is something else").format(path=directory), ExitCode.BAD_INPUT
        )
    if not directory.exists():
        return
    if not is_unfinished(directory):
        if any(_written(path) not in (LOCK_FILE, UNFINISHED) for path in directory.iterdir()):
            raise CommandError(
                _("{directory} is not empty and holds no network; name a new directory").format(
                    directory=directory
                ),
                ExitCode.BAD_INPUT,
            )
        return
    others = sorted(path.name for path in directory.iterdir() if not _is_of_the_making(path))
    # Nodes run in a finished network only.
    others += sorted(str(path.relative_to(directory)) for path in directory.glob("members/*/node.log"))
    if others:
        raise CommandError(
            _(
                "{directory} holds an unfinished network and {others}, which its making did not write: move that "
                "away, or name a new directory"
            ).format(directory=directory, others=", ".join(others)),
            ExitCode.BAD_INPUT,
        )


def _is_of_the_making(path: Path) -> bool:
    if path.is_symlink():
        return path.name == _CLUSTER and lies_elsewhere(path)
    return path.name in _DIRECTORIES if path.is_dir() else _written(path) in _FILES


def _written(path: Path) -> str:
    """The name of a file, also while ``crypto.private_file`` writes it, which a killed one may leave behind."""
    if path.name.startswith(".") and path.suffix == ".tmp":
        return path.name[1:].removesuffix(".tmp").rpartition(".")[0]
    return path.name


def remove_unfinished(directory: Path, plan: Plan) -> None:
    """Stop and remove what an interrupted making left, for whoever holds the lock and has checked the directory.

    ``network.json.new`` stays, of a network without parts: interrupted, this is begun anew.

    Args:
        plan: what is made in its place.

    Raises:
        CommandError: a part cannot be stopped; nothing was removed.
        EngineFailed, OSError: something cannot be removed.
    """
    place = read_network(directory, UNFINISHED)
    _stopped, failures = stop_parts(stages_of(place))
    if failures:
        raise CommandError("; ".join(failure.sentence for failure in failures), ExitCode.FAILED)
    write_unfinished(without_parts(place), plan)
    # First, since root's lies elsewhere, and only the link in this directory tells where.
    remove_cluster(directory / _CLUSTER)
    for path in directory.iterdir():
        if path.name in _DIRECTORIES:
            shutil.rmtree(path)
        elif path.name not in (LOCK_FILE, UNFINISHED):
            path.unlink()
