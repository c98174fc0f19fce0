"""`phr node`: a member's own node on its own machine."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.output import JSON_OPTION, emit_json, say, table
from cli.saving import check_new_file, save
from cli.texts import _

if TYPE_CHECKING:
    from wire.staff import PeerStatus, ReplicationStatus

app = typer.Typer(no_args_is_help=True)

_DIRECTORY = typer.Argument(help=_("The node's directory."))


@app.command(
    epilog='phr node init seoul --name "Seoul Hospital" --endpoint https://seoul.example --port 8080 '
    "--rpc http://127.0.0.1:8545 --deployment deployment.json"
)
def init(
    directory: Path = _DIRECTORY,
    name: str = typer.Option(..., "--name", help=_("The organisation's name, as all will see it.")),
    endpoint: str = typer.Option(..., "--endpoint", help=_("The URL under which others reach this node.")),
    rpc: str = typer.Option(..., "--rpc", help=_("The chain's JSON-RPC URL.")),
    deployment: Path = typer.Option(
        ..., "--deployment", help=_("The file that names the contract and its chain.")
    ),
    host: str = typer.Option("127.0.0.1", "--host", help=_("The address to listen on.")),
    port: int = typer.Option(8080, "--port", min=1, max=65535, help=_("The port to listen on.")),
    as_json: bool = JSON_OPTION,
) -> None:
    """Make a node: its keys, its database, its first staff token, and the enrolment for the administrator."""
    from node.initialise import initialise_node

    initialise_node(
        directory, name=name, endpoint=endpoint, host=host, port=port, rpc_url=rpc, deployment=deployment
    )
    enrolment_path = directory / "enrolment.json"
    if as_json:
        return emit_json({"directory": str(directory), "enrolment": str(enrolment_path)})
    say(_("Send {path} to the consortium's administrator; it holds no secret.").format(path=enrolment_path))
    say(_("Keys, passphrase and the first staff token are in {path}: back it up.").format(path=directory))


@app.command(epilog="phr node enrolment seoul")
def enrolment(directory: Path = _DIRECTORY, as_json: bool = JSON_OPTION) -> None:
    """Make a fresh enrolment of a node's keys, when the first one has become too old."""
    from node.initialise import renew_enrolment

    path = renew_enrolment(directory)
    if as_json:
        return emit_json({"enrolment": str(path)})
    say(_("Send {path} to the consortium's administrator; it holds no secret.").format(path=path))


@app.command(epilog="phr node staff seoul park --role physician --token-file park.token")
def staff(
    directory: Path = _DIRECTORY,
    name: str = typer.Argument(help=_("The person's staff number or name, as auditors will see it.")),
    role: str | None = typer.Option(
        None, "--role", help=_("What the person does, such as physician or records clerk.")
    ),
    token_file: Path | None = typer.Option(
        None, "--token-file", help=_("Write the new token into this new private file.")
    ),
    end: bool = typer.Option(False, "--end", help=_("End this person's tokens instead.")),
    as_json: bool = JSON_OPTION,
) -> None:
    """Give a member of staff a token of their own: who read what is recorded by person."""
    from node.initialise import add_staff, end_staff

    if end:
        end_staff(directory, name)
        said = _("{name} can no longer use this node.").format(name=name)
    elif role is None or token_file is None:
        raise CommandError(_("expected --role and --token-file, or --end"), ExitCode.USAGE)
    else:
        check_new_file(token_file)
        save(token_file, (add_staff(directory, name, role) + "\n").encode())
        said = _("The token of {name} is in {path}.").format(name=name, path=token_file)
    if as_json:
        return emit_json({"staff_id": name, "active": not end})
    say(said)


@app.command(epilog="phr node run seoul")
def run(directory: Path = _DIRECTORY) -> None:
    """Run the node until it is told to stop."""
    from node.server import run as run_server

    run_server(directory)


@app.command(epilog="phr node status seoul")
def status(directory: Path = _DIRECTORY, as_json: bool = JSON_OPTION) -> None:
    """Show how a running node is."""
    from cli.staff_client import StaffClient
    from node.config import NodeConfig
    from wire.staff import NodeStatus

    config = NodeConfig.load(directory)
    client = StaffClient.of_member(f"http://{config.host}:{config.port}", config.directory)
    shown = client.get("/staff/status", NodeStatus)
    if as_json:
        return emit_json(shown)
    table(
        [_("what"), _("how")],
        [
            (_("member"), f"{shown.name} (0x{shown.member.hex()})"),
            (_("ready"), _("yes") if shown.ready else _("no")),
            *((_("problem"), problem) for problem in shown.problems),
            *((_("warning"), warning) for warning in shown.warnings),
            (_("final block"), f"{shown.final_block}, {shown.final_age_seconds:.1f} s"),
            (_("records held"), shown.records_held),
            (_("deposits without a record"), shown.deposits_without_record),
            (_("publications in progress"), shown.publications_in_progress),
            (_("transactions in flight"), shown.transactions_in_flight),
            (_("ciphertext"), f"{shown.ciphertext_bytes / 2**20:.1f} MiB"),
            *_replication_rows(shown.replication),
            *((_("custodian"), _peer_words(peer)) for peer in shown.peers),
        ],
        empty="",
    )


def _replication_rows(shown: "ReplicationStatus") -> list[tuple[str, str]]:
    """What a person should know of copies: only what is wrong takes a line of its own."""
    ago = (
        _("not yet")
        if shown.last_run_at is None
        else _("{seconds} s ago").format(seconds=max(0, int(time.time()) - shown.last_run_at))
    )
    held = _("{full} whole; checked {ago}, {due} to check").format(
        full=shown.held_full, ago=ago, due=shown.to_check
    )
    published = _("{all}, of which {some} lack a copy").format(
        all=shown.published, some=shown.published_under_replicated
    )
    rows = [(_("copies held here"), held), (_("records published"), published)]
    if shown.blocks_missing:
        text = _("blocks of {count} records; they are being fetched").format(count=shown.blocks_missing)
        rows.append((_("missing here"), text))
    if shown.wraps_missing:
        text = _("shares of {count} records; restore the database, or their authors publish them anew")
        rows.append((_("missing here"), text.format(count=shown.wraps_missing)))
    if shown.unknown:
        rows.append((_("not looked at yet"), str(shown.unknown)))
    return rows


def _peer_words(peer: "PeerStatus") -> str:
    if peer.calls != "closed":
        return _("{name}: does not answer").format(name=peer.name)
    return (_("{name}: ready") if peer.ready else _("{name}: not ready")).format(name=peer.name)
