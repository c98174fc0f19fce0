"""Decisions on accesses as columns, single and batched alike: one row each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ledger.errors import EventUnknown
from ledger.events import DECISION_BYTES, AccessBatchDecided
from ledger.log_pages import RawLog
from ledger.octets import Bytes2D, Integers, hex_rows, quantities, slices, unsigned
from ledger.solidity import WORD_BYTES

if TYPE_CHECKING:
    from ledger.columns import EventColumns

_NAME = AccessBatchDecided.__name__
_HEAD_WORDS = 7
"""A batch's five static words, the offset of its decisions and their length."""
_ROWS_AT_ONCE = 10_000


class DecisionRow(NamedTuple):
    """One decision: a link of its patient's access chain. ``time`` is in POSIX seconds."""

    block_number: int
    log_index: int
    transaction_hash: bytes
    patient: bytes
    requester: bytes
    record_id: bytes
    consent_id: bytes
    sequence: int
    reason: int
    purpose: int
    response_key_digest: bytes
    person_commitment: bytes
    time: int


@dataclass(frozen=True)
class Decisions:
    """Decisions, single and batched, one row each, in the order in which they were taken."""

    block_number: Integers
    log_index: Integers
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

    def where(self, chosen: npt.NDArray[np.bool_]) -> "Decisions":
        """The decisions whose place in ``chosen`` is True."""
        return Decisions(**{name: getattr(self, name)[chosen] for name in DecisionRow._fields})

    def rows(self) -> Iterator[DecisionRow]:
        """The decisions one by one; only some thousands are held at once."""
        for start in range(0, len(self), _ROWS_AT_ONCE):
            parts = [getattr(self, name)[start : start + _ROWS_AT_ONCE] for name in DecisionRow._fields]
            values = [slices(part) if part.ndim == 2 else part.tolist() for part in parts]
            yield from map(DecisionRow._make, zip(*values, strict=True))


def in_order(parts: Sequence[Decisions]) -> Decisions:
    """Several parts as one, ordered by block, log and sequence."""
    joined = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Decisions)
    }
    order = np.lexsort((joined["sequence"], joined["log_index"], joined["block_number"]))
    return Decisions(**{name: column[order] for name, column in joined.items()})


def single_decisions(columns: "EventColumns") -> Decisions:
    """Accesses that were logged alone."""
    return Decisions(
        block_number=columns.block_number,
        log_index=columns.log_index,
        transaction_hash=columns.transaction_hash,
        patient=columns.address("patient"),
        requester=columns.address("requester"),
        record_id=columns.octets("record_id"),
        consent_id=columns.octets("access.consent_id"),
        sequence=columns.integers("access.sequence"),
        reason=columns.integers("access.reason"),
        purpose=columns.integers("access.purpose"),
        response_key_digest=columns.octets("access.response_key_digest"),
        person_commitment=columns.octets("access.person_commitment"),
        time=columns.integers("access.time"),
    )


def batched_decisions(logs: Sequence[RawLog]) -> list[Decisions]:
    """Accesses that were logged in batches; batches of one size have one layout and are decoded together.

    Raises:
        EventUnknown: a log has not the form of a batch.
        ChainAnswerInvalid: a log is not hexadecimal.
    """
    by_size: dict[int, list[RawLog]] = {}
    for log in logs:
        by_size.setdefault(len(log["data"]), []).append(log)
    return [_of_one_size(same) for same in by_size.values()]


def _of_one_size(logs: list[RawLog]) -> Decisions:
    _require(all(len(log["topics"]) == 4 for log in logs), "expected 4 topics in each log")
    size_bytes, odd = divmod(len(logs[0]["data"]) - 2, 2)
    start = _HEAD_WORDS * WORD_BYTES
    _require(not odd and size_bytes > start, f"expected more than {_HEAD_WORDS} words in each log")
    data = hex_rows([log["data"] for log in logs], size_bytes, _NAME)
    head = data[:, :start].reshape(len(logs), _HEAD_WORDS, WORD_BYTES)
    first = _numbers(head[:, 0], 4)
    purpose, time = _numbers(head[:, 1], 1), _numbers(head[:, 4], 5)
    offsets, lengths = _numbers(head[:, 5], 4), _numbers(head[:, 6], 4)
    count, rest = divmod(int(lengths[0]), DECISION_BYTES)
    end = start + count * DECISION_BYTES
    whole = not rest and count > 0 and (lengths == lengths[0]).all() and size_bytes == -(-end // 32) * 32
    _require(whole, f"expected a whole number of decisions, {DECISION_BYTES} bytes each")
    _require((offsets == 6 * WORD_BYTES).all(), "expected the decisions right after the batch")
    _require(not data[:, end:].any(), "expected zeros after the decisions")
    _require((first + count <= 1 << 32).all(), "expected sequences of 32 bits")
    topics = [hex_rows([log["topics"][k] for log in logs], WORD_BYTES, _NAME) for k in (1, 2, 3)]
    _require(not any(word[:, :12].any() for word in topics[:2]), "expected addresses of 20 bytes")
    decided = data[:, start:end].reshape(len(logs) * count, DECISION_BYTES)

    def each(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.repeat(values, count, axis=0)

    return Decisions(
        block_number=each(quantities([log["blockNumber"] for log in logs])),
        log_index=each(quantities([log["logIndex"] for log in logs])),
        transaction_hash=each(hex_rows([log["transactionHash"] for log in logs], WORD_BYTES, _NAME)),
        patient=each(topics[0][:, 12:]),
        requester=each(topics[1][:, 12:]),
        record_id=decided[:, :32],
        consent_id=each(topics[2]),
        sequence=each(first) + np.tile(np.arange(count, dtype=np.int64), len(logs)),
        reason=decided[:, 32].astype(np.int64),
        purpose=each(purpose),
        response_key_digest=each(head[:, 2]),
        person_commitment=each(head[:, 3]),
        time=each(time),
    )


def _require(holds: bool | np.bool_, what: str) -> None:
    if not holds:
        raise EventUnknown(f"{_NAME}: {what}; some differ")


def _numbers(words: Bytes2D, size_bytes: int) -> Integers:
    _require(not words[:, : WORD_BYTES - size_bytes].any(), f"expected a number of {8 * size_bytes} bits")
    return unsigned(words[:, -8:]).astype(np.int64)
