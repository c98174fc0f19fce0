"""Where things lie: the network's directory, members' directories, wallets.

<network>/network.json       chain, deployment, members
<network>/deployment.json    the contract and the chain that it is on
<network>/chain/             the embedded chain's state and log
<network>/administrator/     the administrator's account
<network>/members/<name>/    one member's node: configuration, keys, database, blocks, log
<network>/wallets/<name>/    patients' wallets
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.json_files import read_json
from cli.texts import _
from cli.words import match_name, slug

if TYPE_CHECKING:
    from ledger.engine import Engine

NETWORK_OPTION = typer.Option(
    None,
    "--network",
    help=_("The network's directory. Default: $PHR_NETWORK, else here, else ./demo-run."),
)


@dataclass(frozen=True)
class MemberPlace:
    """A member's node on this machine."""

    name: str
    directory: Path
    endpoint: str
    runs_node: bool
    """False for a member that only has keys, such as an auditor's."""


@dataclass(frozen=True)
class NetworkPlace:
    """A network whose parts lie in one directory of this machine."""

    directory: Path
    rpc_url: str
    members: tuple[MemberPlace, ...]
    engine_name: str = "anvil"
    """Which engine answers there (``ledger.engine.ENGINES``)."""
    rpc_urls: tuple[str, ...] = ()
    """The endpoints of all validators, where the chain has more than one."""

    @property
    def engine(self) -> "Engine":
        """How to talk to the network's chain; CommandError where this version does not know its engine."""
        from ledger.engine import ENGINES

        try:
            return ENGINES[self.engine_name]
        except KeyError:
            raise CommandError(
                _("{path} names the engine {engine}; this version knows {known}").format(
                    path=self.directory / "network.json", engine=self.engine_name, known=", ".join(ENGINES)
                ),
                ExitCode.BAD_INPUT,
            ) from None

    @property
    def deployment_path(self) -> Path:
        """The file that names contract, chain and block of deployment."""
        return self.directory / "deployment.json"

    @property
    def administrator_directory(self) -> Path:
        """Where the administrator's key file is."""
        return self.directory / "administrator"

    @property
    def wallets_directory(self) -> Path:
        """Where patients' wallets of this machine are."""
        return self.directory / "wallets"

    def member(self, typed: str) -> MemberPlace:
        """The member of this machine whose name was typed, whole or in part."""
        return self.members[match_name(typed, [m.name for m in self.members], _("member here"))]

    def member_with_node(self, typed: str) -> MemberPlace:
        """The same, where its node is needed.

        Raises:
            CommandError: there is none of that name, or it has only keys.
        """
        found = self.member(typed)
        if not found.runs_node:
            raise CommandError(
                _("{name} has only keys and runs no node; its commands are `phr auditor`").format(
                    name=found.name
                ),
                ExitCode.REFUSED,
            )
        return found

    def wallet_path(self, typed: str) -> Path:
        """The vault file of a wallet by its name, or by its path when it has a separator."""
        if os.sep in typed:
            return Path(typed)
        return self.wallets_directory / slug(typed) / "wallet.vault"


def find_network(given: Path | None) -> NetworkPlace:
    """The network that was named, or that is at hand.

    Raises:
        CommandError: there is none; says how to make one.
    """
    named = given or (Path(os.environ["PHR_NETWORK"]) if os.environ.get("PHR_NETWORK") else None)
    candidates = [named] if named else [Path("."), Path("demo-run")]
    for directory in candidates:
        if network_exists(directory):
            return read_network(directory)
    raise CommandError(
        _(
            "no network in {places}: make one with `phr network up DIRECTORY`, or name it with --network"
        ).format(places=", ".join(str(directory) for directory in candidates)),
        ExitCode.NOT_FOUND,
    )


def network_exists(directory: Path) -> bool:
    """Whether a network's description lies there."""
    return (directory / "network.json").is_file()


def read_network(directory: Path, description: str = "network.json") -> NetworkPlace:
    """The network described by a file in ``directory``."""
    directory = directory.resolve()
    try:
        document = read_json(directory / description)
        members = tuple(
            MemberPlace(
                entry["name"], directory / entry["directory"], entry["endpoint"], bool(entry["runs_node"])
            )
            for entry in document["members"]
        )
        chain = document["chain"]
        urls = tuple(str(url) for url in chain.get("urls", ()))
        return NetworkPlace(directory, str(chain["url"]), members, str(chain.get("engine", "anvil")), urls)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(
            _("{path} is not a network's description: {error}").format(
                path=directory / description, error=error
            ),
            ExitCode.BAD_INPUT,
        ) from error
