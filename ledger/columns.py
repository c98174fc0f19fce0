"""The contract's events as columns: many logs decoded at once with numpy, for replay and verification.

Decoding log by log yields a few thousand events a second; here all logs of one kind are one array of 32-byte words, and
a field is a slice of it. Events whose data has no fixed size are rare and decoded one by one, save the
decisions of batches, which are most of a large ledger: those are decoded in groups of equal length.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.blocks import parse_log, quantity
from ledger.chain import Chain
from ledger.errors import AnswerTooLarge, ChainAnswerInvalid, EventUnknown, RpcRefused
from ledger.events import (
    DECISION_BYTES,
    EVENT_TYPES,
    AccessBatchDecided,
    AccessDenied,
    AccessPermitted,
    Event,
    decode,
    topic,
)
from ledger.solidity import WORD_BYTES, SolidityField, SolidityType, fields_of

Bytes2D = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
LOG_BLOCKS_AT_FIRST = 2_000
_BATCH_HEAD_WORDS = 7
"""A batch's five static words, the offset of its decisions and their length."""


@dataclass(frozen=True)
class EventColumns:
    """All events of one kind, in the chain's order. ``words`` is shaped (events, fields, 32)."""

    event_type: type[Event]
    block_number: Integers
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
        """An unsigned field of at most 63 bits, such as a day, a mask or a time."""
        return np.ascontiguousarray(self.octets(name, 8)).view(">u8").reshape(-1).astype(np.int64)


@dataclass(frozen=True)
class Decisions:
    """Decisions on accesses, single and batched, one row each, in the order in which they were taken."""

    block_number: Integers
    transaction_hash: Bytes2D
    patient: Bytes2D
    requester: Bytes2D
    record_id: Bytes2D
    consent_id: Bytes2D
    sequence: Integers
    reason: Integers
    purpose: Integers
    response_key_digest: Bytes2D
    person_commitment: Bytes2D
    time: Integers

    def __len__(self) -> int:
        return len(self.block_number)


@dataclass(frozen=True)
class LedgerColumns:
    """A whole history by kind of event: fixed kinds as columns, the rest as decoded events."""

    fixed: Mapping[type[Event], EventColumns]
    decisions: Decisions
    others: tuple[Event, ...]
    event_count: int
    """Logs read; a batch counts as one."""


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
_FIXED = frozenset(event_type for event_type in EVENT_TYPES if _is_fixed(event_type))


def raw_logs(
    chain: Chain, address: bytes, first_block: int, last_block: int
) -> Iterator[list[dict[str, Any]]]:
    """The logs of a contract in ranges of blocks, as the endpoint sent them, in order.

    A range that is too much for the endpoint is halved, and grows again afterwards.

    Raises:
        ChainAnswerInvalid: an answer is not a list of logs.
        RpcRefused, AnswerTooLarge: the endpoint refuses even a single block.
    """
    start, span = first_block, min(LOG_BLOCKS_AT_FIRST, chain.engine.max_log_blocks)
    while start <= last_block:
        end = min(start + span - 1, last_block)
        asked = {"address": "0x" + address.hex(), "fromBlock": hex(start), "toBlock": hex(end)}
        try:
            logs = chain.request("eth_getLogs", [asked])
        except (RpcRefused, AnswerTooLarge):
            if span == 1:
                raise
            span = max(1, span // 2)
            continue
        if not isinstance(logs, list):
            raise ChainAnswerInvalid("expected a list of logs from eth_getLogs")
        yield logs
        start, span = end + 1, min(span * 2, chain.engine.max_log_blocks)


def read_columns(chain: Chain, address: bytes, first_block: int, last_block: int) -> LedgerColumns:
    """Every event of a contract from one block to another, both included, as columns.

    Raises:
        EventUnknown: a log is of no kind that this version knows, or not of its kind's form.
        ChainAnswerInvalid: the endpoint's answer is not as its specification says.
    """
    by_type: dict[type[Event], list[dict[str, Any]]] = {event_type: [] for event_type in EVENT_TYPES}
    count = 0
    for logs in raw_logs(chain, address, first_block, last_block):
        count += len(logs)
        for log in logs:
            by_type[_type_of(log)].append(log)
    fixed = {event_type: _columns(event_type, by_type[event_type]) for event_type in _FIXED}
    others = [
        decode(parse_log(log))
        for event_type, logs in by_type.items()
        if event_type not in _FIXED and event_type is not AccessBatchDecided
        for log in logs
    ]
    others.sort(key=lambda event: event.position)
    decisions = _decisions(fixed, by_type[AccessBatchDecided])
    return LedgerColumns(fixed, decisions, tuple(others), count)


def _type_of(log: Mapping[str, Any]) -> type[Event]:
    try:
        return _TYPES[log["topics"][0]]
    except (KeyError, IndexError, TypeError):
        # One by one the decoder says what is wrong with it; it must not be passed over.
        return type(decode(parse_log(log)))


def _octets(texts: Sequence[str], size_bytes: int, what: str) -> Bytes2D:
    """Hexadecimal texts of one length (0x and twice ``size_bytes`` digits) as rows of bytes."""
    digits = 2 + 2 * size_bytes
    if any(len(text) != digits for text in texts):
        raise EventUnknown(f"{what}: expected {size_bytes} bytes in each log; some have another size")
    try:
        joined = bytes.fromhex("".join(text[2:] for text in texts))
    except (ValueError, TypeError) as error:
        raise ChainAnswerInvalid(f"{what}: the endpoint sent something that is not hexadecimal") from error
    return np.frombuffer(joined, dtype=np.uint8).reshape(len(texts), size_bytes)


def _positions(logs: Sequence[Mapping[str, Any]], what: str) -> tuple[Integers, Integers, Bytes2D]:
    blocks = np.array([quantity(log["blockNumber"]) for log in logs], dtype=np.int64)
    indices = np.array([quantity(log["logIndex"]) for log in logs], dtype=np.int64)
    return blocks, indices, _octets([log["transactionHash"] for log in logs], WORD_BYTES, what)


def _columns(event_type: type[Event], logs: list[dict[str, Any]]) -> EventColumns:
    fields = flat_fields(event_type)
    name = event_type.__name__
    topics = sum(field.indexed for _name, field in fields)
    if any(len(log["topics"]) != 1 + topics for log in logs):
        raise EventUnknown(f"{name}: expected {1 + topics} topics in each log; some have another number")
    blocks, indices, hashes = _positions(logs, name)
    parts = [_octets([log["topics"][1 + k] for log in logs], WORD_BYTES, name) for k in range(topics)]
    data = _octets([log["data"] for log in logs], WORD_BYTES * (len(fields) - topics), name)
    words = np.concatenate([*parts, data], axis=1).reshape(len(logs), len(fields), WORD_BYTES)
    for place, (_field_name, field) in enumerate(fields):
        _check_padding(name, field, words[:, place])
    return EventColumns(event_type, blocks, indices, hashes, words)


def _check_padding(name: str, field: SolidityField, words: Bytes2D) -> None:
    kind = field.type
    if not isinstance(kind, SolidityType) or kind.kind == "bytes32":
        return
    size = 20 if kind.kind == "address" else 1 if kind.kind == "bool" else kind.bits // 8
    if words[:, : WORD_BYTES - size].any():
        raise EventUnknown(f"{name}.{field.solidity_name}: a value is wider than {kind.name}")


def _decisions(fixed: Mapping[type[Event], EventColumns], batches: list[dict[str, Any]]) -> Decisions:
    parts = [_single_decisions(fixed[kind]) for kind in (AccessPermitted, AccessDenied)]
    by_size: dict[int, list[dict[str, Any]]] = {}
    for log in batches:
        by_size.setdefault(len(log["data"]), []).append(log)
    parts.extend(_batched_decisions(logs) for logs in by_size.values())
    joined = {
        key: np.concatenate([part[key] for part in parts])
        for key in (*Decisions.__dataclass_fields__, "log_index")
    }
    order = np.lexsort((joined["sequence"], joined["log_index"], joined["block_number"]))
    return Decisions(**{key: joined[key][order] for key in Decisions.__dataclass_fields__})


def _single_decisions(columns: EventColumns) -> dict[str, npt.NDArray[Any]]:
    return {
        "block_number": columns.block_number,
        "log_index": columns.log_index,
        "transaction_hash": columns.transaction_hash,
        "patient": columns.address("patient"),
        "requester": columns.address("requester"),
        "record_id": columns.octets("record_id"),
        "consent_id": columns.octets("access.consent_id"),
        "sequence": columns.integers("access.sequence"),
        "reason": columns.integers("access.reason"),
        "purpose": columns.integers("access.purpose"),
        "response_key_digest": columns.octets("access.response_key_digest"),
        "person_commitment": columns.octets("access.person_commitment"),
        "time": columns.integers("access.time"),
    }


def _batched_decisions(logs: list[dict[str, Any]]) -> dict[str, npt.NDArray[Any]]:
    """Batches of one size: their data has the same layout, so that all decisions are one array."""
    name = AccessBatchDecided.__name__
    if any(len(log["topics"]) != 4 for log in logs):
        raise EventUnknown(f"{name}: expected 4 topics in each log; some have another number")
    size_bytes = len(logs[0]["data"]) // 2 - 1
    data = _octets([log["data"] for log in logs], size_bytes, name)
    head = data[:, : _BATCH_HEAD_WORDS * WORD_BYTES].reshape(len(logs), -1, WORD_BYTES)
    if head.shape[1] != _BATCH_HEAD_WORDS:
        raise EventUnknown(
            f"{name}: expected {_BATCH_HEAD_WORDS} words before the decisions; some have fewer"
        )
    lengths = _word_integers(head[:, 6])
    count, rest = divmod(int(lengths[0]), DECISION_BYTES)
    padded = -(-count * DECISION_BYTES // WORD_BYTES) * WORD_BYTES
    same = (lengths == lengths[0]).all() and (_word_integers(head[:, 5]) == 6 * WORD_BYTES).all()
    if rest or not same or count == 0 or size_bytes != _BATCH_HEAD_WORDS * WORD_BYTES + padded:
        raise EventUnknown(
            f"{name}: the decisions of a batch are not a whole number of {DECISION_BYTES} bytes"
        )
    start = _BATCH_HEAD_WORDS * WORD_BYTES
    rows = data[:, start : start + count * DECISION_BYTES].reshape(len(logs) * count, DECISION_BYTES)
    blocks, indices, hashes = _positions(logs, name)
    topics = [_octets([log["topics"][k] for log in logs], WORD_BYTES, name) for k in (1, 2, 3)]
    place = np.tile(np.arange(count, dtype=np.int64), len(logs))

    def each(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.repeat(values, count, axis=0)

    return {
        "block_number": each(blocks),
        "log_index": each(indices),
        "transaction_hash": each(hashes),
        "patient": each(topics[0][:, 12:]),
        "requester": each(topics[1][:, 12:]),
        "record_id": rows[:, :32],
        "consent_id": each(topics[2]),
        "sequence": each(_word_integers(head[:, 0])) + place,
        "reason": rows[:, 32].astype(np.int64),
        "purpose": each(_word_integers(head[:, 1])),
        "response_key_digest": each(head[:, 2]),
        "person_commitment": each(head[:, 3]),
        "time": each(_word_integers(head[:, 4])),
    }


def _word_integers(words: Bytes2D) -> Integers:
    if words[:, : WORD_BYTES - 8].any():
        raise EventUnknown("a number in a log is larger than 64 bits")
    return np.ascontiguousarray(words[:, -8:]).view(">u8").reshape(-1).astype(np.int64)
