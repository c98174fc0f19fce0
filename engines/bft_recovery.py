"""What a validator whose disk is lost may sign next: its memory made anew from what those that run have seen.

A validator remembers the last place (height, round, step) that it signed at, so that it never signs two things at one
place. Where that memory is lost and the key is not, the others tell what must be in it:

- The others go on without it: :data:`MARGIN_BLOCKS` above them. It signs nothing until the chain has got there.
- The chain stands for want of its vote: any such margin would let it stand for ever. It must sign exactly where the
  others wait, and nothing that it is known to have signed. What it signed there and nobody who runs has seen, it may
  contradict: that is the one fault that 3 f + 1 validators bear f of. So one validator is recovered so at a time, and
  only where its vote alone lets the chain go on.

Source: CometBFT v0.39, privval/file.go (CheckHRS) and the RPC ``status`` and ``dump_consensus_state``.
"""

import hashlib
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from crypto.private_file import atomic_write_private, read_private
from engines.errors import EnginesError

MARGIN_BLOCKS = 100
PROPOSED, PREVOTED, PRECOMMITTED = 1, 2, 3
"""The steps of a round at which a validator signs."""
STATE_PATH = Path("data", "priv_validator_state.json")
KEY_PATH = Path("config", "priv_validator_key.json")
_VIEW_BYTES = 64 * 1024 * 1024
_FILE_BYTES = 1024 * 1024
_FINGERPRINT_DIGITS = 12
_NO_VOTE = "nil-Vote"


@dataclass(frozen=True, slots=True, order=True)
class LastSigned:
    """A place in the consensus at or below which a validator signs nothing any more, in the chain's order."""

    height: int
    round: int
    step: int


@dataclass(frozen=True, slots=True)
class ConsensusView:
    """What one node of the chain that runs tells of the consensus.

    Attributes:
        name: How it calls itself.
        address: Its validator's address, 40 hexadecimal digits.
        chain_id: The name of its chain.
        height, round: Where it is: the block that it works on, and at which try.
        power: The validators of that height, by address, with their voting power; in the chain's order.
        votes: Of each round the votes at that height that it has: for prevotes and for precommits one text a validator.
    """

    name: str
    address: str
    chain_id: str
    height: int
    round: int
    power: dict[str, int]
    votes: dict[int, tuple[tuple[str, ...], tuple[str, ...]]]

    def last_vote(self, address: str) -> LastSigned:
        """The latest that a validator is known to have signed at this height; before all of it if that is nothing."""
        index = list(self.power).index(address)
        known = [
            LastSigned(self.height, round_, step)
            for round_, steps in self.votes.items()
            for step, votes in zip((PREVOTED, PRECOMMITTED), steps, strict=True)
            if _is_vote_of(votes[index], index, address)
        ]
        return max(known, default=LastSigned(self.height, 0, 0))


@dataclass(frozen=True, slots=True)
class Recovery:
    """What has to be a validator's memory, and why.

    Attributes:
        last_signed: The memory.
        stands: Whether the chain waits for this validator's vote.
    """

    last_signed: LastSigned
    stands: bool


def read_view(path: Path) -> ConsensusView:
    """A view from a file with the answers to ``status`` and ``dump_consensus_state``, asked in one batch.

    Raises:
        EnginesError: it is not that, or of a node that is still catching up.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_VIEW_BYTES + 1)
        if len(raw) > _VIEW_BYTES:
            raise ValueError(f"it has more than {_VIEW_BYTES} bytes")
        status, dump = (answer["result"] for answer in sorted(orjson.loads(raw), key=_id_of))
        state = dump["round_state"]
        behind = bool(status["sync_info"]["catching_up"])
        view = ConsensusView(
            str(status["node_info"]["moniker"]),
            str(status["validator_info"]["address"]),
            str(status["node_info"]["network"]),
            int(state["height"]),
            int(state["round"]),
            {str(one["address"]): int(one["voting_power"]) for one in state["validators"]["validators"]},
            {
                int(one["round"]): (tuple(map(str, one["prevotes"])), tuple(map(str, one["precommits"])))
                for one in state["votes"]
            },
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnginesError(
            f"expected a running validator's answers to status and dump_consensus_state in {path}; came: {error}"
        ) from error
    counts = {len(votes) for steps in view.votes.values() for votes in steps}
    if counts - {len(view.power)}:
        raise EnginesError(f"expected the votes of {len(view.power)} validators in {path}; came {counts}")
    if behind:
        raise EnginesError(f"{view.name} ({path}) is catching up: wait until it has, and ask it again")
    return view


def recover(views: Sequence[ConsensusView], address: str) -> Recovery:
    """The memory that a validator must have, by what those that run have seen.

    Args:
        views: Of all validators that run; taken after the lost one ended for good.
        address: The lost one's, 40 hexadecimal digits.

    Raises:
        EnginesError: the views are of several chains, of too few validators, or the lost one is none or runs.
    """
    if not views:
        raise EnginesError("expected what each validator that runs has seen; came nothing")
    if len({view.chain_id for view in views}) > 1:
        chains = ", ".join(f"{view.name}: {view.chain_id}" for view in views)
        raise EnginesError(f"expected validators of one chain; came {chains}")
    running = {view.address for view in views}
    if address in running:
        raise EnginesError(f"the validator {address} runs, with a memory of its own: end it for good first")
    furthest = max(views, key=lambda view: (view.height, view.round))
    if address not in furthest.power:
        raise EnginesError(
            f"the validator {address} has no vote on {furthest.chain_id}: it needs no memory of what it signed"
        )
    total = sum(furthest.power.values())
    without = sum(power for other, power in furthest.power.items() if other in running)
    if 3 * without > 2 * total:
        return Recovery(LastSigned(furthest.height + MARGIN_BLOCKS, 0, 0), stands=False)
    if 3 * (without + furthest.power[address]) <= 2 * total:
        raise EnginesError(
            f"those that run have {without} of {total} votes, and this validator {furthest.power[address]}: too few "
            "for a block. Give what all that run have seen, or start another one with its own disk first"
        )
    if 3 * furthest.power[address] > total:
        raise EnginesError(
            f"this validator has {furthest.power[address]} of {total} votes, more than a third: it may have decided a "
            "block with others that run no more, and another one in its place would split the chain. It needs its own "
            "disk"
        )
    waits = LastSigned(furthest.height, furthest.round, PROPOSED)
    seen = (view.last_vote(address) for view in views if view.height == furthest.height)
    return Recovery(max(waits, *seen), stands=True)


def own_address(home: Path) -> str:
    """The address of the validator whose key lies in a directory: the first 20 bytes of its public key's SHA-256.

    Raises:
        EnginesError: something else is there.
        KeyfileError: there is no key, or others than its user can read it.
    """
    try:
        found = orjson.loads(read_private(home / KEY_PATH, _FILE_BYTES))
        public = b64decode(found["pub_key"]["value"], validate=True)
    except (ValueError, KeyError, TypeError):
        # Without its words: they might quote the key.
        raise EnginesError(f"expected a validator's key in {home / KEY_PATH}") from None
    return hashlib.sha256(public).hexdigest()[:40].upper()


def read_last_signed(home: Path) -> LastSigned | None:
    """A validator's memory as it lies there; None where there is none.

    Raises:
        EnginesError: something else is there.
    """
    path = home / STATE_PATH
    try:
        with path.open("rb") as file:
            found: dict[str, Any] = orjson.loads(file.read(_FILE_BYTES))
        return LastSigned(int(found["height"]), int(found["round"]), int(found["step"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnginesError(f"expected the memory of a validator in {path}; came: {error}") from error


def write_last_signed(home: Path, last_signed: LastSigned) -> bool:
    """Make a validator's memory that, unless it has one that is as far; it must not run. Whether it was written.

    Raises:
        EnginesError: something else is there.
    """
    there = read_last_signed(home)
    if there is not None and there >= last_signed:
        return False
    path = home / STATE_PATH
    path.parent.mkdir(mode=0o700, exist_ok=True)
    document = {"height": str(last_signed.height), "round": last_signed.round, "step": last_signed.step}
    atomic_write_private(path, orjson.dumps(document, option=orjson.OPT_INDENT_2))
    return True


def _id_of(answer: dict[str, Any]) -> int:
    return int(answer["id"])


def _is_vote_of(vote: str, index: int, address: str) -> bool:
    """Whether a place in a list of votes has that validator's; raises EnginesError where it has another's."""
    if vote == _NO_VOTE:
        return False
    if not vote.startswith(f"Vote{{{index}:{address[:_FINGERPRINT_DIGITS]} "):
        raise EnginesError(f"expected a vote of the validator {address}; came {vote[:80]}")
    return True
