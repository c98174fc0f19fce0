"""`phr network`: a network of members on this machine, for trying and for development."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.network_changes import member_app, validator_app
from cli.output import JSON_OPTION, emit_json, say, table
from cli.texts import _

if TYPE_CHECKING:
    from cli.network_status import PartStatus
    from cli.places import NetworkPlace

app = typer.Typer(no_args_is_help=True)
app.add_typer(member_app, name="member", help=_("Members that come and go."))
app.add_typer(validator_app, name="validator", help=_("Validators of the chain that come and go."))

_DIRECTORY = typer.Argument(
    None, help=_("The network's directory. Default: $PHR_NETWORK, else here, else ./demo-run.")
)


@app.command(
    epilog="phr network up my-network --engine bft --storage kubo --database postgres",
)
def up(
    directory: Path | None = _DIRECTORY,
    member: list[str] = typer.Option(
        [],
        "--member",
        help=_('For a new network: "NAME=role,role"; default two hospitals, a clinic and an authority.'),
    ),
    threshold: int = typer.Option(
        2, "--threshold", min=2, max=32, help=_("For a new network: shares that open a record.")
    ),
    engine: str | None = typer.Option(
        None,
        "--engine",
        help=_("For a new network: its chain, anvil (embedded, the default) or bft (validators)."),
    ),
    storage: str | None = typer.Option(
        None,
        "--storage",
        help=_("For a new network: embedded (the default), or kubo: IPFS for each custodian."),
    ),
    database: str | None = typer.Option(
        None, "--database", help=_("For a new network: sqlite (the default) or postgres.")
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Start a network: make it where there is none, else bring it back with all that it had."""
    from cli.network_description import read_plan
    from cli.network_plan import EngineChoice, Plan, parse_members
    from cli.network_processes import start_network
    from cli.network_setup import create_network
    from cli.places import find_network, network_exists

    tell = _quiet if as_json else say
    asked = EngineChoice(engine, storage, database)
    if directory is not None and not network_exists(directory):
        plan = Plan(parse_members(member), threshold, *asked.completed())
        # Where nothing is said of what it is to be, an unfinished one becomes what it was to be.
        before = read_plan(directory) if asked == EngineChoice() and plan == Plan() else None
        create_network(directory, before or plan, tell)
    place = find_network(directory, naming=_("`phr network up DIRECTORY`"))
    asked.check_made(place)
    start_network(place, tell)
    # It has waited until all were ready: how they are a moment later is no failure of starting them.
    _show(place, as_json)


def _quiet(_sentence: str) -> None:
    """For machines: the one document is all that is printed."""


@app.command(
    epilog="phr network join consortium --rpc http://127.0.0.1:8545 --deployment deployment.json "
    "--node /var/lib/phr-node"
)
def join(
    directory: Path = typer.Argument(
        help=_("A new directory, which describes the network to other commands.")
    ),
    rpc: list[str] = typer.Option(
        ..., "--rpc", help=_("The chain's JSON-RPC URL; several are allowed, the own validator's first.")
    ),
    deployment: Path = typer.Option(
        ..., "--deployment", help=_("The file that names the contract and its chain.")
    ),
    engine: str = typer.Option("bft", "--engine", help=_("Which engine the chain has.")),
    node: Path | None = typer.Option(
        None, "--node", help=_("The directory of this organisation's node, where it has one here.")
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Describe a consortium's network on this machine, which runs one member of it or none; verify its contract."""
    from cli.joining import join_network

    joined = join_network(directory, rpc, engine, deployment, node)
    administrator, threshold = joined.origin.administrator, joined.origin.minimum_threshold
    if as_json:
        return emit_json(
            {
                "directory": str(joined.place.directory),
                "contract": joined.deployment.address,
                "administrator": administrator,
                "minimum_threshold": threshold,
                "members": [member.name for member in joined.place.members],
            }
        )
    say(
        _("The contract 0x{contract} was made from the code that this program has.").format(
            contract=joined.deployment.address.hex()
        )
    )
    say(
        _("Its administrator is 0x{administrator}; a record needs {threshold} shares at least.").format(
            administrator=administrator.hex(), threshold=threshold
        )
    )
    say(_("Other commands find it with --network {directory}.").format(directory=joined.place.directory))


@app.command(epilog="phr network down")
def down(directory: Path | None = _DIRECTORY, as_json: bool = JSON_OPTION) -> None:
    """Stop the network; everything that it had is kept."""
    from cli.network_processes import stop_network
    from cli.places import find_network, find_unfinished

    unfinished = find_unfinished(directory)
    stopped = stop_network(unfinished or find_network(directory, naming=_("`phr network down DIRECTORY`")))
    if as_json:
        return emit_json({"stopped": stopped})
    say(_("Stopped: {names}.").format(names=", ".join(stopped)) if stopped else _("Nothing was running."))
    if unfinished:
        say(
            _("The network is unfinished: `phr network up {directory}` makes it again.").format(
                directory=unfinished.directory
            )
        )


@app.command(epilog="phr network status")
def status(directory: Path | None = _DIRECTORY, as_json: bool = JSON_OPTION) -> None:
    """Show what runs, how far each part has followed the chain, and what ails it.

    Ends with exit code 5 when a part is stopped or not ready, also when the whole network is down; a member that is
    suspended, or has keys only, is no failure.
    """
    from cli.places import find_network
    from cli.status_table import failure

    place = find_network(directory, naming=_("`phr network status DIRECTORY`"))
    if sentence := failure(_show(place, as_json), place.directory):
        raise CommandError(sentence, ExitCode.UNREACHABLE)


def _show(place: "NetworkPlace", as_json: bool) -> "list[PartStatus]":
    """Print how each part is now; the same."""
    from cli import status_table
    from cli.network_status import chain_summary, network_status

    parts = network_status(place)
    chain = chain_summary(parts)
    if as_json:
        emit_json(
            {
                "directory": str(place.directory),
                "chain": {"engine": place.engine_name, **chain},
                "parts": [part.document() for part in parts],
            }
        )
        return parts
    say(_chain_line(place.engine_name, chain))
    table(
        status_table.columns(),
        [status_table.row(part) for part in parts],
        empty=_("The network has no parts."),
        left_out_first=status_table.LEFT_OUT_FIRST,
        never_folded=status_table.NEVER_FOLDED,
    )
    for line in status_table.notes(parts):
        say(line)
    return parts


def _chain_line(engine: str, chain: dict[str, Any]) -> str:
    if chain["height"] is None:
        line = _("Chain ({engine}): no part that answers knows its final block.").format(engine=engine)
    else:
        line = _("Chain ({engine}): final block {height}, {age:.1f} s old.").format(
            engine=engine, height=chain["height"], age=chain["final_age_seconds"]
        )
    if chain["validators"]:
        line += " " + _("{up} of {all} validators are up.").format(
            up=chain["validators_up"], all=chain["validators"]
        )
    return line
