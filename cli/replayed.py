"""The ledger as this machine can replay it: for commands that need no node, only a chain to read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.json_files import read_json
from cli.places import NetworkPlace
from cli.texts import _

if TYPE_CHECKING:
    from ledger.chain import Chain
    from ledger.deploy import Deployment


def read_deployment(path: Path) -> "Deployment":
    """The deployment that a network's directory names."""
    from ledger.deploy import Deployment

    try:
        return Deployment.from_json(read_json(path))
    except FileNotFoundError as error:
        raise CommandError(
            _("there is no {path}: copy the network's deployment.json there").format(path=path),
            ExitCode.NOT_FOUND,
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(
            _("{path} does not describe a deployment: {error}").format(path=path, error=error),
            ExitCode.BAD_INPUT,
        ) from error


@contextmanager
def open_chain(place: NetworkPlace) -> "Iterator[tuple[Chain, Deployment]]":
    """A client of the network's chain, and which contract on it is ours."""
    from ledger.endpoints import connect

    deployment = read_deployment(place.deployment_path)
    with connect(place.rpc_urls or (place.rpc_url,), place.engine, deployment) as chain:
        yield chain, deployment
