"""How `phr network status` shows the parts of a network to people: a line each, and what ails them below."""

import re
from collections.abc import Sequence
from pathlib import Path

from cli.network_parts import Kind
from cli.network_status import FAILING, STOPPED, PartStatus, state_text
from cli.texts import _

UNKNOWN = "?"
_BLOCKS = frozenset({"final_block", "lag_blocks"})
_TOLD_BY = {
    Kind.CHAIN.value: _BLOCKS,
    Kind.VALIDATOR.value: _BLOCKS | {"peers", "voting_power"},
    Kind.STORE.value: frozenset({"peers"}),
    Kind.NODE.value: _BLOCKS | {"peers", "to_heal"},
}
"""What each kind of part tells of itself: unknown where it does not, while a blank is what it does not have."""

_SECONDS = re.compile(r"[0-9]+ s\b")

LEFT_OUT_FIRST = (10, 9, 1, 7, 6, 5)
"""The columns that a narrow terminal misses least: memory, process, kind (the part's name says it), power, peers, lag
(the final blocks say it)."""
NEVER_FOLDED = (3,)
"""An endpoint is copied."""


def columns() -> tuple[str, ...]:
    """The names of the columns, in the order of :func:`row`."""
    return (
        *(_("part"), _("kind"), _("state"), _("at"), _("final block"), _("lag"), _("peers"), _("power")),
        *(_("to heal"), _("process"), _("memory")),
    )


def row(part: PartStatus) -> tuple[str, ...]:
    """One part; "?" for what it should tell and does not, nothing for what its kind does not have."""
    told = _TOLD_BY.get(part.kind, frozenset())

    def cell(name: str, value: int | None) -> str:
        return str(value) if value is not None else UNKNOWN if name in told else ""

    return (
        *(part.name, part.kind, state_text(part.state), _at(part)),
        *(cell(name, getattr(part, name)) for name in ("final_block", "lag_blocks", "peers", "voting_power")),
        cell("to_heal", _to_heal(part)),
        cell("pid", part.pid),
        "" if part.memory_bytes is None else f"{part.memory_bytes / 2**20:.0f} MiB",
    )


def _at(part: PartStatus) -> str:
    """Its endpoint; of a database in a directory, whose long path the JSON document has, only what it is."""
    return _("unix socket") if part.endpoint.startswith("/") else part.endpoint


def _to_heal(part: PartStatus) -> int | None:
    """Records with too few copies: those that a node published, and those that it should hold."""
    return None if part.under_replicated is None else part.under_replicated + (part.missing_here or 0)


def notes(parts: Sequence[PartStatus]) -> list[str]:
    """What ails the parts: each cause once, with the names of all parts that say it, whatever their seconds differ."""
    saying: dict[str, list[str]] = {}
    words: dict[str, str] = {}
    for part in parts:
        for cause in part.causes or (part.note,):
            if cause:
                alike = _SECONDS.sub("s", cause)
                words.setdefault(alike, cause)
                saying.setdefault(alike, []).append(part.name)
    return [f"{', '.join(names)}: {words[alike]}" for alike, names in saying.items()]


def failure(parts: Sequence[PartStatus], directory: Path) -> str:
    """One sentence of the parts that do not work; nothing where all do."""
    states = {part.name: part.state for part in parts if part.is_process}
    failing = [name for name, state in states.items() if state in FAILING]
    if not failing:
        return ""
    if set(states.values()) == {STOPPED}:
        return _("nothing of this network runs: `phr network up {directory}` starts it").format(
            directory=directory
        )
    return _("{count} of {all} parts do not work: {names}").format(
        count=len(failing), all=len(states), names=", ".join(failing)
    )
