"""`phr network`: a network of members on this machine, for trying and for development."""

from pathlib import Path

import typer

from cli.output import JSON_OPTION, emit_json, say, table
from cli.texts import _

app = typer.Typer(no_args_is_help=True)

_DIRECTORY = typer.Argument(
    None, help=_("The network's directory. Default: $PHR_NETWORK, else here, else ./demo-run.")
)


@app.command(epilog='phr network up my-network --member "Seoul Hospital=provider,consumer,custodian"')
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
    as_json: bool = JSON_OPTION,
) -> None:
    """Start a network: make it where there is none, else bring it back with all that it had."""
    from cli.network_processes import start_network
    from cli.network_setup import DEFAULT_MEMBERS, create_network, parse_member
    from cli.places import find_network, network_exists

    if directory is not None and not network_exists(directory):
        planned = tuple(parse_member(text) for text in member) or DEFAULT_MEMBERS
        create_network(directory, planned, threshold, say=_quiet if as_json else say)
    place = find_network(directory)
    start_network(place, say=_quiet if as_json else say)
    status(directory, as_json)


def _quiet(_sentence: str) -> None:
    """For machines: the one document is all that is printed."""


@app.command(epilog="phr network down")
def down(directory: Path | None = _DIRECTORY, as_json: bool = JSON_OPTION) -> None:
    """Stop the network; everything that it had is kept."""
    from cli.network_processes import stop_network
    from cli.places import find_network

    stopped = stop_network(find_network(directory))
    if as_json:
        return emit_json({"stopped": stopped})
    say(_("Stopped: {names}.").format(names=", ".join(stopped)) if stopped else _("Nothing was running."))


@app.command(epilog="phr network status")
def status(directory: Path | None = _DIRECTORY, as_json: bool = JSON_OPTION) -> None:
    """Show what runs, and how far each node has followed the chain."""
    from cli.network_processes import network_status
    from cli.places import find_network

    place = find_network(directory)
    parts = network_status(place)
    if as_json:
        return emit_json({"directory": str(place.directory), "parts": [part.document() for part in parts]})
    table(
        [_("part"), _("state"), _("at"), _("final block"), _("process"), _("memory"), _("note")],
        [
            (
                part.name,
                part.state,
                part.endpoint,
                "" if part.final_block is None else part.final_block,
                part.pid or "",
                "" if part.memory_bytes is None else f"{part.memory_bytes / 2**20:.0f} MiB",
                part.note,
            )
            for part in parts
        ],
        empty=_("The network has no parts."),
    )
