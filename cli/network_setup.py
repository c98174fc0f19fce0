"""Making a network on this machine: chain, contract, administrator, members with keys of their own, enrolled."""

import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.administration import Administration, parse_roles, read_enrolment
from cli.administrator import PASSPHRASE_FILE, create_account
from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.json_files import json_bytes
from cli.network_processes import chain_process, start_chain
from cli.places import read_network
from cli.texts import _
from cli.words import slug, split_words
from crypto.private_file import atomic_write_private
from ledger.chain import Chain
from ledger.deploy import deploy
from ledger.engine import ANVIL
from ledger.outbox import MemoryOutbox
from ledger.sender import Sender
from node.initialise import initialise_node
from vocabulary import Role


@dataclass(frozen=True)
class PlannedMember:
    """A member of a network to be made."""

    name: str
    roles: tuple[Role, ...]

    @property
    def runs_node(self) -> bool:
        """Whether it needs a process: an auditor or researcher reads the chain with keys alone."""
        return bool({Role.PROVIDER, Role.CONSUMER, Role.CUSTODIAN} & set(self.roles))


_CARE = (Role.PROVIDER, Role.CONSUMER, Role.CUSTODIAN)
DEFAULT_MEMBERS = (
    PlannedMember("Seoul Hospital", _CARE),
    PlannedMember("Busan Hospital", _CARE),
    PlannedMember("Hanok Clinic", _CARE),
    PlannedMember("Health Data Authority", (Role.AUDITOR,)),
)


def parse_member(text: str) -> PlannedMember:
    """``Seoul Hospital=provider,consumer,custodian`` as a planned member."""
    name, separator, roles = text.partition("=")
    if not separator or not name.strip():
        raise CommandError(
            _('expected a member such as "Seoul Hospital=provider,consumer,custodian"; came: {text}').format(
                text=text
            ),
            ExitCode.USAGE,
        )
    return PlannedMember(name.strip(), parse_roles(split_words([roles])))


def create_network(
    directory: Path, members: Sequence[PlannedMember], threshold: int, say: Callable[[str], None]
) -> None:
    """Make a network and leave its chain running; the nodes are started afterwards.

    ``network.json`` is written last: a directory without it is not a network, and can be deleted and made again.

    Raises:
        CommandError: something is in the directory already, or too few members are custodians.
    """
    custodians = sum(Role.CUSTODIAN in member.roles for member in members)
    if custodians < threshold:
        raise CommandError(
            _("expected at least {threshold} custodians; {custodians} are planned").format(
                threshold=threshold, custodians=custodians
            ),
            ExitCode.USAGE,
        )
    if len({slug(member.name) for member in members}) < len(members):
        raise CommandError(_("expected members with different names"), ExitCode.USAGE)
    if directory.exists() and not directory.is_dir():
        raise CommandError(
            _("expected a directory; {path} is something else").format(path=directory), ExitCode.BAD_INPUT
        )
    if directory.exists() and any(directory.iterdir()):
        raise CommandError(
            _("{directory} is not empty and holds no network; name a new directory").format(
                directory=directory
            ),
            ExitCode.BAD_INPUT,
        )
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    chain_port, *ports = _free_ports(1 + len(members))
    description = {
        "chain": {"engine": ANVIL.name, "url": f"http://127.0.0.1:{chain_port}"},
        "members": [
            {
                "name": member.name,
                "directory": f"members/{slug(member.name)}",
                "endpoint": f"http://127.0.0.1:{port}" if member.runs_node else "",
                "runs_node": member.runs_node,
            }
            for member, port in zip(members, ports, strict=True)
        ],
    }
    _write_description(directory, description, "network.json.new")
    place = read_network(directory, "network.json.new")
    start_chain(place)
    try:
        _deploy(place.directory, place.rpc_url, threshold)
        say(
            _("The contract is deployed; the administrator's key is in {path}.").format(
                path=place.administrator_directory
            )
        )
        with Administration.open(place, place.administrator_directory / PASSPHRASE_FILE) as administration:
            for planned, member, port in zip(members, place.members, ports, strict=True):
                initialise_node(
                    member.directory,
                    name=planned.name,
                    # The port of a member with keys only is its own too: nothing answers there until it runs a node.
                    endpoint=f"http://127.0.0.1:{port}",
                    port=port,
                    rpc_url=place.rpc_url,
                    deployment=place.deployment_path,
                )
                administration.enrol(read_enrolment(member.directory / "enrolment.json"), planned.roles)
                roles = ", ".join(role.label for role in planned.roles)
                say(_("{name} is enrolled: {roles}.").format(name=planned.name, roles=roles))
    except BaseException:
        chain_process(place).stop()
        raise
    (directory / "network.json.new").replace(directory / "network.json")


def _deploy(directory: Path, rpc_url: str, threshold: int) -> None:
    passphrase = secrets.token_urlsafe(24)
    administrator = create_account(directory / "administrator", passphrase)
    atomic_write_private(directory / "administrator" / PASSPHRASE_FILE, (passphrase + "\n").encode())
    with Chain(rpc_url, ANVIL) as chain:
        sender = Sender(chain, administrator.address, administrator.sign_digest, MemoryOutbox())
        deployment = deploy(chain, sender, administrator.address, threshold)
    (directory / "deployment.json").write_bytes(json_bytes(deployment.to_json()))


def _write_description(directory: Path, description: dict[str, Any], name: str) -> None:
    (directory / name).write_bytes(json_bytes(description))


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, different from each other; they stay the network's own."""
    probes = [socket.socket() for _number in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
