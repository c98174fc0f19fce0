"""Which consent a node names: the one that opens the record if any does, by the ledger's own rules."""

from dataclasses import replace

import pytest
from custody_world import NOW, CustodyWorld
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.decide import AccessQuery, decide
from ledger.entities import ConsentStatus, RecordStatus
from ledger.messages import NO_RECORD
from node.consent_choice import choose_consents, group, select_records
from vocabulary import Category, Purpose, Reason


@pytest.fixture
def world(custody_world: CustodyWorld) -> CustodyWorld:
    return custody_world


def choose(world, records, openable=(), purpose=Purpose.TREAT):
    return choose_consents(world.state, world.third.address, records, purpose, world.time, set(openable))


def test_choose_prefers_a_consent_whose_keys_are_here(world):
    record = world.land(world.seal())
    world.grant(world.third)
    second = world.grant(world.third)
    world.grant(world.third)
    (chosen,) = choose(world, [record], [second.consent_id])
    assert (chosen.consent, chosen.expected) == (second, Reason.PERMITTED)


def test_choose_saves_limited_uses_while_another_consent_has_none(world):
    record = world.land(world.seal())
    world.grant(world.third, max_uses=5)
    unlimited = world.grant(world.third)
    (chosen,) = choose(world, [record])
    assert chosen.consent == unlimited


def test_choose_counts_uses_within_one_call(world):
    records = [world.land(world.seal()) for _ in range(3)]
    world.grant(world.third, max_uses=2, uses=1)
    assert [one.expected for one in choose(world, records)] == [
        Reason.PERMITTED,
        Reason.USES_EXHAUSTED,
        Reason.USES_EXHAUSTED,
    ]


def test_choose_under_no_consent_asks_so_that_the_denial_is_logged(world):
    (chosen,) = choose(world, [world.land(world.seal())])
    assert (chosen.consent, chosen.nonce, chosen.record_scope) == (None, 0, False)
    assert chosen.expected is Reason.NO_CONSENT


def test_choose_passes_a_restriction_by_a_consent_that_names_the_record(world):
    record = world.land(world.seal())
    status = record.status | RecordStatus.RESTRICTED
    world.state.records[record.record_id] = record = replace(record, status=status)
    world.grant(world.third)
    named = world.grant(world.third, record_id=record.record_id)
    (chosen,) = choose(world, [record])
    assert (chosen.consent, chosen.record_scope) == (named, True)


def test_group_puts_one_consent_in_one_group_and_record_scope_alone(world):
    records = [world.land(world.seal()) for _ in range(3)]
    world.grant(world.third)
    chosen = choose(world, records)
    assert [len(made.record_ids) for made, _ in group(chosen)] == [3]
    world.state.consents.clear()
    world.state._consent_ids.clear()
    for record in records:
        world.grant(world.third, record_id=record.record_id)
    assert [len(made.record_ids) for made, _ in group(choose(world, records))] == [1, 1, 1]


def test_select_leaves_out_what_is_superseded_or_retracted_unless_named(world):
    record = world.land(world.seal())
    old = world.land(world.seal())
    world.state.records[old.record_id] = replace(old, status=old.status | RecordStatus.SUPERSEDED)
    found = select_records(world.state, world.patient, (), ())
    assert [one.record_id for one in found] == [record.record_id]
    named = select_records(world.state, world.patient, [old.record_id], ())
    assert [one.record_id for one in named] == [old.record_id]
    assert select_records(world.state, world.patient, (), {Category.DENTAL}) == []


CONSENTS = st.lists(
    st.fixed_dictionaries(
        {
            "status": st.sampled_from([ConsentStatus.GRANTED, ConsentStatus.REVOKED]),
            "valid_from": st.sampled_from([0, NOW + 1000]),
            "valid_until": st.sampled_from([NOW - 1000, NOW + 10**6]),
            "categories": st.sampled_from([Category.LABORATORY.bit, Category.DENTAL.bit]),
            "purposes": st.sampled_from([Purpose.TREAT.bit, Purpose.HPAYMT.bit]),
            "max_uses": st.integers(0, 2),
            "uses": st.integers(0, 2),
        }
    ),
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(terms=CONSENTS)
def test_choose_opens_whenever_some_consent_would(tmp_path_factory, terms):
    world = CustodyWorld(tmp_path_factory.mktemp("world"))
    try:
        record = world.land(world.seal())
        granted = [world.grant(world.third, **one) for one in terms]
        reasons = [
            decide(
                world.state,
                AccessQuery(world.third.address, record.record_id, consent.nonce, False, Purpose.TREAT),
                world.time,
            ).reason
            for consent in granted
        ]
        (chosen,) = choose(world, [record])
        assert (chosen.expected is Reason.PERMITTED) == (Reason.PERMITTED in reasons)
        if chosen.consent is not None:
            assert chosen.expected is reasons[granted.index(chosen.consent)]
            assert chosen.consent.record_id == NO_RECORD
    finally:
        world.close()
