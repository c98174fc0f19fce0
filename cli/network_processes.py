"""Starting and stopping the processes of a network on this machine."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.json_files import read_json
from cli.network_parts import PROJECT, Kind, Part, ask_node, built, look_at, stages_of
from cli.places import UNFINISHED, MemberPlace, NetworkPlace
from cli.replayed import open_chain
from cli.texts import _
from engines.errors import EngineFailed, EnginesError
from engines.kubo import KuboDaemon
from engines.kubo_swarm import KuboSwarm
from engines.processes import exclusive, wait_for
from ledger.contract import ConsentLedger
from ledger.errors import LedgerError

LOCK_FILE = "lock"
"""Held by whoever makes, starts or stops the network of a directory."""
START_TIMEOUT_SECONDS = 120.0
SUSPENDED_SECONDS = 2.0
_ACTIVE = 1 << 16
"""The bit of a member's word that says that it is active (``ledger.entities.Member.word``)."""


@contextlib.contextmanager
def changing(directory: Path) -> Iterator[None]:
    """Make, start or stop a network's processes alone.

    Raises:
        CommandError: another command does that to this network now.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(exclusive(directory / LOCK_FILE, wait=False))
        except BlockingIOError:
            raise CommandError(
                _(
                    "another command starts or stops the network in {directory} now: try again when it is done"
                ).format(directory=directory),
                ExitCode.UNREACHABLE,
            ) from None
        yield


def start_network(place: NetworkPlace, say: Callable[[str], None]) -> None:
    """Start whatever does not run, and wait until every part is ready.

    What can start is started, also when something else cannot: the network then runs with what it has.

    Raises:
        CommandError: parts that did not start; each is named with its last words and its log. Or another command
            starts or stops them now.
    """
    failures: list[Failure] = []
    with changing(place.directory):
        # Of its making, which came to its end.
        (place.directory / UNFINISHED).unlink(missing_ok=True)
        for stage in stages_of(place):
            failed = start_parts(stage, say, Suspended(place))
            failures += failed
            connect_stores(place)
            if not _can_go_on(stage, [failure.part for failure in failed]):
                break
    if failures:
        raise CommandError("; ".join(failure.sentence for failure in failures), ExitCode.UNREACHABLE)


def _can_go_on(stage: Sequence[Part], failed: Sequence[Part]) -> bool:
    """Whether nodes could work on these engines: with the database, and with one of the chain's processes at least."""
    if any(part.kind is Kind.DATABASE for part in failed):
        return False
    chain = [part for part in stage if part.kind in (Kind.CHAIN, Kind.VALIDATOR)]
    return not chain or any(part not in failed for part in chain)


@dataclass(frozen=True)
class Failure:
    """A part that did not get ready or could not be stopped, and why."""

    part: Part
    sentence: str


class Suspended:
    """Which members are suspended on the ledger; asked again after a while, since nodes are waited for."""

    def __init__(self, place: NetworkPlace) -> None:
        self._place = place
        self._known: frozenset[MemberPlace] = frozenset()
        self._asked_at = -math.inf

    def __contains__(self, member: MemberPlace) -> bool:
        if time.monotonic() - self._asked_at > SUSPENDED_SECONDS:
            self._known = suspended_members(self._place)
            self._asked_at = time.monotonic()
        return member in self._known


def start_parts(
    parts: Sequence[Part], say: Callable[[str], None], suspended: Suspended | None = None
) -> list[Failure]:
    """Start parts that need not wait for each other; those that did not get ready.

    The node of a suspended member will not get ready: it has to answer, and no more.
    """
    with ThreadPoolExecutor(max_workers=len(parts)) as pool:
        starts = [(part, pool.submit(_start, part, suspended)) for part in parts]
    failures = []
    for part, start in starts:
        try:
            told = start.result()
            if told:
                say(told)
        except EnginesError as error:
            said = str(error)
            failures.append(Failure(part, said if part.name in said else f"{part.name}: {said}"))
        except (LedgerError, OSError) as error:
            sentence = _("{name} did not start: {error} (whole log: {path})")
            failures.append(
                Failure(part, sentence.format(name=part.name, error=error, path=part.watched.log_path))
            )
    return failures


def _start(part: Part, suspended: Suspended | None) -> str:
    """Start a part and wait for it; what to tell of it, nothing where it is an engine that ran already."""
    if part.kind is not Kind.NODE and part.watched.process() is not None and part.is_ready():
        return ""
    part.start()
    is_suspended = False

    def is_up() -> bool:
        nonlocal is_suspended
        if part.is_ready():
            return True
        is_suspended = _is_up_but_suspended(part, suspended)
        return is_suspended

    try:
        wait_for(part.watched, is_up, START_TIMEOUT_SECONDS, part.name)
    except EngineFailed as error:
        # One that runs says better than its log what it waits for.
        words = look_at(part).get("note") if part.watched.process() else None
        if not words:
            raise
        raise EngineFailed(
            _("{name} is not ready: {words} (whole log: {path})").format(
                name=part.name, words=words, path=part.watched.log_path
            )
        ) from error
    # What it was when it was waited for: asked again, a part that is busy for a moment would be called suspended.
    told = (
        _("{name} is suspended; its node answers at {url}.")
        if is_suspended
        else _("{name} is ready at {url}.")
    )
    return told.format(name=part.name, url=part.endpoint)


def _is_up_but_suspended(part: Part, suspended: Suspended | None) -> bool:
    return suspended is not None and part.member is not None and part.member in suspended and _answers(part)


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
    """Stop the nodes, then what they need; the names of what ran.

    Raises:
        CommandError: parts that could not be stopped, each named; all others are stopped. Or another command starts or
            stops them now.
    """
    with changing(place.directory):
        stopped, failures = stop_parts(stages_of(place))
    if failures:
        raise CommandError("; ".join(failure.sentence for failure in failures), ExitCode.FAILED)
    return stopped


def stop_parts(stages: Sequence[Sequence[Part]]) -> tuple[list[str], list[Failure]]:
    """Stop the last stage first, and go on where a part cannot be stopped; the names of what ran, and what failed."""
    stopped, failures = [], []
    for stage in reversed(stages):
        with ThreadPoolExecutor(max_workers=len(stage)) as pool:
            ends = [(part, pool.submit(part.stop)) for part in stage]
        for part, end in ends:
            try:
                if end.result():
                    stopped.append(part.name)
            except (EnginesError, LedgerError, OSError) as error:
                sentence = _("{name} was not stopped: {error}").format(name=part.name, error=error)
                failures.append(Failure(part, sentence))
    return stopped, failures


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
