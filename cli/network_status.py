"""How each process of a network is, as it is now."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from cli.network_parts import Kind, Part, ask_node, look_at, stages_of
from cli.network_processes import suspended_members
from cli.places import MemberPlace, NetworkPlace
from cli.texts import _

READY, NOT_READY, STOPPED, SUSPENDED, KEYS_ONLY = "ready", "not ready", "stopped", "suspended", "keys only"
FAILING = frozenset({NOT_READY, STOPPED})
"""The states of a part that does not do its work, though nobody decided so."""


@dataclass(frozen=True)
class PartStatus:
    """One process of a network; what its kind does not have, or what it did not say, is None."""

    name: str
    kind: str
    """``network_parts.Kind``."""
    state: str
    """ready, not ready, stopped, suspended, or keys only."""
    endpoint: str
    pid: int | None = None
    memory_bytes: int | None = None
    """Of the process and its children; memory that they share counts once."""
    final_block: int | None = None
    final_age_seconds: float | None = None
    """How long ago the final block was made, or a node saw a new one, by this machine's clock."""
    lag_blocks: int | None = None
    """How many blocks it is behind the newest that any part knows."""
    peers: int | None = None
    """How many others of its kind it is connected to."""
    voting_power: int | None = None
    """A validator's, as the chain has it; 0 for one that was removed."""
    under_replicated: int | None = None
    """How many records that a node published some custodian does not hold (yet)."""
    missing_here: int | None = None
    """How many records a node is a custodian of, and lacks something of."""
    note: str = ""
    """What ails it, in words."""
    causes: tuple[str, ...] = ()
    """The same one by one, where it is more than one; not part of the document."""
    log: str = ""
    """The path of its log."""

    @property
    def is_process(self) -> bool:
        """Whether it is one; a member with keys only is none."""
        return self.kind != Kind.KEYS.value

    def document(self) -> dict[str, Any]:
        """The same with stable keys."""
        return {key: value for key, value in asdict(self).items() if key != "causes"}


def network_status(place: NetworkPlace) -> list[PartStatus]:
    """Every process of the network, and every member that has keys only."""
    parts = [part for stage in stages_of(place) for part in stage]
    suspended = suspended_members(place)
    with ThreadPoolExecutor(max_workers=len(parts) or 1) as pool:
        found = list(pool.map(lambda part: _look(part, suspended), parts))
    newest = max((status["final_block"] for status in found if status.get("final_block")), default=None)
    statuses = [_status(part, facts, newest) for part, facts in zip(parts, found, strict=True)]
    without_node = [member for member in place.members if not member.runs_node]
    return statuses + [PartStatus(m.name, Kind.KEYS.value, KEYS_ONLY, "") for m in without_node]


def _look(part: Part, suspended: frozenset[MemberPlace]) -> dict[str, Any]:
    process = part.watched.process()
    if process is None and not _answers(part):
        return {"state": SUSPENDED if part.member in suspended else STOPPED}
    state = READY if part.is_ready() else SUSPENDED if part.member in suspended else NOT_READY
    known = {} if process is None else {"pid": process.pid, "memory_bytes": _memory_bytes(process)}
    return {"state": state, **known, **look_at(part)}


def _answers(part: Part) -> bool:
    """Whether a node answers that a supervisor, such as systemd, started and not `phr network up`."""
    return part.member is not None and ask_node(part.member, "/ready") is not None


def _status(part: Part, facts: dict[str, Any], newest: int | None) -> PartStatus:
    final_time, height = facts.pop("final_time", None), facts.get("final_block")
    if final_time is not None:
        facts["final_age_seconds"] = round(max(0.0, time.time() - final_time), 1)
    if height is not None and newest is not None:
        facts["lag_blocks"] = newest - height
    return PartStatus(
        part.name, part.kind.value, endpoint=part.endpoint, log=str(part.watched.log_path), **facts
    )


def _memory_bytes(process: psutil.Process) -> int | None:
    try:
        children = process.children(recursive=True)
        if not children:
            return int(process.memory_info().rss)
        return sum(int(one.memory_full_info().pss) for one in (process, *children))
    except psutil.Error:
        return None


def chain_summary(statuses: Sequence[PartStatus]) -> dict[str, Any]:
    """The chain at a glance: its height and age as the newest part has it, and how many validators are up."""
    heads = [s for s in statuses if s.final_block is not None]
    newest = max(heads, key=lambda s: s.final_block or 0, default=None)
    validators = [s for s in statuses if s.kind == Kind.VALIDATOR.value]
    return {
        "height": newest.final_block if newest else None,
        "final_age_seconds": newest.final_age_seconds if newest else None,
        "validators": len(validators),
        "validators_up": sum(s.state == READY for s in validators),
    }


def state_text(state: str) -> str:
    """A state in the reader's language."""
    return {
        READY: _("ready"),
        NOT_READY: _("not ready"),
        STOPPED: _("stopped"),
        SUSPENDED: _("suspended"),
        KEYS_ONLY: _("keys only"),
    }[state]
