"""The decisions of a ledger as rows for people, against the events one by one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_ledger import RawLedger

from ledger.blocks import parse_log
from ledger.columns import columns_of
from ledger.errors import EventUnknown
from ledger.events import AccessBatchDecided, AccessDenied, AccessPermitted, LoggedAccess, accesses, decode
from ledger.history import History, history_of, read_history
from vocabulary import Category, Purpose, Reason


@pytest.fixture(scope="module")
def history(raw_ledger: RawLedger) -> History:
    return history_of(columns_of(raw_ledger.pages(raw_ledger.logs)), raw_ledger.block)


@pytest.fixture(scope="module")
def logged(raw_ledger: RawLedger) -> list[LoggedAccess]:
    kinds = (AccessPermitted, AccessDenied, AccessBatchDecided)
    found = [decode(parse_log(log)) for log in raw_ledger.logs]
    return [one for event in found if isinstance(event, kinds) for one in accesses(event)]


def test_every_decision_is_a_row_with_names_and_words(
    raw_ledger: RawLedger, history: History, logged: list[LoggedAccess]
) -> None:
    rows, state = history.decisions(), raw_ledger.world.state()
    assert len(rows) == len(logged) == len(history) > 10
    for row, one in zip(rows, logged, strict=True):
        made = one.access
        assert (row.patient, row.sequence) == (one.patient, made.sequence)
        assert (row.requester, row.requester_name) == (one.requester, "서울 의원 'O\"Brien'")
        assert (row.record_id, row.category) == (
            one.record_id,
            Category(state.records[one.record_id].category),
        )
        assert (row.purpose, row.reason) == (Purpose(made.purpose), Reason(made.reason))
        assert row.permitted is (made.reason == 0)
        assert (row.time_seconds, row.consent_id) == (made.time, made.consent_id)
        assert row.person_commitment == made.person_commitment
        assert row.block_number == one.position.block_number
        assert row.transaction_hash == one.position.transaction_hash
    assert {row.permitted for row in rows} == {True, False}


def test_history_read_from_the_chain_is_that_of_its_logs(raw_ledger: RawLedger, history: History) -> None:
    found = read_history(raw_ledger.world.chain, raw_ledger.world.deployment)
    assert found.decisions() == history.decisions()
    assert found.block.number >= raw_ledger.block.number


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_filters_choose_what_a_plain_loop_chooses(
    raw_ledger: RawLedger, history: History, data: st.DataObject
) -> None:
    rows = history.decisions()
    times = sorted({row.time_seconds for row in rows})
    moments = st.none() | st.sampled_from([0, *times, times[-1] + 1])
    ledger = raw_ledger
    patient = data.draw(st.sampled_from([None, ledger.patient.address, ledger.other.address, bytes(20)]))
    requester = data.draw(st.sampled_from([None, ledger.clinic.address, ledger.provider.address]))
    since, until = data.draw(moments), data.draw(moments)
    limit = data.draw(st.none() | st.integers(0, len(rows) + 2))
    expected = [
        row
        for row in rows
        if patient in (None, row.patient)
        and requester in (None, row.requester)
        and (since is None or row.time_seconds >= since)
        and (until is None or row.time_seconds < until)
    ]
    if limit is not None:
        expected = expected[-limit:] if limit else []
    assert expected == history.decisions(
        patient=patient, requester=requester, since_seconds=since, until_seconds=until, limit=limit
    )


@pytest.mark.parametrize("field", ["reason", "purpose"])
def test_code_of_a_later_version_is_refused_in_words(raw_ledger: RawLedger, field: str) -> None:
    columns = columns_of(raw_ledger.pages(raw_ledger.logs))
    strange = replace(columns.decisions, **{field: np.full(len(columns.decisions), 77)})
    with pytest.raises(EventUnknown, match=f"{field} 77"):
        history_of(replace(columns, decisions=strange), raw_ledger.block)
