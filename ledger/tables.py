"""The ledger's history as tables for people who ask questions: Arrow tables with readable columns.

Identifiers are text (0x and lower-case digits), categories and purposes are lists of labels and codes, moments are UTC
timestamps, days are dates, and what is unbounded is null. One row of ``accesses`` is one decision.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from ledger.columns import EventColumns, LedgerColumns
from ledger.events import (
    ConsentGranted,
    ConsentRevoked,
    DenyPolicyChanged,
    KeyringRotated,
    MemberEnrolled,
    MemberKeysChanged,
    MemberReinstated,
    MemberRolesChanged,
    MemberSuspended,
    PatientFrozen,
    PatientRegistered,
    RecordPublished,
    RecordRestricted,
    RecordRetracted,
    RecordSuperseded,
    RelationshipEnded,
)
from ledger.octets import Bytes2D, Integers
from vocabulary import FIRST_DAY, LAST_DAY, Category, Purpose, Reason, Role

_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), dtype=np.uint8).reshape(256, 2)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LAST_DATE = date.max.toordinal()
_SECOND = pa.timestamp("s", tz="UTC")
LAST_SECOND = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
BlockTimes = Callable[[npt.NDArray[np.int64]], Integers]


@dataclass(frozen=True)
class LedgerTables:
    """The five tables by name."""

    members: pa.Table
    patients: pa.Table
    records: pa.Table
    consents: pa.Table
    accesses: pa.Table

    def named(self) -> dict[str, pa.Table]:
        """The tables by their names."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


TABLE_NAMES = tuple(LedgerTables.__dataclass_fields__)
"""The names of all tables."""


def build_tables(columns: LedgerColumns, block_times: BlockTimes) -> LedgerTables:
    """All tables of a history; ``block_times`` gives the chain time (seconds) of each of the blocks it is asked."""
    return LedgerTables(
        _members(columns),
        _patients(columns),
        _records(columns, block_times),
        _consents(columns),
        _accesses(columns),
    )


def hex_text(octets: Bytes2D) -> pa.Array:
    """Rows of bytes as an Arrow array of 0x texts, without a Python string for each."""
    count, size = octets.shape
    text = np.empty((count, 2 + 2 * size), dtype=np.uint8)
    text[:, 0], text[:, 1] = ord("0"), ord("x")
    text[:, 2:] = _HEX[octets].reshape(count, 2 * size)
    offsets = np.arange(count + 1, dtype=np.int64) * (2 + 2 * size)
    return pa.LargeStringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))


def _labels(values: Integers, labels: Sequence[str]) -> pa.Array:
    """Codes as dictionary-encoded text; a code that no label has is null."""
    indices = pa.array(values.astype(np.int32), mask=values >= len(labels), type=pa.int32())
    return pa.DictionaryArray.from_arrays(indices, list(labels))


def _label_lists(masks: Integers, labels_of: Callable[[int], list[str]]) -> pa.Array:
    """Masks as lists of labels; few masks differ, so each is turned into its list once."""
    different, places = np.unique(masks, return_inverse=True)
    lists = pa.array([labels_of(int(mask)) for mask in different], type=pa.list_(pa.string()))
    return lists.take(pa.array(places.reshape(-1)))


def _days(days: Integers) -> pa.Array:
    """Day numbers as dates; unbounded, or beyond what a date can say, is null."""
    bounded = (days > FIRST_DAY) & (days < LAST_DAY) & (days <= _LAST_DATE)
    return pa.array((days - _EPOCH_DAY).astype(np.int32), mask=~bounded, type=pa.int32()).cast(pa.date32())


def _moments(seconds: Integers) -> pa.Array:
    """POSIX seconds as moments; after the year 9999, where most calendars of programs end, is null."""
    return pa.array(seconds, mask=seconds > LAST_SECOND, type=pa.int64()).cast(_SECOND)


class _Keys:
    """Rows found by their identifier; each identifier is bytes of one length."""

    def __init__(self, octets: Bytes2D) -> None:
        self._row_of = {bytes(key): row for row, key in enumerate(octets)}

    def rows(self, octets: Bytes2D) -> list[int | None]:
        return [self._row_of.get(bytes(key)) for key in octets]


def _last(
    keys: _Keys,
    column: npt.NDArray[Any],
    events: EventColumns,
    name: str,
    size: int,
    values: npt.NDArray[Any],
) -> None:
    """Set ``column`` at the row of each event's identifier, in the order of the events: the last one stands."""
    for row, value in zip(keys.rows(events.octets(name, size)), values, strict=True):
        if row is not None:
            column[row] = value


def _category_labels(mask: int) -> list[str]:
    return [category.label for category in Category.in_mask(mask)]


def _purpose_codes(mask: int) -> list[str]:
    return [purpose.name for purpose in Purpose.in_mask(mask)]


def _members(columns: LedgerColumns) -> pa.Table:
    enrolled = columns.fixed[MemberEnrolled]
    address = enrolled.address("member")
    keys = _Keys(address)
    roles, active = enrolled.integers("roles").copy(), np.ones(len(enrolled), dtype=bool)
    changed = columns.fixed[MemberRolesChanged]
    _last(keys, roles, changed, "member", 20, changed.integers("roles"))
    switches = [(columns.fixed[MemberSuspended], False), (columns.fixed[MemberReinstated], True)]
    ordered = sorted(
        (int(block), int(index), bytes(key), state)
        for events, state in switches
        for block, index, key in zip(
            events.block_number, events.log_index, events.address("member"), strict=True
        )
    )
    for _block, _index, key, state in ordered:
        (row,) = keys.rows(np.frombuffer(key, dtype=np.uint8).reshape(1, 20))
        if row is not None:
            active[row] = state
    newest = {event.member: event for event in columns.others if isinstance(event, MemberKeysChanged)}
    current = [newest.get(bytes(key)) for key in address]
    return pa.table(
        {
            "member": hex_text(address),
            "name": pa.array([event.name if event else None for event in current], type=pa.string()),
            "endpoint": pa.array([event.endpoint if event else None for event in current], type=pa.string()),
            "roles": _label_lists(roles, lambda mask: [role.label for role in Role.in_mask(mask)]),
            "active": pa.array(active),
            "key_version": pa.array([event.version if event else None for event in current], type=pa.int64()),
            "enrolled_block": pa.array(enrolled.block_number),
        }
    )


def _patients(columns: LedgerColumns) -> pa.Table:
    registered = columns.fixed[PatientRegistered]
    address = registered.address("patient")
    keys = _Keys(address)
    count = len(registered)
    epoch, status = np.ones(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    denied_categories, denied_purposes = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    rotated, policies = columns.fixed[KeyringRotated], columns.fixed[DenyPolicyChanged]
    _last(keys, epoch, rotated, "patient", 20, rotated.integers("epoch"))
    _last(keys, denied_categories, policies, "patient", 20, policies.integers("categories"))
    _last(keys, denied_purposes, policies, "patient", 20, policies.integers("purposes"))
    # Frozen is terminal: it stands whatever came before, and nothing comes after.
    for events, value in ((columns.fixed[RelationshipEnded], 1), (columns.fixed[PatientFrozen], 2)):
        _last(keys, status, events, "patient", 20, np.full(len(events), value))
    return pa.table(
        {
            "patient": hex_text(address),
            "provider": hex_text(registered.address("provider")),
            "status": _labels(status, ["active", "ended", "frozen"]),
            "epoch": pa.array(epoch),
            "denied_categories": _label_lists(denied_categories, _category_labels),
            "denied_purposes": _label_lists(denied_purposes, _purpose_codes),
            "registered_block": pa.array(registered.block_number),
        }
    )


def _records(columns: LedgerColumns, block_times: BlockTimes) -> pa.Table:
    published = columns.fixed[RecordPublished]
    keys = _Keys(published.octets("record_id"))
    count = len(published)
    retracted, restricted = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    superseded_by: npt.NDArray[Any] = np.full(count, None, dtype=object)
    corrections = columns.fixed[RecordSuperseded]
    successors = ["0x" + bytes(key).hex() for key in corrections.octets("superseded_by")]
    _last(keys, superseded_by, corrections, "record_id", 32, np.array(successors, dtype=object))
    withdrawn, restrictions = columns.fixed[RecordRetracted], columns.fixed[RecordRestricted]
    _last(keys, retracted, withdrawn, "record_id", 32, np.ones(len(withdrawn), dtype=bool))
    _last(keys, restricted, restrictions, "record_id", 32, restrictions.integers("restricted") != 0)
    return pa.table(
        {
            "record_id": hex_text(published.octets("record_id")),
            "patient": hex_text(published.address("patient")),
            "author": hex_text(published.address("author")),
            "category": _labels(published.integers("publication.category"), [c.label for c in Category]),
            "start_day": _days(published.integers("publication.start_day")),
            "end_day": _days(published.integers("publication.end_day")),
            "epoch": pa.array(published.integers("publication.epoch")),
            "superseded_by": pa.array(superseded_by, type=pa.string()),
            "retracted": pa.array(retracted),
            "restricted": pa.array(restricted),
            "header_digest": hex_text(published.octets("publication.header_digest")),
            "payload_commitment": hex_text(published.octets("publication.payload_commitment")),
            "published_at": _moments(block_times(published.block_number)),
            "block_number": pa.array(published.block_number),
        }
    )


def _consents(columns: LedgerColumns) -> pa.Table:
    granted = columns.fixed[ConsentGranted]
    consent_ids = granted.octets("consent_id")
    keys = _Keys(consent_ids)
    revoked_block: npt.NDArray[Any] = np.full(len(granted), None, dtype=object)
    revocations = columns.fixed[ConsentRevoked]
    _last(keys, revoked_block, revocations, "consent_id", 32, revocations.block_number.astype(object))
    record_ids = granted.octets("terms.record_id")
    max_uses = granted.integers("terms.max_uses")
    named = pa.array(record_ids.any(axis=1))
    return pa.table(
        {
            "consent_id": hex_text(consent_ids),
            "patient": hex_text(granted.address("patient")),
            "grantee": hex_text(granted.address("grantee")),
            "record_id": pa.compute.if_else(named, hex_text(record_ids), pa.scalar(None, pa.large_string())),
            "categories": _label_lists(granted.integers("terms.categories"), _category_labels),
            "purposes": _label_lists(granted.integers("terms.purposes"), _purpose_codes),
            "valid_from": _moments(granted.integers("terms.valid_from")),
            "valid_until": _moments(granted.integers("terms.valid_until")),
            "data_from": _days(granted.integers("terms.data_from")),
            "data_until": _days(granted.integers("terms.data_until")),
            "max_uses": pa.array(max_uses, mask=max_uses == 0, type=pa.int64()),
            "permitted": pa.array(_permitted(columns, keys, len(granted))),
            "revoked": pa.array([block is not None for block in revoked_block], type=pa.bool_()),
            "revoked_block": pa.array(revoked_block, type=pa.int64()),
            "granted_block": pa.array(granted.block_number),
        }
    )


def _permitted(columns: LedgerColumns, keys: _Keys, count: int) -> Integers:
    """How many accesses each consent permitted."""
    decisions = columns.decisions
    under = np.ascontiguousarray(decisions.consent_id[decisions.reason == Reason.PERMITTED])
    different, counts = np.unique(under.view("V32").reshape(-1), return_counts=True)
    permitted = np.zeros(count, dtype=np.int64)
    found = keys.rows(different.view(np.uint8).reshape(-1, 32))
    for row, number in zip(found, counts, strict=True):
        if row is not None:
            permitted[row] = number
    return permitted


def _accesses(columns: LedgerColumns) -> pa.Table:
    decisions = columns.decisions
    return pa.table(
        {
            "patient": hex_text(decisions.patient),
            "sequence": pa.array(decisions.sequence),
            "record_id": hex_text(decisions.record_id),
            "requester": hex_text(decisions.requester),
            "consent_id": hex_text(decisions.consent_id),
            "purpose": _labels(decisions.purpose, [purpose.name for purpose in Purpose]),
            "permitted": pa.array(decisions.reason == Reason.PERMITTED),
            "reason": _labels(decisions.reason, [reason.label for reason in Reason]),
            "time": _moments(decisions.time),
            "person_commitment": hex_text(decisions.person_commitment),
            "block_number": pa.array(decisions.block_number),
            "transaction_hash": hex_text(decisions.transaction_hash),
        }
    )


def row_counts(tables: Mapping[str, pa.Table]) -> dict[str, int]:
    """How many rows each table has."""
    return {name: table.num_rows for name, table in tables.items()}
