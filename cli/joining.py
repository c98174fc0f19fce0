"""What an organisation does on its own machine to found or join a consortium: no other member's keys are near.

See docs/operations/setup.md for who sends which file to whom.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.json_files import json_bytes, read_json
from cli.places import MemberPlace, NetworkPlace, describe_network, network_exists
from cli.saving import check_new_file, save
from cli.texts import _

if TYPE_CHECKING:
    from engines.kubo_config import KuboPeer
    from ledger.deploy import Deployment
    from ledger.engine import Engine
    from ledger.provenance import Origin

PEER_FILE = "peer.json"


@dataclass(frozen=True)
class Joined:
    """A network as one machine sees it, and the contract that was looked at on its chain."""

    place: NetworkPlace
    deployment: "Deployment"
    origin: "Origin"


def engine_of(name: str) -> "Engine":
    """The chain engine of a name.

    Raises:
        CommandError: this version knows none of that name.
    """
    from ledger.engine import ENGINES

    if name not in ENGINES:
        raise CommandError(
            _("expected an engine of {known}; came {name}").format(known=", ".join(ENGINES), name=name),
            ExitCode.USAGE,
        )
    return ENGINES[name]


def deploy_contract(
    administrator: Path, passphrase_file: Path | None, url: str, engine: str, threshold: int, out: Path
) -> "Deployment":
    """Deploy the contract once, and write its deployment into a new file.

    Raises:
        CommandError: the file cannot be written; then nothing was deployed.
    """
    from cli.administrator import open_account
    from ledger.chain import Chain
    from ledger.deploy import deploy
    from ledger.outbox import MemoryOutbox
    from ledger.sender import Sender

    check_new_file(out)
    kind = engine_of(engine)
    account = open_account(administrator, passphrase_file)
    with Chain(url, kind) as chain:
        sender = Sender(chain, account.address, account.sign_digest, MemoryOutbox())
        deployment = deploy(chain, sender, account.address, threshold)
    save(out, json_bytes(deployment.to_json()))
    return deployment


def join_network(
    directory: Path, urls: Sequence[str], engine: str, deployment_file: Path, node: Path | None
) -> Joined:
    """Describe a network on a machine that runs one member of it, or none; the contract is verified first.

    Raises:
        CommandError: a network is described there already.
        ChainReplaced: the contract is not the one that this program was built with.
    """
    from cli.replayed import read_deployment
    from ledger.endpoints import connect
    from ledger.provenance import verify_origin

    if network_exists(directory):
        raise CommandError(
            _("{directory} describes a network already; nothing was changed").format(directory=directory),
            ExitCode.BAD_INPUT,
        )
    kind, deployment = engine_of(engine), read_deployment(deployment_file)
    members = () if node is None else (_member_of(node),)
    with connect(urls, kind, deployment) as chain:
        origin = verify_origin(chain, deployment)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = NetworkPlace(directory.resolve(), engine, tuple(urls), members, keeps_chain=False)
    save(place.deployment_path, json_bytes(deployment.to_json()))
    save(place.directory / "network.json", json_bytes(describe_network(place)))
    return Joined(place, deployment, origin)


def _member_of(node: Path) -> MemberPlace:
    from node.config import NodeConfig

    config = NodeConfig.load(node)
    # Commands of this machine ask the node itself, not the proxy before it, which shows no staff routes outside.
    return MemberPlace(config.name, config.directory, f"http://{config.host}:{config.port}", True)


def make_kubo(
    directory: Path, swarm_key_file: Path, *, new_key: bool, listen: str, announce: str, rpc_port: int
) -> "KuboPeer":
    """Make a custodian's Kubo repository for this machine, and write what the others need to know of it.

    Args:
        swarm_key_file: the key that all members of the swarm share, in the form of Kubo's ``swarm.key``.
        new_key: make that file, which must not be there yet.
        announce: the multiaddr that others dial, where it is not the one to listen on; or "".

    Raises:
        CommandError: the key file is not one.
    """
    from cli.network_parts import PROJECT
    from engines.binaries import find_binary
    from engines.kubo import create_repository
    from engines.kubo_config import new_swarm_key
    from engines.kubo_config import swarm_key_file as as_file

    binary = find_binary(PROJECT, "ipfs")
    if new_key:
        check_new_file(swarm_key_file)
        save(swarm_key_file, as_file(new_swarm_key()).encode())
    peer = create_repository(
        directory,
        binary,
        swarm_key=_read_swarm_key(swarm_key_file),
        rpc_port=rpc_port,
        swarm_listen=listen,
        announce=announce,
    )
    save(directory / PEER_FILE, json_bytes(_peer_document(peer)))
    return peer


def admit_peers(directory: Path, files: Sequence[Path]) -> list["KuboPeer"]:
    """Name the custodians whose Kubo this one connects to, and no others."""
    from engines.kubo import set_peers

    peers = [_read_peer(path) for path in files]
    set_peers(directory, peers)
    return peers


def _read_swarm_key(path: Path) -> bytes:
    from cli.administrator import read_text_secret

    lines = read_text_secret(path).split()
    if len(lines) != 3 or lines[:2] != ["/key/swarm/psk/1.0.0/", "/base16/"] or len(lines[2]) != 64:
        raise CommandError(
            _("{path} is no swarm key; expected the file that another custodian made").format(path=path),
            ExitCode.LOCKED,
        )
    try:
        return bytes.fromhex(lines[2])
    except ValueError:
        raise CommandError(_("{path} is no swarm key").format(path=path), ExitCode.LOCKED) from None


def _peer_document(peer: "KuboPeer") -> dict[str, Any]:
    return {"peer_id": peer.peer_id, "address": peer.address}


def _read_peer(path: Path) -> "KuboPeer":
    from engines.kubo_config import KuboPeer

    try:
        document = read_json(path)
        peer_id, address = document["peer_id"], document["address"]
        if not isinstance(peer_id, str) or not isinstance(address, str) or not address.startswith("/"):
            raise TypeError(_("peer_id and address must be texts"))
        return KuboPeer(peer_id, address)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(
            _("{path} does not describe another custodian's Kubo: {error}").format(path=path, error=error),
            ExitCode.BAD_INPUT,
        ) from error
