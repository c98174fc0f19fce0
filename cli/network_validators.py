"""The validators of a network as its parts: started one by one, looked at through their own RPC."""

from collections.abc import Mapping
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
        is_ready=lambda: validator.height(LOOK_SECONDS) is not None,
        stop=validator.background.stop,
        look=partial(look_at_validator, validator),
    )


def part_name(validator: str, member: str | None) -> str:
    """What people call a validator: its member's, with its own name where it is one of several."""
    if member is None:
        return _("validator {name}").format(name=validator)
    number = validator.rpartition("-")[2]
    ordinal = f" {number}" if number.isdigit() and not member.endswith(number) else ""
    return _("{member} validator").format(member=member) + ordinal


def look_at_validator(validator: ValidatorPlace) -> dict[str, Any]:
    """Its newest block, its peers and its power, as CometBFT's own RPC tells them.

    Raises:
        httpx.HTTPError: it does not answer.
        ValueError, KeyError, TypeError: it answers something else.
    """
    base = f"http://127.0.0.1:{validator.comet_rpc_port}"
    with httpx.Client(base_url=base, timeout=LOOK_SECONDS, trust_env=False, verify=False) as client:  # noqa: S501 - plain HTTP on loopback
        status = client.get("/status").json()["result"]
        peers = int(client.get("/net_info").json()["result"]["n_peers"])
    head, own = status["sync_info"], status["validator_info"]
    return {
        "final_block": int(head["latest_block_height"]),
        "final_time": datetime.fromisoformat(head["latest_block_time"][:19] + "+00:00").timestamp(),
        "peers": peers,
        "voting_power": int(own["voting_power"]),
        "note": _("catching up") if head["catching_up"] else "",
    }
