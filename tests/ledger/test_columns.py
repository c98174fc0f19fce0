"""Columns against the row-by-row decoder and fold: the same history, or the same refusal."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_ledger import Logs, RawLedger, encoded, moved, of_type

from ledger import events
from ledger.blocks import parse_log
from ledger.column_fold import fold_columns
from ledger.columns import columns_of, flat_fields
from ledger.errors import ChainAnswerInvalid, EventUnknown, InvalidMessage, LedgerError, StateInconsistent
from ledger.events import (
    EVENT_TYPES,
    AccessBatchDecided,
    AccessDenied,
    AccessPermitted,
    ConsentGranted,
    Event,
    MemberKeysChanged,
    RecordPublished,
    RelayItemSkipped,
    accesses,
    decode,
)
from ledger.state import LedgerState, fold

ACCESS_EVENTS = (AccessPermitted, AccessDenied, AccessBatchDecided)
SHARED = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def by_rows(logs: Logs) -> tuple[list[Event], list[events.LoggedAccess]]:
    found = [decode(parse_log(log)) for log in logs]
    changes = [event for event in found if not isinstance(event, ACCESS_EVENTS)]
    return changes, [one for event in found if isinstance(event, ACCESS_EVENTS) for one in accesses(event)]


def by_columns(ledger: RawLedger, logs: Logs) -> tuple[list[Event], list[tuple[Any, ...]]]:
    columns = columns_of(ledger.pages(logs))
    return columns.changes(), [tuple(row) for row in columns.decisions.rows()]


def as_row(one: events.LoggedAccess) -> tuple[Any, ...]:
    at, made = one.position, one.access
    return (
        *(at.block_number, at.log_index, at.transaction_hash, one.patient, one.requester, one.record_id),
        *(made.consent_id, made.sequence, made.reason, made.purpose),
        *(made.response_key_digest, made.person_commitment, made.time),
    )


def assert_same(ledger: RawLedger, logs: Logs) -> None:
    changes, decisions = by_rows(logs)
    assert by_columns(ledger, logs) == (changes, [as_row(one) for one in decisions])


def test_history_with_every_kind_of_event_is_the_same_by_rows_and_by_columns(raw_ledger: RawLedger) -> None:
    kinds = {type(decode(parse_log(log))) for log in raw_ledger.logs}
    assert set(EVENT_TYPES) - kinds == {events.LedgerSealed}
    assert_same(raw_ledger, raw_ledger.logs)
    columns = columns_of(raw_ledger.pages(raw_ledger.logs))
    assert columns.event_count == len(raw_ledger.logs)
    assert {len(one.decisions) // 33 for one in map(decode_batch, batches(raw_ledger))} == {1, 4}


def batches(ledger: RawLedger) -> Logs:
    return of_type(ledger.logs, AccessBatchDecided)


def decode_batch(log: dict[str, Any]) -> AccessBatchDecided:
    event = decode(parse_log(log))
    assert isinstance(event, AccessBatchDecided)
    return event


def test_fold_of_columns_is_the_fold_of_rows_at_every_length_of_history(raw_ledger: RawLedger) -> None:
    scope = raw_ledger.world.scope
    for length in range(len(raw_ledger.logs) + 1):
        logs = raw_ledger.logs[:length]
        rows = fold(LedgerState(scope), [decode(parse_log(log)) for log in logs])
        assert fold_columns(scope, columns_of(raw_ledger.pages(logs))) == rows


def test_fold_of_columns_with_events_missing_refuses_or_agrees_as_that_of_rows(raw_ledger: RawLedger) -> None:
    scope = raw_ledger.world.scope
    chosen, refused = random.Random(5), 0
    for _ in range(80):
        logs = [log for log in raw_ledger.logs if chosen.random() > 0.03]
        rows = outcome(lambda logs=logs: fold(LedgerState(scope), [decode(parse_log(log)) for log in logs]))
        columns = columns_of(raw_ledger.pages(logs))
        assert outcome(lambda columns=columns: fold_columns(scope, columns)) == rows
        refused += isinstance(rows, tuple)
    assert 8 < refused < 80


def outcome(folded: Callable[[], LedgerState]) -> LedgerState | tuple[int, int]:
    """The state, or where the fold refused to go on."""
    try:
        return folded()
    except StateInconsistent as error:
        return error.block_number, error.log_index


def test_empty_history_has_columns_of_no_rows(raw_ledger: RawLedger) -> None:
    columns = columns_of([])
    assert (columns.event_count, len(columns.decisions), columns.changes()) == (0, 0, [])
    assert columns_of([[], []]).changes() == []


def test_logs_out_of_order_are_put_in_the_chains_order(raw_ledger: RawLedger) -> None:
    shuffled = raw_ledger.copy_of_logs()
    random.Random(7).shuffle(shuffled)
    assert by_columns(raw_ledger, shuffled) == by_columns(raw_ledger, raw_ledger.logs)


def test_observer_sees_the_state_after_each_block_that_has_events(raw_ledger: RawLedger) -> None:
    scope, seen = raw_ledger.world.scope, {}
    columns = columns_of(raw_ledger.pages(raw_ledger.logs))
    fold_columns(scope, columns, lambda number, state: seen.update({number: state.copy()}))
    rows = [decode(parse_log(log)) for log in raw_ledger.logs]
    assert list(seen) == sorted({row.position.block_number for row in rows})
    for number, state in seen.items():
        assert state == fold(LedgerState(scope), [r for r in rows if r.position.block_number <= number])


UINTS = {"uint": lambda bits: st.integers(0, 2**bits - 1) | st.sampled_from([0, 1, 2**bits - 1])}


def structs(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of an event or struct, each field over its whole width."""
    made: dict[str, st.SearchStrategy[Any]] = {}
    for field in events.fields_of(kind):
        solidity = getattr(field.type, "kind", None)
        if solidity is None:
            made[field.name] = structs(field.type)
        elif solidity in ("address", "bytes32"):
            size = 20 if solidity == "address" else 32
            made[field.name] = st.binary(min_size=size, max_size=size)
        elif solidity == "bool":
            made[field.name] = st.booleans()
        elif solidity == "uint":
            made[field.name] = UINTS["uint"](field.type.bits)  # type: ignore[union-attr]
        elif field.name == "decisions":
            made[field.name] = st.integers(1, 40).flatmap(
                lambda n: st.binary(min_size=33 * n, max_size=33 * n)
            )
        else:
            made[field.name] = st.binary(max_size=70)
    if not issubclass(kind, Event):
        return st.builds(kind, **made)
    return st.builds(kind, position=st.just(None), **made)


@SHARED
@given(st.lists(st.sampled_from(EVENT_TYPES).flatmap(structs), max_size=12))
def test_any_events_in_exact_form_are_the_same_by_rows_and_by_columns(
    raw_ledger: RawLedger, made: list[Any]
) -> None:
    logs = []
    for place, event in enumerate(made):
        if isinstance(event, AccessBatchDecided) and event.batch.first_sequence > 2**32 - 41:
            continue
        like = {**raw_ledger.logs[0], "logIndex": hex(place)}
        logs.append(encoded(event, like))
    assert_same(raw_ledger, logs)


MUTATIONS = ("cut", "append", "word", "topics", "topic", "padding", "hex", "prefix", "blank")


def mutate(log: dict[str, Any], how: str, at: int) -> None:
    data, topics = log["data"], log["topics"]
    place = 2 + 2 * (at % max((len(data) - 2) // 2, 1))
    if how == "cut":
        log["data"] = data[:place]
    elif how == "append":
        log["data"] = data + "00" * (at % 70 + 1)
    elif how == "word":
        log["data"] = data[:place] + f"{at % 256:02x}" + data[place + 2 :]
    elif how == "topics":
        log["topics"] = topics[:-1] if at % 2 else [*topics, topics[0]]
    elif how == "topic" and len(topics) > 1:
        log["topics"] = [topics[0], "0x" + f"{at % 256:02x}" * 32, *topics[2:]]
    elif how == "padding" and len(data) > 66:
        start = 2 + 64 * (at % ((len(data) - 2) // 64))
        log["data"] = data[:start] + "01" + data[start + 2 :]
    elif how == "hex":
        log["data"] = data[:place] + "zz" + data[place + 2 :]
    elif how == "prefix":
        log["data"] = "0X" + data[2:]
    elif how == "blank":
        log["data"] = data[:place] + "  " + data[place + 2 :]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(EVENT_TYPES), st.sampled_from(MUTATIONS), st.integers(0, 2**20))
def test_log_altered_by_a_lying_endpoint_is_refused_or_decoded_as_rows_decode_it(
    raw_ledger: RawLedger, kind: type[Event], how: str, at: int
) -> None:
    logs = raw_ledger.copy_of_logs()
    chosen = of_type(logs, kind)
    if not chosen:
        return
    mutate(chosen[at % len(chosen)], how, at)
    try:
        found = by_columns(raw_ledger, logs)
    except (EventUnknown, ChainAnswerInvalid):
        return
    changes, decisions = by_rows(logs)
    assert found == (changes, [as_row(one) for one in decisions])


def refusal_by_rows(logs: Logs) -> bool:
    try:
        by_rows(logs)
    except (EventUnknown, ChainAnswerInvalid, InvalidMessage):
        return True
    return False


@pytest.mark.parametrize("kind", [kind for kind in EVENT_TYPES if kind is not events.LedgerSealed])
@pytest.mark.parametrize("how", ["cut", "append", "topics", "hex", "prefix", "blank"])
def test_malformed_log_of_each_kind_is_refused_by_columns_wherever_rows_refuse_it(
    raw_ledger: RawLedger, kind: type[Event], how: str
) -> None:
    for at in (1, 31, 32, 64, 100):
        logs = raw_ledger.copy_of_logs()
        mutate(of_type(logs, kind)[-1], how, at)
        if refusal_by_rows(logs):
            with pytest.raises(LedgerError):
                by_columns(raw_ledger, logs)


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (kind, name)
        for kind in EVENT_TYPES
        for name, field in flat_fields(kind)
        if kind not in (events.LedgerSealed, RelayItemSkipped)
        and getattr(field.type, "kind", "") in ("address", "uint", "bool")
    ],
)
def test_value_wider_than_its_field_is_refused(raw_ledger: RawLedger, kind: type[Event], field: str) -> None:
    fields = flat_fields(kind)
    place = [name for name, _ in fields].index(field)
    indexed = sum(one.indexed for _, one in fields)
    logs = raw_ledger.copy_of_logs()
    log = of_type(logs, kind)[0]
    if place < indexed:
        log["topics"][1 + place] = "0xff" + log["topics"][1 + place][4:]
    else:
        start = 2 + 64 * (place - indexed)
        log["data"] = log["data"][:start] + "ff" + log["data"][start + 2 :]
    with pytest.raises(EventUnknown):
        by_columns(raw_ledger, logs)


def test_boolean_of_two_is_refused(raw_ledger: RawLedger) -> None:
    logs = raw_ledger.copy_of_logs()
    log = of_type(logs, events.RecordRestricted)[0]
    log["data"] = "0x" + f"{2:064x}" + log["data"][66:]
    with pytest.raises(EventUnknown):
        by_columns(raw_ledger, logs)


def test_unknown_topic_is_refused_and_named(raw_ledger: RawLedger) -> None:
    for topics in ([], ["0x" + "12" * 32]):
        logs = raw_ledger.copy_of_logs()
        logs[5]["topics"] = topics
        number = int(logs[5]["blockNumber"], 16)
        with pytest.raises(EventUnknown, match=f"block {number} .*upgrade"):
            by_columns(raw_ledger, logs)


def test_malformed_log_among_many_is_named_by_its_place(raw_ledger: RawLedger) -> None:
    logs = raw_ledger.copy_of_logs()
    bad = of_type(logs, RecordPublished)[3]
    bad["data"] = bad["data"][:-64]
    place = f"log {int(bad['logIndex'], 16)} of block {int(bad['blockNumber'], 16)}"
    with pytest.raises(EventUnknown, match=place):
        by_columns(raw_ledger, logs)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"address": "0x" + "11" * 20}, "another contract"),
        ({"blockNumber": "0x0"}, "outside the range"),
        ({"blockNumber": hex(2**200)}, "outside the range"),
        ({"blockNumber": "0x00"}, "quantity"),
        ({"blockNumber": None}, "quantity"),
        ({"logIndex": hex(2**64)}, "log index"),
        ({"logIndex": 3}, "quantity"),
        ({"removed": True}, "removed"),
        ({"topics": "0x"}, "topics"),
        ({"topics": [1]}, "bytes"),
        ({"data": None}, "bytes"),
        ({"blockHash": "0x12"}, "expected 32 bytes"),
        ({"transactionHash": "0x" + "g" * 64}, "hex"),
    ],
)
def test_log_that_was_not_asked_for_or_is_none_is_refused(
    raw_ledger: RawLedger, change: dict[str, Any], words: str
) -> None:
    logs = raw_ledger.copy_of_logs()
    of_type(logs, ConsentGranted)[0].update(change)
    with pytest.raises((ChainAnswerInvalid, EventUnknown), match=words):
        by_columns(raw_ledger, logs)


def test_log_sent_twice_is_refused(raw_ledger: RawLedger) -> None:
    logs = raw_ledger.copy_of_logs()
    with pytest.raises(ChainAnswerInvalid, match="twice"):
        by_columns(raw_ledger, [*logs, logs[4]])


def test_page_that_holds_something_else_than_logs_is_refused(raw_ledger: RawLedger) -> None:
    for page in ([None], ["0x"], [{}], [[]]):
        with pytest.raises(ChainAnswerInvalid):
            raw_ledger.pages(page)  # type: ignore[arg-type]


def test_huge_texts_of_a_member_are_decoded_whole(raw_ledger: RawLedger) -> None:
    logs = raw_ledger.copy_of_logs()
    log = of_type(logs, MemberKeysChanged)[0]
    event = decode(parse_log(log))
    assert isinstance(event, MemberKeysChanged)
    huge = events.MemberKeysChanged(
        event.position,
        event.member,
        1,
        b"\xf0\x9f\x8f\xa5" * 500_000,
        b"\xff" * 1_000_000,
        b"k" * 1216,
        bytes(32),
    )
    log.update(encoded(huge, log))
    changes, _ = by_columns(raw_ledger, logs)
    assert huge in changes


def test_uint64_above_63_bits_keeps_its_value(raw_ledger: RawLedger) -> None:
    logs = raw_ledger.copy_of_logs()
    log = of_type(logs, ConsentGranted)[0]
    event = decode(parse_log(log))
    log.update(encoded(moved(event, terms__nonce=2**64 - 1), log))
    changes, _ = by_columns(raw_ledger, logs)
    (found,) = [one for one in changes if isinstance(one, ConsentGranted) and one.terms.nonce == 2**64 - 1]
    assert found.position == event.position
