"""Starting and stopping the processes of a network on this machine."""

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.json_files import read_json
from cli.network_parts import PROJECT, Kind, Part, ask_node, built, stages_of
from cli.places import MemberPlace, NetworkPlace
from cli.replayed import open_chain
from cli.texts import _
from engines.errors import EngineFailed, EnginesError
from engines.kubo import KuboDaemon
from engines.kubo_swarm import KuboSwarm
from engines.processes import wait_for
from ledger.contract import ConsentLedger
from ledger.errors import LedgerError

START_TIMEOUT_SECONDS = 120.0
_ACTIVE = 1 << 16
"""The bit of a member's word that says that it is active (``ledger.entities.Member.word``)."""


def start_network(place: NetworkPlace, say: Callable[[str], None]) -> None:
    """Start whatever does not run, and wait until every part is ready.

    What can start is started, also when something else cannot: the network then runs with what it has.

    Raises:
        CommandError: parts that did not start; each is named with its last words and its log.
    """
    failures: list[str] = []
    for stage in stages_of(place):
        waiting = suspended_members(place) if stage[0].kind is Kind.NODE else frozenset()
        failed = start_parts(stage, say, waiting)
        failures += failed
        connect_stores(place)
        if len(failed) == len(stage):
            break
    if failures:
        raise CommandError("; ".join(failures), ExitCode.UNREACHABLE)


def start_parts(
    parts: Sequence[Part], say: Callable[[str], None], suspended: frozenset[MemberPlace] = frozenset()
) -> list[str]:
    """Start parts that need not wait for each other; a sentence for each that did not get ready.

    The node of a suspended member will not get ready: it has to answer, and no more.
    """
    with ThreadPoolExecutor(max_workers=len(parts)) as pool:
        starts = [(part, pool.submit(_start, part, part.member in suspended)) for part in parts]
    failures = []
    for part, start in starts:
        try:
            told = start.result()
            if told:
                say(told)
        except EnginesError as error:
            failures.append(str(error))
        except (LedgerError, OSError) as error:
            failures.append(
                _("{name} did not start: {error} (whole log: {path})").format(
                    name=part.name, error=error, path=part.watched.log_path
                )
            )
    return failures


def _start(part: Part, suspended: bool) -> str:
    """Start a part and wait for it; what to tell of it, nothing where it is an engine that ran already."""
    if part.kind is not Kind.NODE and part.watched.process() is not None and part.is_ready():
        return ""
    part.start()
    try:
        wait_for(
            part.watched,
            partial(_answers, part) if suspended else part.is_ready,
            START_TIMEOUT_SECONDS,
            part.name,
        )
    except EngineFailed as error:
        # One that runs says better than its log what it waits for.
        words = part.look().get("note") if part.watched.process() else None
        raise EngineFailed(
            _("{name} is not ready: {words} (whole log: {path})").format(
                name=part.name, words=words, path=part.watched.log_path
            )
            if words
            else str(error)
        ) from error
    told = (
        _("{name} is suspended; its node answers at {url}.") if suspended else _("{name} is ready at {url}.")
    )
    return told.format(name=part.name, url=part.endpoint)


def _answers(part: Part) -> bool:
    return part.member is not None and ask_node(part.member, "/ready") is not None


def connect_stores(place: NetworkPlace) -> None:
    """Connect the members' stores to each other now; by themselves they find each other within seconds."""
    directories = [member.kubo_directory for member in place.members if member.kubo_directory]
    if not directories:
        return
    binary = built(PROJECT, "ipfs")
    # One that does not run was named already; the others keep trying to reach it.
    running = [daemon for path in directories if (daemon := KuboDaemon(path, binary)).is_running()]
    with contextlib.suppress(EngineFailed):
        KuboSwarm(running).connect()


def stop_network(place: NetworkPlace) -> list[str]:
    """Stop the nodes, then what they need; the names of what ran."""
    stopped = []
    for stage in reversed(stages_of(place)):
        with ThreadPoolExecutor(max_workers=len(stage)) as pool:
            ended = list(pool.map(lambda part: part.stop(), stage))
        stopped += [part.name for part, ran in zip(stage, ended, strict=True) if ran]
    return stopped


def suspended_members(place: NetworkPlace) -> frozenset[MemberPlace]:
    """The members of this machine that are suspended on the ledger; none where the chain does not answer."""
    addresses = {member: address for member in place.members if (address := member_address(member))}
    try:
        with open_chain(place) as (chain, deployment):
            words = ConsentLedger(chain, deployment.address).member_words(list(addresses.values()))
    except (LedgerError, CommandError):
        return frozenset()
    return frozenset(
        member for member, word in zip(addresses, words, strict=True) if word and not word & _ACTIVE
    )


def member_address(member: MemberPlace) -> bytes | None:
    """The account (20 bytes) of a member of this machine, by the enrolment in its directory."""
    try:
        text = str(read_json(member.directory / "enrolment.json")["message"]["member"])
        address = bytes.fromhex(text.removeprefix("0x"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return address if len(address) == 20 else None
