"""Members that come and go: on the chain's list of senders, on the ledger, and with what they run on this machine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cli.administration import Administration, Enrolment, ListedMember, read_enrolment
from cli.chain_decisions import ChainDecisions
from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.network_description import write_network
from cli.network_parts import PROJECT
from cli.network_plan import PlannedMember
from cli.network_processes import connect_stores, start_network
from cli.network_setup import initialise_member
from cli.output import note
from cli.places import MemberPlace, NetworkPlace
from cli.texts import _
from cli.words import slug
from engines.bft_administration import Proposal
from engines.binaries import find_binary
from engines.kubo import KuboDaemon, set_peers
from engines.kubo_swarm import create_swarm
from ledger.blocks import Receipt
from ledger.ports import free_ports
from node.config import CONFIG_FILE
from node.initialise import make_keys
from vocabulary import Role


@dataclass(frozen=True)
class Changed:
    """What a change of a member did: in which blocks ledger and chain took it, None where nothing changed."""

    address: bytes
    ledger_block: int | None
    chain_block: int | None


def add_member_here(
    place: NetworkPlace,
    planned: PlannedMember,
    administration: Administration,
    decisions: ChainDecisions | None,
    say: Callable[[str], None],
) -> Changed:
    """Make a member with what it runs on this machine, admit it, enrol it and start it. Interrupted, it goes on.

    Args:
        decisions: the chain's administration, where the chain has a list of members.
    """
    member, port = _place_of(place, planned)
    address = make_keys(member.directory)
    chain_block = _admit(decisions, address)
    place = replace(place, members=(*(one for one in place.members if one.name != member.name), member))
    if member.kubo_directory is not None:
        _join_swarm(place, member)
    if not (member.directory / CONFIG_FILE).exists():
        initialise_member(place, member, port)
    receipt = _enrol(administration, read_enrolment(member.directory / "enrolment.json"), planned.roles)
    write_network(place)
    start_network(place, say)
    return Changed(address, receipt.block_number if receipt else None, chain_block)


def add_member_from_file(
    enrolment: Enrolment,
    roles: Sequence[Role],
    administration: Administration,
    decisions: ChainDecisions | None,
) -> Changed:
    """Admit and enrol a member of another machine, by the enrolment that it signed there."""
    chain_block = _admit(decisions, enrolment.keys.member)
    receipt = _enrol(administration, enrolment, roles)
    return Changed(enrolment.keys.member, receipt.block_number if receipt else None, chain_block)


def remove_member(
    place: NetworkPlace,
    member: ListedMember,
    administration: Administration,
    decisions: ChainDecisions | None,
) -> Changed:
    """Suspend a member on the ledger, take its account off the chain's list, and shut its store out."""
    receipt = administration.set_active(member.address, False) if member.active else None
    chain_block = None
    if decisions is not None and decisions.has_member(member.address):
        chain_block = decisions.decide("member-remove", "0x" + member.address.hex(), _agreed)
    here = next((one for one in place.members if one.name == member.name), None)
    if here is not None and here.kubo_directory is not None:
        _leave_swarm(place, here)
    return Changed(member.address, receipt.block_number if receipt else None, chain_block)


def _place_of(place: NetworkPlace, planned: PlannedMember) -> tuple[MemberPlace, int]:
    known = next((member for member in place.members if member.name == planned.name), None)
    if known is not None:
        return known, int(known.endpoint.rpartition(":")[2]) if known.endpoint else free_ports(1)[0]
    directory = place.directory / "members" / slug(planned.name)
    if any(member.directory == directory for member in place.members):
        raise CommandError(
            _("a member's directory is {path} already; choose another name").format(path=directory),
            ExitCode.USAGE,
        )
    (port,) = free_ports(1)
    has_kubo = any(member.kubo_directory for member in place.members) and planned.is_custodian
    endpoint = f"http://127.0.0.1:{port}" if planned.runs_node else ""
    kubo = directory / "kubo" if has_kubo else None
    return MemberPlace(planned.name, directory, endpoint, planned.runs_node, (), kubo), port


def _admit(decisions: ChainDecisions | None, member: bytes) -> int | None:
    if decisions is None or decisions.has_member(member):
        return None
    return decisions.decide("member-add", "0x" + member.hex(), _agreed)


def _enrol(administration: Administration, enrolment: Enrolment, roles: Sequence[Role]) -> Receipt | None:
    known = next((one for one in administration.members() if one.address == enrolment.keys.member), None)
    if known is None:
        return administration.enrol(enrolment, roles)
    return None if known.active else administration.set_active(known.address, True)


def _join_swarm(place: NetworkPlace, member: MemberPlace) -> None:
    """Make the member's repository, and let the others' daemons know it: they read their peers when they start."""
    directories = [one.kubo_directory for one in place.members if one.kubo_directory]
    swarm = create_swarm(directories, find_binary(PROJECT, "ipfs"))
    for daemon in swarm.daemons:
        if daemon.is_running():
            daemon.restart()
    for daemon in swarm.daemons:
        daemon.start()
    connect_stores(place)


def _leave_swarm(place: NetworkPlace, gone: MemberPlace) -> None:
    """Let the others' daemons refuse the member's; its repository stays as it is."""
    binary = find_binary(PROJECT, "ipfs")
    remaining = [
        KuboDaemon(one.kubo_directory, binary) for one in place.members if one.kubo_directory and one != gone
    ]
    peers = [daemon.peer for daemon in remaining]
    for daemon in remaining:
        set_peers(daemon.directory, peers)
        if daemon.is_running():
            daemon.restart()
    connect_stores(replace(place, members=tuple(one for one in place.members if one != gone)))


def _agreed(proposal: Proposal) -> None:
    """The person was asked once, for the ledger and the chain together; now sees the lists that are signed."""
    note(proposal.effect)
