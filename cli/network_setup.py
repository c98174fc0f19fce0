"""Making a network on this machine: engines, contract, administrator, members with keys of their own, enrolled."""

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cli.administration import Administration, read_enrolment
from cli.administrator import PASSPHRASE_FILE, create_account
from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.json_files import json_bytes
from cli.network_description import without_parts, write_network, write_unfinished
from cli.network_parts import PROJECT, built, engine_parts, stages_of
from cli.network_plan import BFT, KUBO, POSTGRES, Plan
from cli.network_processes import Failure, changing, connect_stores, start_parts, stop_parts
from cli.network_unfinished import check_directory, remove_unfinished
from cli.places import MemberPlace, NetworkPlace, is_unfinished
from cli.texts import _
from cli.words import slug
from crypto.private_file import atomic_write_private
from crypto.signer import AccountKey
from engines.bft import open_chain
from engines.bft_ceremony import create_chain
from engines.binaries import find_binary
from engines.kubo import KuboDaemon
from engines.kubo_swarm import create_swarm
from engines.postgres import PostgresServer
from engines.postgres_cluster import create_cluster
from engines.postgres_place import find_postgres
from ledger.chain import Chain
from ledger.deploy import deploy
from ledger.outbox import MemoryOutbox
from ledger.ports import free_ports
from ledger.sender import Sender
from node.initialise import initialise_node, make_keys


def create_network(directory: Path, plan: Plan, say: Callable[[str], None]) -> None:
    """Make a network and leave its engines running; the nodes are started afterwards.

    ``network.json`` is written last. Until then ``network.json.new`` names what may run: a directory with it alone is
    an unfinished network, which this stops, removes and makes again.

    Raises:
        CommandError: something else is in the directory, the plan cannot work, another command makes it now, or Ctrl-C;
            what was started is stopped.
        EngineNotBuilt: an engine is not on this machine; nothing was written.
        EnginesError: an engine could not be made or started; what was started is stopped.
    """
    plan.check()
    _check_engines(plan)
    check_directory(directory)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with changing(directory):
        # Another one may have made it meanwhile.
        check_directory(directory)
        if is_unfinished(directory):
            sentence = _(
                "The network in {directory} is unfinished: what is there is removed, and it is made again."
            )
            say(sentence.format(directory=directory))
            remove_unfinished(directory, plan)
        _create(directory, plan, say)


def _create(directory: Path, plan: Plan, say: Callable[[str], None]) -> None:
    place, ports = _plan_place(directory.resolve(), plan)
    begun = without_parts(place)
    write_unfinished(begun, plan)
    try:
        administrator = _make_administrator(place)
        place = _make_engines(place, plan, administrator)
        begun = place
        # Before they are started: whoever is killed when, `phr network down` finds them.
        write_unfinished(begun, plan)
        _found(place, plan, ports, administrator, say)
        write_network(place)
    except BaseException as error:
        stopped, failures = stop_parts(stages_of(begun))
        if isinstance(error, KeyboardInterrupt):
            raise _cancelled(directory, stopped, failures) from None
        raise


def _found(
    place: NetworkPlace,
    plan: Plan,
    ports: Sequence[int],
    administrator: AccountKey,
    say: Callable[[str], None],
) -> None:
    """Start the engines, deploy the contract and enrol the members."""
    failures = start_parts(engine_parts(place), say)
    if failures:
        raise CommandError("; ".join(failure.sentence for failure in failures), ExitCode.UNREACHABLE)
    connect_stores(place)
    _deploy(place, administrator, plan.threshold)
    say(
        _("The contract is deployed; the administrator's key is in {path}.").format(
            path=place.administrator_directory
        )
    )
    _enrol_members(place, plan, ports, say)


def _cancelled(directory: Path, stopped: Sequence[str], failures: Sequence[Failure]) -> CommandError:
    did = [_("stopped {names}").format(names=", ".join(stopped))] if stopped else []
    did += [failure.sentence for failure in failures]
    return CommandError(
        _("cancelled; {did}. `phr network up {directory}` makes the network again").format(
            did="; ".join(did) or _("nothing of it runs"), directory=directory
        ),
        ExitCode.CANCELLED,
    )


def _check_engines(plan: Plan) -> None:
    if plan.engine == BFT:
        find_binary(PROJECT, "phr-chain")
    if plan.storage == KUBO:
        find_binary(PROJECT, "ipfs")
    if plan.database == POSTGRES:
        find_postgres()


def _plan_place(directory: Path, plan: Plan) -> tuple[NetworkPlace, list[int]]:
    """Where everything will lie, and each member's port: also of one with keys only, where nothing answers yet."""
    chain_port, *ports = free_ports(1 + len(plan.members))
    members = []
    for member, port, validators in zip(plan.members, ports, plan.validators(), strict=True):
        own = directory / "members" / slug(member.name)
        members.append(
            MemberPlace(
                member.name,
                own,
                f"http://127.0.0.1:{port}" if member.runs_node else "",
                member.runs_node,
                tuple(validators),
                own / "kubo" if plan.storage == KUBO and member.is_custodian else None,
            )
        )
    return (
        NetworkPlace(
            directory,
            plan.engine,
            (f"http://127.0.0.1:{chain_port}",),
            tuple(members),
            has_postgres=plan.database == POSTGRES,
        ),
        ports,
    )


def _make_engines(place: NetworkPlace, plan: Plan, administrator: AccountKey) -> NetworkPlace:
    """Make the engines' directories; the place with the chain's endpoints."""
    kubo_directories = [member.kubo_directory for member in place.members if member.kubo_directory]
    if kubo_directories:
        for path in kubo_directories:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_swarm(kubo_directories, find_binary(PROJECT, "ipfs"))
    if place.has_postgres:
        create_cluster(place.postgres_directory)
    if plan.engine != BFT:
        return place
    chain = create_chain(
        place.chain_directory,
        find_binary(PROJECT, "phr-chain"),
        administrator.address,
        # The chain takes nothing from strangers: members' accounts are in its first block.
        [make_keys(member.directory) for member in place.members],
        names=[name for member in place.members for name in member.validators],
    )
    return replace(place, rpc_urls=chain.rpc_urls)


def _enrol_members(place: NetworkPlace, plan: Plan, ports: Sequence[int], say: Callable[[str], None]) -> None:
    with Administration.open(place, place.administrator_directory / PASSPHRASE_FILE) as administration:
        for planned, member, port in zip(plan.members, place.members, ports, strict=True):
            initialise_member(place, member, port)
            administration.enrol(read_enrolment(member.directory / "enrolment.json"), planned.roles)
            roles = ", ".join(role.label for role in planned.roles)
            say(_("{name} is enrolled: {roles}.").format(name=planned.name, roles=roles))


def initialise_member(place: NetworkPlace, member: MemberPlace, port: int) -> None:
    """Make a member's node on this network's engines, with keys made before where there are any."""
    further: dict[str, Any] = {}
    if member.kubo_directory is not None:
        daemon = KuboDaemon(member.kubo_directory, find_binary(PROJECT, "ipfs"))
        further |= {"store": "kubo", "kubo_url": daemon.rpc_url, "kubo_secret_file": daemon.secret_file}
    if place.has_postgres and member.runs_node:
        member.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        server = PostgresServer.open(place.postgres_directory)
        name = database_name(member.name, [other.name for other in place.members])
        further["database_url"] = server.create_database(name, member.directory / "database-password")
    initialise_node(
        member.directory,
        name=member.name,
        # The port of a member with keys only is its own too: nothing answers there until it runs a node.
        endpoint=f"http://127.0.0.1:{port}",
        port=port,
        # One endpoint stays readable by a node of the first version.
        **(
            {"rpc_url": place.rpc_url} if len(place.rpc_urls) == 1 else {"rpc_urls": own_first(place, member)}
        ),
        engine=place.engine_name,
        deployment=place.deployment_path,
        further=further,
    )


def own_first(place: NetworkPlace, member: MemberPlace) -> tuple[str, ...]:
    """The chain's endpoints as a member's node asks them: its own validators' first, the others in turn."""
    if not member.validators or not place.keeps_chain:
        return place.rpc_urls
    names = [one.name for one in open_chain(place.chain_directory, built(PROJECT, "phr-chain")).validators]
    own = names.index(member.validators[0])
    return (*place.rpc_urls[own:], *place.rpc_urls[:own])


def database_name(member: str, members: Sequence[str]) -> str:
    """A member's role and database: its name in what PostgreSQL allows, with its number where nothing is left of it."""
    plain = re.sub(r"[^a-z0-9]+", "_", member.lower()).strip("_")[:40]
    return f"member_{members.index(member) + 1}_{plain}".rstrip("_")


def _make_administrator(place: NetworkPlace) -> AccountKey:
    passphrase = secrets.token_urlsafe(24)
    administrator = create_account(place.administrator_directory, passphrase)
    atomic_write_private(place.administrator_directory / PASSPHRASE_FILE, (passphrase + "\n").encode())
    return administrator


def _deploy(place: NetworkPlace, administrator: AccountKey, threshold: int) -> None:
    with Chain(place.rpc_url, place.engine) as chain:
        sender = Sender(chain, administrator.address, administrator.sign_digest, MemoryOutbox())
        deployment = deploy(chain, sender, administrator.address, threshold)
    atomic_write_private(place.deployment_path, json_bytes(deployment.to_json()))
