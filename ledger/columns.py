"""The contract's events as columns: many logs decoded at once with numpy, for replay and verification.

Decoding log by log yields a few thousand events a second; here all logs of one kind are one array of 32-byte words, and
a field is a slice of it. Events whose data has no fixed size are rare and decoded one by one, save the decisions of
batches, which are most of a large ledger (``ledger.decision_columns``). Both decoders accept the same logs, and a
log that columns refuse is given to the other one, which says what is wrong with it. Why: ADR 0055.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain as chained
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ledger.blocks import Position, parse_log
from ledger.chain import Chain
from ledger.decision_columns import Decisions, batched_decisions, in_order, single_decisions
from ledger.errors import ChainAnswerInvalid, EventUnknown
from ledger.events import (
    EVENT_TYPES,
    AccessBatchDecided,
    AccessDenied,
    AccessPermitted,
    Event,
    decode,
    topic,
)
from ledger.log_pages import RawLog, read_pages
from ledger.octets import Bytes2D, Integers, hex_rows, quantities, slices, unsigned
from ledger.solidity import WORD_BYTES, SolidityField, SolidityType, fields_of

_Made = TypeVar("_Made")


@dataclass(frozen=True)
class EventColumns:
    """All events of one kind, in the chain's order. ``words`` is shaped (events, fields, 32)."""

    event_type: type[Event]
    block_number: Integers
    block_hash: Bytes2D
    log_index: Integers
    transaction_hash: Bytes2D
    words: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.block_number)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, (name, _field) in enumerate(flat_fields(self.event_type))}

    def octets(self, name: str, size_bytes: int = WORD_BYTES) -> Bytes2D:
        """A field as its last ``size_bytes`` bytes: 32 for a digest, 20 for an address."""
        return self.words[:, self._places[name], WORD_BYTES - size_bytes :]

    def address(self, name: str) -> Bytes2D:
        """An address field, shaped (events, 20)."""
        return self.octets(name, 20)

    def integers(self, name: str) -> Integers:
        """An unsigned field of at most 63 bits, such as a day, a mask or a time; not the 64 bits of a nonce."""
        return unsigned(self.octets(name, 8)).astype(np.int64)

    def rows(self) -> list[Event]:
        """The same events one by one, equal to what ``ledger.events.decode`` makes of their logs."""
        values = {name: self._values(name, field.type) for name, field in flat_fields(self.event_type)}
        made = _structs(self.event_type, "", values, self._positions())
        return list(made)

    def _positions(self) -> list[Position]:
        hashes, transactions = slices(self.block_hash), slices(self.transaction_hash)
        places = zip(self.block_number.tolist(), hashes, self.log_index.tolist(), transactions, strict=True)
        return [Position(*place) for place in places]

    def _values(self, name: str, kind: SolidityType | type) -> Sequence[Any]:
        assert isinstance(kind, SolidityType)
        if kind.kind == "address":
            return slices(self.address(name))
        if kind.kind == "bytes32":
            return slices(self.octets(name))
        numbers: list[int] = unsigned(self.octets(name, 8)).tolist()
        return [number != 0 for number in numbers] if kind.kind == "bool" else numbers


def _structs(
    struct: type, prefix: str, values: Mapping[str, Sequence[Any]], positions: Sequence[Position] | None
) -> Iterable[Any]:
    arguments: dict[str, Iterable[Any]] = {} if positions is None else {"position": positions}
    for field in fields_of(struct):
        name = prefix + field.name
        if isinstance(field.type, SolidityType):
            arguments[field.name] = values[name]
        else:
            arguments[field.name] = _structs(field.type, name + ".", values, None)
    names = tuple(arguments)
    for row in zip(*arguments.values(), strict=True):
        yield struct(**dict(zip(names, row, strict=True)))


@dataclass(frozen=True)
class LedgerColumns:
    """A whole history by kind of event: fixed kinds as columns, decisions, and the rest as decoded events."""

    fixed: Mapping[type[Event], EventColumns]
    decisions: Decisions
    others: tuple[Event, ...]
    event_count: int
    """Logs read; a batch counts as one."""

    def changes(self) -> list[Event]:
        """Every event but the decisions on accesses, one by one and in the chain's order."""
        kinds = (
            columns for kind, columns in self.fixed.items() if kind not in (AccessPermitted, AccessDenied)
        )
        found = list(chained(self.others, *(columns.rows() for columns in kinds)))
        return sorted(found, key=lambda event: (event.position.block_number, event.position.log_index))


def flat_fields(event_type: type[Event]) -> list[tuple[str, SolidityField]]:
    """An event's elementary fields in the order of a log's words: topics first, structs as ``terms.patient``."""
    fields = fields_of(event_type)
    ordered = [f for f in fields if f.indexed] + [f for f in fields if not f.indexed]
    flat: list[tuple[str, SolidityField]] = []
    for field in ordered:
        if isinstance(field.type, SolidityType):
            flat.append((field.name, field))
        else:
            flat.extend((f"{field.name}.{inner.name}", inner) for inner in fields_of(field.type))
    return flat


def _is_fixed(event_type: type[Event]) -> bool:
    kinds = (field.type for _name, field in flat_fields(event_type))
    return all(isinstance(kind, SolidityType) and kind.kind not in ("bytes", "string") for kind in kinds)


_TYPES = {"0x" + topic(event_type).hex(): event_type for event_type in EVENT_TYPES}
_FIXED = tuple(event_type for event_type in EVENT_TYPES if _is_fixed(event_type))


def read_columns(chain: Chain, address: bytes, first_block: int, last_block: int) -> LedgerColumns:
    """Every event of a contract from one block to another, both included, as columns.

    Raises:
        EventUnknown: a log is of no kind that this version knows, or not of its kind's form.
        ChainAnswerInvalid: the endpoint's answer is not as its specification says, or not what was asked for.
    """
    return columns_of(read_pages(chain, address, first_block, last_block))


def columns_of(pages: Iterable[Sequence[RawLog]]) -> LedgerColumns:
    """The columns of pages of logs, checked and in order (``ledger.log_pages``); raises as :func:`read_columns`."""
    # Page by page, so that the parsed JSON of one page at most is in memory.
    parts = [_page_columns(page) for page in pages] or [_page_columns(())]
    if len(parts) == 1:
        return parts[0]
    return LedgerColumns(
        {kind: _joined([part.fixed[kind] for part in parts]) for kind in _FIXED},
        in_order([part.decisions for part in parts]),
        tuple(chained.from_iterable(part.others for part in parts)),
        sum(part.event_count for part in parts),
    )


def _page_columns(page: Sequence[RawLog]) -> LedgerColumns:
    by_type: dict[type[Event], list[RawLog]] = {event_type: [] for event_type in EVENT_TYPES}
    for log in page:
        by_type[_type_of(log)].append(log)
    fixed = {kind: _explained(by_type[kind], partial(_columns, kind)) for kind in _FIXED}
    others = [
        decode(parse_log(log))
        for event_type, logs in by_type.items()
        if event_type not in _FIXED and event_type is not AccessBatchDecided
        for log in logs
    ]
    others.sort(key=lambda event: (event.position.block_number, event.position.log_index))
    singles = [single_decisions(fixed[kind]) for kind in (AccessPermitted, AccessDenied)]
    batches = _explained(by_type[AccessBatchDecided], batched_decisions)
    return LedgerColumns(fixed, in_order([*singles, *batches]), tuple(others), len(page))


def _joined(parts: Sequence[EventColumns]) -> EventColumns:
    names = ("block_number", "block_hash", "log_index", "transaction_hash", "words")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return EventColumns(event_type=parts[0].event_type, **joined)


def _type_of(log: RawLog) -> type[Event]:
    topics = log["topics"]
    known = _TYPES.get(topics[0]) if topics else None
    # One by one the decoder says what is wrong with an unknown one; it must not be passed over.
    return known if known is not None else type(decode(parse_log(log)))


def _explained(logs: list[RawLog], make: Callable[[list[RawLog]], _Made]) -> _Made:
    """What ``make`` makes of the logs; where it refuses them, the error of the first that is wrong."""
    try:
        return make(logs)
    except (EventUnknown, ChainAnswerInvalid):
        for log in logs:
            decode(parse_log(log))
        raise


def _columns(event_type: type[Event], logs: list[RawLog]) -> EventColumns:
    fields = flat_fields(event_type)
    name = event_type.__name__
    topics = sum(field.indexed for _name, field in fields)
    if any(len(log["topics"]) != 1 + topics for log in logs):
        raise EventUnknown(f"{name}: expected {1 + topics} topics in each log; some have another number")
    parts = [hex_rows([log["topics"][1 + k] for log in logs], WORD_BYTES, name) for k in range(topics)]
    data = hex_rows([log["data"] for log in logs], WORD_BYTES * (len(fields) - topics), name)
    words = np.concatenate([*parts, data], axis=1).reshape(len(logs), len(fields), WORD_BYTES)
    for place, (_field_name, field) in enumerate(fields):
        _check_width(name, field, words[:, place])
    return EventColumns(
        event_type,
        quantities([log["blockNumber"] for log in logs]),
        hex_rows([log["blockHash"] for log in logs], WORD_BYTES, name),
        quantities([log["logIndex"] for log in logs]),
        hex_rows([log["transactionHash"] for log in logs], WORD_BYTES, name),
        words,
    )


def _check_width(name: str, field: SolidityField, words: Bytes2D) -> None:
    kind = field.type
    if not isinstance(kind, SolidityType) or kind.kind == "bytes32":
        return
    size = 20 if kind.kind == "address" else 1 if kind.kind == "bool" else kind.bits // 8
    too_wide = words[:, : WORD_BYTES - size].any() or (kind.kind == "bool" and (words[:, -1] > 1).any())
    if too_wide:
        raise EventUnknown(f"{name}.{field.solidity_name}: a value is wider than {kind.name}")
