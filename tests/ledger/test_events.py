"""Decoding events strictly: what is unknown, altered or cut stops a replay instead of leaving a hole."""

from contextlib import suppress
from dataclasses import replace

import pytest
from chain_fixtures import LedgerWorld
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import events
from ledger.blocks import Log, Position
from ledger.errors import EventUnknown, StateInconsistent
from ledger.messages import LedgerScope
from ledger.state import LedgerState, apply
from vocabulary import Role

AT = Position(7, b"\x01" * 32, 3, b"\x02" * 32)
MEMBER = b"\x0a" * 20
ENROLLED = Log(
    b"\x0c" * 20,
    (events.topic(events.MemberEnrolled), MEMBER.rjust(32, b"\0")),
    encode(["uint16"], [5]),
    AT,
)


def test_decode_of_a_log_gives_the_event_with_its_position() -> None:
    assert events.decode(ENROLLED) == events.MemberEnrolled(AT, MEMBER, 5)


@pytest.mark.parametrize(
    "changes",
    [
        {"topics": ()},
        {"topics": (b"\x11" * 32, ENROLLED.topics[1])},
        {"topics": ENROLLED.topics[:1]},
        {"topics": (*ENROLLED.topics, bytes(32))},
        {"topics": (ENROLLED.topics[0], b"\x01" + ENROLLED.topics[1][1:])},
        {"data": b""},
        {"data": ENROLLED.data[:-1]},
        {"data": b"\x01" + ENROLLED.data[1:]},
    ],
    ids=[
        "no topic",
        "unknown topic",
        "topic missing",
        "topic more",
        "dirty address",
        "empty",
        "cut",
        "dirty integer",
    ],
)
def test_decode_of_an_altered_log_is_refused_and_names_it(changes: dict[str, object]) -> None:
    with pytest.raises(EventUnknown, match="log 3 of block 7"):
        events.decode(replace(ENROLLED, **changes))  # type: ignore[arg-type]


@given(
    st.sampled_from(events.EVENT_TYPES),
    st.binary(max_size=400),
    st.lists(st.binary(min_size=32, max_size=32)),
)
@settings(max_examples=300, deadline=None)
def test_decode_of_any_bytes_gives_an_event_or_refuses(
    event_type: type[events.Event], data: bytes, topics: list[bytes]
) -> None:
    log = Log(b"\x0c" * 20, (events.topic(event_type), *topics[:3]), data, AT)
    with suppress(EventUnknown):
        assert isinstance(events.decode(log), event_type)


@pytest.mark.parametrize("size", [0, 1, 32, 34, 65])
def test_decisions_that_are_no_whole_number_are_refused(size: int) -> None:
    batch = events.AccessBatch(1, 0, bytes(32), bytes(32), 0)
    event = events.AccessBatchDecided(AT, MEMBER, MEMBER, bytes(32), batch, bytes(size))
    with pytest.raises(EventUnknown, match="33"):
        list(events.accesses(event))


def test_each_event_left_out_or_repeated_is_noticed_by_the_fold_or_by_a_head(
    ledger_world: LedgerWorld,
) -> None:
    """A history with one event missing or twice never passes for the whole: it breaks, or gives another state."""
    provider = ledger_world.enrol(Role.PROVIDER, Role.CONSUMER)
    patient = ledger_world.register(provider)
    for _ in range(2):
        ledger_world.publish(provider, patient)
    ledger_world.grant(patient, provider, max_uses=2)
    whole = ledger_world.events()
    expected = ledger_world.state()
    for index in range(len(whole)):
        for history in (whole[:index] + whole[index + 1 :], whole[: index + 1] + whole[index:]):
            state = LedgerState(ledger_world.scope)
            try:
                for event in history:
                    apply(state, event)
            except StateInconsistent:
                continue
            assert state != expected


def test_event_that_cannot_follow_leaves_the_state_as_it_was() -> None:
    state = LedgerState(LedgerScope(1, b"\x0c" * 20))
    apply(state, events.MemberEnrolled(AT, MEMBER, 1))
    apply(state, events.PatientRegistered(AT, b"\x0b" * 20, MEMBER, bytes(32), 1))
    before = state.copy()
    access = events.Access(2, 1, 0, bytes(32), bytes(32), bytes(32), 0)
    wrong: list[events.Event] = [
        events.MemberEnrolled(AT, MEMBER, 1),
        events.MemberSuspended(AT, b"\x0d" * 20),
        events.KeyringRotated(AT, b"\x0b" * 20, 3, bytes(32)),
        events.RecordRetracted(AT, bytes(32)),
        events.AccessDenied(AT, b"\x0b" * 20, MEMBER, bytes(32), access),
        events.MemberKeysChanged(AT, MEMBER, 2, b"n", b"e", bytes(1216), bytes(32)),
    ]
    for event in wrong:
        with pytest.raises(StateInconsistent, match="block 7"):
            apply(state, event)
        assert state == before
