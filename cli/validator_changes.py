"""Validators that come and go: on this machine with their directory and process, elsewhere by their public half."""

import re
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cli.chain_decisions import ChainDecisions
from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.network_description import write_network
from cli.network_parts import PROJECT, stages_of
from cli.network_processes import Suspended, changing, start_parts
from cli.network_validators import ask_validator
from cli.places import MemberPlace, NetworkPlace
from cli.texts import _
from cli.words import slug
from engines.bft import BftChain, ValidatorPlace, open_chain
from engines.bft_administration import Proposal
from engines.bft_changes import prepare_validator, withdraw_validator
from engines.binaries import find_binary
from engines.errors import EngineFailed, EnginesError
from node.config import CONFIG_FILE

CATCH_UP_SECONDS = 300.0
POWER_SECONDS = 60.0
_NEAR_BLOCKS = 2
_ENDPOINTS = re.compile(r"\s*(\"rpc_urls?\"|'rpc_urls?'|rpc_urls?)\s*=")


def add_validator(
    place: NetworkPlace, member: MemberPlace, decisions: ChainDecisions, say: Callable[[str], None]
) -> tuple[str, int]:
    """Make a member's next validator on this machine, let it catch up, then let it vote; its name and the block.

    Interrupted, it is taken up again: a validator that has no power yet is the one that was meant.

    Raises:
        EngineFailed: it did not start.
        CommandError: it did not catch up, and has no vote. Or it votes, and nodes of this machine do not ask it yet;
            says which.
    """
    chain = open_chain(place.chain_directory, find_binary(PROJECT, "phr-chain"))
    voting = {str(one["name"]) for one in decisions.state()["validators"]}
    waiting = [name for name in member.validators if name not in voting]
    name = waiting[0] if waiting else _next_name(member, voting | {one.name for one in chain.validators})
    chain = prepare_validator(chain, name)
    others = tuple(
        replace(other, validators=(*other.validators, name)) if other == member and not waiting else other
        for other in place.members
    )
    place = replace(place, members=others, rpc_urls=chain.rpc_urls)
    write_network(place)
    index = [validator.name for validator in chain.validators].index(name)
    chain.restart(index)
    _wait_until_near(chain, index)
    say(_("{name} has caught up.").format(name=name))
    block = decisions.decide(
        "validator-add", str(chain.validators[index].directory / "validator.json"), _agreed
    )
    _wait_for_power(chain.validators[index], lambda power: power > 0)
    _tell_nodes(place, say)
    return name, block


def remove_validator(
    place: NetworkPlace,
    name: str,
    decisions: ChainDecisions,
    ask: Callable[[Proposal], None],
    say: Callable[[str], None],
) -> int:
    """Take a validator's vote; where it runs on this machine, end it too. Its directory is kept. The block.

    Raises:
        EngineFailed: the chain has no validator of that name, or refuses.
        CommandError: it is removed, and nodes of this machine still ask it; says which.
    """
    block = decisions.decide("validator-remove", name, ask)
    if place.keeps_chain:
        chain = open_chain(place.chain_directory, find_binary(PROJECT, "phr-chain"))
        gone = next((validator for validator in chain.validators if validator.name == name), None)
        if gone is not None:
            if gone.background.process() is not None:
                _wait_for_power(gone, lambda power: power == 0)
            chain = withdraw_validator(chain, name)
            members = tuple(
                replace(member, validators=tuple(own for own in member.validators if own != name))
                for member in place.members
            )
            place = replace(place, members=members, rpc_urls=chain.rpc_urls)
            write_network(place)
            _tell_nodes(place, say)
    return block


def validator_names(place: NetworkPlace, typed: str) -> list[str]:
    """The validators of this machine that were meant: one by its name, or those of a member."""
    named = [name for member in place.members for name in member.validators if name == typed]
    if named:
        return named
    return [name for member in place.members if member.name == typed for name in member.validators]


def _agreed(_proposal: Proposal) -> None:
    """The person was asked before anything was made."""


def _next_name(member: MemberPlace, taken: set[str]) -> str:
    plain = slug(member.name)
    numbers = (plain if number == 1 else f"{plain}-{number}" for number in range(1, len(taken) + 2))
    return next(name for name in numbers if name not in taken)


def _wait_until_near(chain: BftChain, index: int) -> None:
    """Until a validator is as far as the others, but for the blocks of a moment."""
    deadline = time.monotonic() + CATCH_UP_SECONDS
    others = [validator for number, validator in enumerate(chain.validators) if number != index]
    while True:
        newest = max((height for one in others if (height := one.height()) is not None), default=None)
        own = chain.validators[index].height()
        if own is not None and newest is not None and own >= newest - _NEAR_BLOCKS:
            return
        if time.monotonic() > deadline:
            raise CommandError(
                _("{name} is at block {own} of {newest}; it has no vote yet. Run this again to go on").format(
                    name=chain.validators[index].name, own=own, newest=newest
                ),
                ExitCode.UNREACHABLE,
            )
        time.sleep(0.5)


def _wait_for_power(validator: ValidatorPlace, holds: Callable[[int], bool]) -> None:
    """Until the chain's change of a validator's power is in force, two blocks after it was decided."""
    deadline = time.monotonic() + POWER_SECONDS
    while True:
        try:
            if holds(ask_validator(validator).voting_power):
                return
        except EngineFailed:
            # It is asked again: an answer may fail to come while it ends or starts.
            pass
        if time.monotonic() > deadline:
            raise CommandError(
                _("the change of {name}'s power is decided and not in force yet").format(name=validator.name),
                ExitCode.UNREACHABLE,
            )
        time.sleep(0.5)


def _tell_nodes(place: NetworkPlace, say: Callable[[str], None]) -> None:
    """Give each node of this machine the new list of endpoints, and start those that run again: they read it then."""
    from cli.network_setup import own_first

    refusals, changed = [], []
    for member in place.members:
        path = member.directory / CONFIG_FILE
        if path.exists():
            try:
                before = path.read_bytes()
                write_endpoints(path, own_first(place, member))
                if path.read_bytes() != before:
                    changed.append(member)
            except CommandError as error:
                refusals.append(str(error))
    try:
        restart_nodes(place, changed, say)
    except CommandError as error:
        raise CommandError("; ".join((*refusals, str(error))), error.exit_code) from error
    if refusals:
        raise CommandError("; ".join(refusals), ExitCode.BAD_INPUT)


def restart_nodes(place: NetworkPlace, members: Sequence[MemberPlace], say: Callable[[str], None]) -> None:
    """Start these members' nodes again where they run, one after the other: the next only when the last is ready.

    Raises:
        CommandError: one did not get ready, or another command starts or stops parts now. Names the nodes that were not
            started again: they go on with the settings that they had.
    """
    nodes = [
        part
        for stage in stages_of(place)
        for part in stage
        if part.member in members and part.watched.process() is not None
    ]
    suspended = Suspended(place)
    done, reason = 0, ""
    try:
        with changing(place.directory):
            if nodes:
                say(
                    _(
                        "The nodes start again, one after the other, with the new list of the chain's endpoints."
                    )
                )
            for node in nodes:
                node.stop()
                failures = start_parts([node], say, suspended)
                if failures:
                    reason = failures[0].sentence
                    break
                done += 1
    except (CommandError, EnginesError) as error:
        reason = str(error)
    if reason:
        raise CommandError(
            _(
                "the new list of the chain's endpoints is written, and these nodes take it at their next start: "
                "{names} ({reason})"
            ).format(names=", ".join(node.name for node in nodes[done:]), reason=reason),
            ExitCode.UNREACHABLE,
        )


def write_endpoints(config: Path, urls: tuple[str, ...]) -> None:
    """Replace the endpoints in a node's settings, and nothing else of them.

    Raises:
        CommandError: they are written in a way that cannot be replaced; nothing was changed.
    """
    from crypto.private_file import atomic_write_private

    text = config.read_text()
    line = "rpc_urls = [" + ", ".join(f'"{url}"' for url in urls) + "]"
    replaced = _replace_endpoints(text, line)
    before, after = _parsed(text), _parsed(replaced)
    wanted = {**(before or {}), "rpc_urls": list(urls)}
    wanted.pop("rpc_url", None)
    if before is None or after != wanted:
        raise CommandError(
            _(
                "{path}: its endpoints cannot be replaced as they are written. Write this instead: {line}"
            ).format(path=config, line=line),
            ExitCode.BAD_INPUT,
        )
    atomic_write_private(config, replaced.encode())


def _replace_endpoints(text: str, line: str) -> str:
    """The text with this line for what names endpoints, over however many lines that goes."""
    lines, kept, place = text.splitlines(keepends=True), list[str](), None
    while lines:
        if not _ENDPOINTS.match(lines[0]):
            kept.append(lines.pop(0))
            continue
        place = len(kept) if place is None else place
        # What is written for a key ends where it can be read.
        ends = (end for end in range(1, len(lines) + 1) if _parsed("".join(lines[:end])) is not None)
        del lines[: next(ends, 1)]
    if place is not None:
        kept.insert(place, line + "\n")
    return "".join(kept)


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
