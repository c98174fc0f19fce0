"""The validators of a network as its parts: started one by one, looked at through their own RPC."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from cli.network_parts import LOOK_SECONDS, Kind, Part, built
from cli.places import NetworkPlace
from cli.texts import _
from engines.bft import BftChain, ValidatorPlace, open_chain
from engines.binaries import find_binary
from engines.errors import EngineFailed

HALTED_SECONDS = 30.0
"""A chain whose newest block is older has halted: a third of its validators or more are away."""


def validator_parts(project: Path, place: NetworkPlace) -> list[Part]:
    """The validators of this machine, in the order of the members that run them."""
    chain = open_chain(place.chain_directory, built(project, "phr-chain"))
    owner = {name: member.name for member in place.members for name in member.validators}
    return [_part(project, chain, index, owner) for index in range(len(chain.validators))]


def _part(project: Path, chain: BftChain, index: int, owner: Mapping[str, str]) -> Part:
    validator = chain.validators[index]

    def start() -> None:
        find_binary(project, "phr-chain")
        chain.launch(index)

    return Part(
        name=part_name(validator.name, owner.get(validator.name)),
        kind=Kind.VALIDATOR,
        endpoint=validator.rpc_url,
        watched=validator.background,
        start=start,
        is_ready=partial(_is_at_work, validator),
        stop=validator.background.stop,
        look=partial(_look, validator),
    )


def part_name(validator: str, member: str | None) -> str:
    """What people call a validator: its member's, with its own name where it is one of several."""
    if member is None:
        return _("validator {name}").format(name=validator)
    number = validator.rpartition("-")[2]
    ordinal = f" {number}" if number.isdigit() and not member.endswith(number) else ""
    return _("{member} validator").format(member=member) + ordinal


@dataclass(frozen=True)
class ValidatorStatus:
    """What a validator says of itself."""

    height: int
    block_time: float
    """When its newest block was made, POSIX seconds."""
    catching_up: bool
    peers: int
    voting_power: int

    @property
    def age_seconds(self) -> float:
        """How old its newest block is, by this machine's clock."""
        return max(0.0, time.time() - self.block_time)

    @property
    def has_halted(self) -> bool:
        """Whether no block comes any more, though it has all that there are."""
        return self.age_seconds > HALTED_SECONDS and not self.catching_up


def ask_validator(validator: ValidatorPlace) -> ValidatorStatus:
    """Its newest block, its peers and its power, as CometBFT's own RPC tells them.

    Raises:
        EngineFailed: it does not answer, or something else does.
    """
    base = f"http://127.0.0.1:{validator.comet_rpc_port}"
    try:
        # Plain HTTP on loopback: there is no certificate to look at.
        with httpx.Client(base_url=base, timeout=LOOK_SECONDS, trust_env=False, verify=False) as client:  # noqa: S501
            status = client.get("/status").json()["result"]
            peers = int(client.get("/net_info").json()["result"]["n_peers"])
        head = status["sync_info"]
        return ValidatorStatus(
            int(head["latest_block_height"]),
            datetime.fromisoformat(head["latest_block_time"][:19] + "+00:00").timestamp(),
            bool(head["catching_up"]),
            peers,
            int(status["validator_info"]["voting_power"]),
        )
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise EngineFailed(
            _("validator {name} does not answer at {url}: {error}").format(
                name=validator.name, url=base, error=type(error).__name__
            )
        ) from error


def _is_at_work(validator: ValidatorPlace) -> bool:
    """Whether it answers on both its RPCs, and gets blocks."""
    try:
        return not ask_validator(validator).has_halted and validator.height(LOOK_SECONDS) is not None
    except EngineFailed:
        return False


def _look(validator: ValidatorPlace) -> dict[str, Any]:
    found = ask_validator(validator)
    note = _("catching up") if found.catching_up else ""
    if found.has_halted:
        note = _("no block for {seconds:.0f} s: a third of the validators or more are away").format(
            seconds=found.age_seconds
        )
    return {
        "final_block": found.height,
        "final_age_seconds": round(found.age_seconds, 1),
        "peers": found.peers,
        "voting_power": found.voting_power,
        "note": note,
    }
