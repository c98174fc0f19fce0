"""Writing what a network's directory says of it, and reading what an unfinished one was to be."""

from dataclasses import replace
from pathlib import Path

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.json_files import json_bytes, read_json
from cli.network_plan import Plan
from cli.places import UNFINISHED, NetworkPlace, describe_network, is_unfinished
from cli.texts import _
from crypto.private_file import atomic_write_private


def write_network(place: NetworkPlace) -> None:
    """Replace the description of a network, whole or not at all."""
    atomic_write_private(place.directory / "network.json", json_bytes(describe_network(place)))


def write_unfinished(place: NetworkPlace, plan: Plan) -> None:
    """Replace the description of a network that is being made: the parts that may run, and what it is to be."""
    document = describe_network(place) | {"plan": plan.document()}
    atomic_write_private(place.directory / UNFINISHED, json_bytes(document))


def without_parts(place: NetworkPlace) -> NetworkPlace:
    """The network while nothing of it runs, and not all of it is there: neither members nor engines."""
    return replace(place, members=(), keeps_chain=False, has_postgres=False)


def read_plan(directory: Path) -> Plan | None:
    """What an unfinished network was to be; None where none is there.

    Raises:
        CommandError: its description does not say it.
    """
    if not is_unfinished(directory):
        return None
    path = directory / UNFINISHED
    try:
        return Plan.read(read_json(path)["plan"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CommandError(
            _(
                "{path} does not say what the network was to be: repeat the options that it was made with"
            ).format(path=path),
            ExitCode.BAD_INPUT,
        ) from error
