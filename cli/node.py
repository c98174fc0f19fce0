"""`phr node`: a member's own node on its own machine."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.moving import move_blocks
from cli.output import JSON_OPTION, emit_json, say, table, working
from cli.saving import check_new_file, save
from cli.texts import _

if TYPE_CHECKING:
    from wire.staff import NodeStatus, PeerStatus, ReplicationStatus

app = typer.Typer(no_args_is_help=True)

_DIRECTORY = typer.Argument(help=_("The node's directory."))


@app.command(epilog="phr node keys seoul")
def keys(directory: Path = _DIRECTORY, as_json: bool = JSON_OPTION) -> None:
    """Make a node's keys only, before there is a ledger: the chain's genesis names the members' accounts."""
    from node.initialise import make_keys

    account = make_keys(directory)
    if as_json:
        return emit_json({"directory": str(directory), "account": account})
    say(_("This member's account is 0x{account}.").format(account=account.hex()))
    say(_("Keys and passphrase are in {path}: back it up.").format(path=directory))


@app.command(
    epilog='phr node init seoul --name "Seoul Hospital" --endpoint https://seoul.example --port 8080 '
    "--rpc http://127.0.0.1:8545 --deployment deployment.json"
)
def init(
    directory: Path = _DIRECTORY,
    name: str = typer.Option(..., "--name", help=_("The organisation's name, as all will see it.")),
    endpoint: str = typer.Option(..., "--endpoint", help=_("The URL under which others reach this node.")),
    rpc: list[str] = typer.Option(
        ..., "--rpc", help=_("The chain's JSON-RPC URL; several are allowed, the own validator's first.")
    ),
    deployment: Path = typer.Option(
        ..., "--deployment", help=_("The file that names the contract and its chain.")
    ),
    host: str = typer.Option("127.0.0.1", "--host", help=_("The address to listen on.")),
    port: int = typer.Option(8080, "--port", min=1, max=65535, help=_("The port to listen on.")),
    engine: str = typer.Option("anvil", "--engine", help=_("Which engine the chain has: anvil or bft.")),
    store: str = typer.Option("embedded", "--store", help=_("Where blocks are kept: embedded or kubo.")),
    kubo_url: str | None = typer.Option(None, "--kubo-url", help=_("Where Kubo's RPC answers.")),
    kubo_secret_file: Path | None = typer.Option(
        None, "--kubo-secret-file", help=_("A private file (0600) with the secret of Kubo's RPC.")
    ),
    database_url: str | None = typer.Option(
        None, "--database-url", help=_("An SQLAlchemy URL without a password. Default: SQLite, here.")
    ),
    database_url_file: Path | None = typer.Option(
        None, "--database-url-file", help=_("A private file (0600) with such a URL and its password.")
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Make a node: its keys, its database, its first staff token, and the enrolment for the administrator."""
    from node.initialise import initialise_node

    further = {
        "kubo_url": kubo_url,
        "kubo_secret_file": kubo_secret_file and kubo_secret_file.absolute(),
        "database_url": database_url,
        "database_url_file": database_url_file and database_url_file.absolute(),
    }
    initialise_node(
        directory,
        name=name,
        endpoint=endpoint,
        host=host,
        port=port,
        # One endpoint stays readable by a node of the first version.
        rpc_url=rpc[0] if len(rpc) == 1 else "",
        rpc_urls=rpc if len(rpc) > 1 else (),
        engine=engine,
        deployment=deployment,
        further={"store": store} | {key: value for key, value in further.items() if value is not None},
    )
    enrolment_path = directory / "enrolment.json"
    if as_json:
        return emit_json({"directory": str(directory), "enrolment": str(enrolment_path)})
    say(_("Send {path} to the consortium's administrator; it holds no secret.").format(path=enrolment_path))
    say(_("Keys, passphrase and the first staff token are in {path}: back it up.").format(path=directory))


@app.command(
    epilog="phr node kubo seoul-kubo --swarm-key swarm.key --listen /ip4/192.0.2.10/tcp/4001; "
    "then phr node kubo seoul-kubo --peer busan.peer.json --peer hanok.peer.json"
)
def kubo(
    directory: Path = typer.Argument(help=_("The directory of this custodian's Kubo.")),
    swarm_key: Path | None = typer.Option(
        None, "--swarm-key", help=_("The private file (0600) with the key that all custodians share.")
    ),
    make_swarm_key: bool = typer.Option(
        False, "--make-swarm-key", help=_("Make that file: one custodian does, and gives it to the others.")
    ),
    listen: str = typer.Option(
        "/ip4/127.0.0.1/tcp/4001", "--listen", help=_("The multiaddr that other custodians reach.")
    ),
    announce: str = typer.Option(
        "", "--announce", help=_("The one that they dial, where it is another, as in a container.")
    ),
    rpc_port: int = typer.Option(
        5001, "--rpc-port", min=1, max=65535, help=_("The port of its RPC on 127.0.0.1.")
    ),
    peer: list[Path] = typer.Option(
        [],
        "--peer",
        help=_("Instead: the peer.json of each other custodian, all of them; no others connect."),
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Make a custodian's Kubo repository in the private swarm, or say which others may connect to it."""
    from cli.joining import PEER_FILE, admit_peers, make_kubo

    if bool(peer) == (swarm_key is not None):
        raise CommandError(_("expected --swarm-key to make it, or --peer to name the others"), ExitCode.USAGE)
    if swarm_key is None:
        peers = admit_peers(directory, peer)
        if as_json:
            return emit_json({"peers": [one.peer_id for one in peers]})
        return say(
            _("{count} others may connect, once the daemon is started again.").format(count=len(peers))
        )
    made = make_kubo(
        directory, swarm_key, new_key=make_swarm_key, listen=listen, announce=announce, rpc_port=rpc_port
    )
    if as_json:
        return emit_json({"peer_id": made.peer_id, "address": made.address})
    say(_("Send {path} to the other custodians; it holds no secret.").format(path=directory / PEER_FILE))
    if make_swarm_key:
        say(_("Give {path} to them by a way that nobody else reads.").format(path=swarm_key))


@app.command(epilog="phr node enrolment seoul")
def enrolment(directory: Path = _DIRECTORY, as_json: bool = JSON_OPTION) -> None:
    """Make a fresh enrolment of a node's keys, when the first one has become too old."""
    from node.initialise import renew_enrolment

    path = renew_enrolment(directory)
    if as_json:
        return emit_json({"enrolment": str(path)})
    say(_("Send {path} to the consortium's administrator; it holds no secret.").format(path=path))


app.command("move-blocks", epilog="phr node move-blocks seoul --to kubo")(move_blocks)


@app.command(epilog="phr node rotate seoul --endpoint https://records.seoul.example")
def rotate(
    directory: Path = _DIRECTORY,
    endpoint: str | None = typer.Option(
        None, "--endpoint", help=_("The URL under which others reach this node from now on.")
    ),
    keep_keys: bool = typer.Option(False, "--keep-keys", help=_("Change the endpoint alone.")),
    as_json: bool = JSON_OPTION,
) -> None:
    """Give a stopped node new encryption and transport keys on the ledger; again after a failure finishes it."""
    from node.rotation import rotate as change

    if keep_keys and endpoint is None:
        raise CommandError(
            _("expected --endpoint with --keep-keys: nothing else is left to change"), ExitCode.USAGE
        )
    with working(_("writing to the ledger")):
        rotated = change(directory, new_keys=not keep_keys, endpoint=endpoint)
    if as_json:
        return emit_json(
            {"version": rotated.version, "endpoint": rotated.endpoint, "keys_changed": rotated.keys_changed}
        )
    said = _("The ledger names version {version} of this member's keys, reached at {endpoint}.")
    say(said.format(version=rotated.version, endpoint=rotated.endpoint))
    if rotated.keys_changed:
        say(_("Back up the keystore, then start the node: it holds the old encryption keys as well."))


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
            (_("ready"), _ready_words(shown)),
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


def _ready_words(shown: "NodeStatus") -> str:
    if not shown.ready:
        return _("no")
    return _("yes, degraded: see the warnings") if shown.degraded else _("yes")


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
