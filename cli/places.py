"""Where things lie: the network's directory, members' directories, wallets.

<network>/network.json               engines, members, and which parts of them run on this machine
<network>/network.json.new           the same of a network that is being made; a network has it no more
<network>/deployment.json            the contract and the chain that it is on
<network>/chain/                     the chain: the embedded one's state, or a directory for each validator
<network>/postgres/                  the database server, where there is one
<network>/administrator/             the administrator's account
<network>/members/<name>/            one member's node: configuration, keys, database, blocks, log
<network>/members/<name>/kubo/       its IPFS repository, where it has one
<network>/wallets/<name>/            patients' wallets
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.json_files import read_json
from cli.texts import _
from cli.words import match_name, slug

if TYPE_CHECKING:
    from ledger.engine import Engine

SCHEMA = 2
"""Of ``network.json``. 1 had one ``url`` of the chain, and no engines of a member."""

UNFINISHED = "network.json.new"
"""What stands in place of ``network.json`` while a network is made: the parts of it that may run already."""

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
    validators: tuple[str, ...] = ()
    """The names of the validators that it runs on this machine."""
    kubo_directory: Path | None = None
    """Its IPFS repository on this machine."""


@dataclass(frozen=True)
class NetworkPlace:
    """A network, or what of it lies in one directory of this machine."""

    directory: Path
    engine_name: str
    """Which engine the chain has: a name in ``ledger.engine.ENGINES``."""
    rpc_urls: tuple[str, ...]
    """The chain's JSON-RPC endpoints, at least one."""
    members: tuple[MemberPlace, ...]
    keeps_chain: bool = True
    """Whether this machine runs the chain (the embedded one, or validators of it)."""
    has_postgres: bool = False
    """Whether a PostgreSQL server of this directory serves the nodes."""

    @property
    def rpc_url(self) -> str:
        """The first of the chain's endpoints."""
        return self.rpc_urls[0]

    @property
    def chain_directory(self) -> Path:
        """The embedded chain's directory, or that of the validators'."""
        return self.directory / "chain"

    @property
    def postgres_directory(self) -> Path:
        """The database server's directory."""
        return self.directory / "postgres"

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


def find_network(given: Path | None, *, naming: str = "") -> NetworkPlace:
    """The network that was named, or that is at hand.

    Args:
        naming: how the command is told another one; ``--network`` where nothing is said.

    Raises:
        CommandError: there is none, or its making was interrupted; says what to do.
    """
    candidates = _candidates(given)
    for directory in candidates:
        if network_exists(directory):
            return read_network(directory)
        if is_unfinished(directory):
            raise CommandError(
                _(
                    "the network in {directory} is unfinished: its making was interrupted, or goes on. "
                    "`phr network up {directory}` makes it again, `phr network down {directory}` stops what was left"
                ).format(directory=directory),
                ExitCode.NOT_FOUND,
            )
    raise CommandError(
        _(
            "no network in {places}: make one with `phr network up DIRECTORY`, or name it with {naming}"
        ).format(places=", ".join(str(directory) for directory in candidates), naming=naming or "--network"),
        ExitCode.NOT_FOUND,
    )


def find_unfinished(given: Path | None) -> NetworkPlace | None:
    """What may run of the network that was named, or is at hand, where its making was interrupted; or None."""
    for directory in _candidates(given):
        if network_exists(directory):
            return None
        if is_unfinished(directory):
            return read_network(directory, UNFINISHED)
    return None


def _candidates(given: Path | None) -> list[Path]:
    named = given or (Path(os.environ["PHR_NETWORK"]) if os.environ.get("PHR_NETWORK") else None)
    return [named] if named else [Path("."), Path("demo-run")]


def network_exists(directory: Path) -> bool:
    """Whether a network's description lies there."""
    return (directory / "network.json").is_file()


def is_unfinished(directory: Path) -> bool:
    """Whether the making of a network there was begun, and did not come to its end."""
    return not network_exists(directory) and (directory / UNFINISHED).is_file()


def read_network(directory: Path, description: str = "network.json") -> NetworkPlace:
    """The network described by a file in ``directory``.

    Raises:
        CommandError: it is no description, or one of a later schema than this program knows.
    """
    directory = directory.resolve()
    path = directory / description
    try:
        document = read_json(path)
        schema = document.get("schema", 1)
        if type(schema) is not int or not 1 <= schema <= SCHEMA:
            raise ValueError(
                _("expected a schema of at most {known}; came {schema}").format(known=SCHEMA, schema=schema)
            )
        chain = document["chain"]
        urls = tuple(str(url) for url in chain.get("urls") or [chain["url"]])
        return NetworkPlace(
            directory,
            str(chain.get("engine", "anvil")),
            urls,
            tuple(_read_member(directory, entry) for entry in document["members"]),
            bool(chain.get("kept_here", True)),
            document.get("database", "sqlite") == "postgres",
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(
            _("{path} is not a network's description: {error}").format(path=path, error=error),
            ExitCode.BAD_INPUT,
        ) from error


def _read_member(directory: Path, entry: dict[str, Any]) -> MemberPlace:
    kubo = entry.get("kubo") or ""
    return MemberPlace(
        entry["name"],
        directory / entry["directory"],
        entry["endpoint"],
        bool(entry["runs_node"]),
        tuple(str(name) for name in entry.get("validators", ())),
        directory / kubo if kubo else None,
    )


def describe_network(place: NetworkPlace) -> dict[str, Any]:
    """The content of ``network.json``: what ``read_network`` reads."""
    return {
        "schema": SCHEMA,
        "chain": {"engine": place.engine_name, "urls": list(place.rpc_urls), "kept_here": place.keeps_chain},
        "database": "postgres" if place.has_postgres else "sqlite",
        "members": [
            {
                "name": member.name,
                "directory": _below(place.directory, member.directory),
                "endpoint": member.endpoint,
                "runs_node": member.runs_node,
                "validators": list(member.validators),
                "kubo": _below(place.directory, member.kubo_directory) if member.kubo_directory else None,
            }
            for member in place.members
        ],
    }


def _below(directory: Path, path: Path) -> str:
    """Relative where it can be: a network's directory may be moved."""
    return str(path.relative_to(directory)) if path.is_relative_to(directory) else str(path)
