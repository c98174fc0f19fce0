"""Fetching contents: for how long consent counts, who may open how many, and what is told of how it ended."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from files_flow import Noise, download, note_counted, publish_file, staff_id_of
from hypothesis import given
from hypothesis import strategies as st
from node_fixtures import Member, Network
from node_processes import wait_until
from records_flow import Case

from node.downloads import NoLongerPermitted
from node.errors import NotFound
from node.personal_entries import PersonalEntries
from storage import BlockNotFoundError, Cid, StorageError
from wire.staff import ReadRecord

MIB = 2**20
CONTENT = b"".join(Noise(3 * MIB + 12_345))


@pytest.fixture
def case(network: Network) -> Case:
    return Case.begin(network)


@pytest.fixture
def reader(case: Case) -> Member:
    return case.network.members[1]


def pieces_of(member: Member, record: ReadRecord) -> Iterator[bytes]:
    return member.node.records.downloads.content(staff_id_of(member), record.download.download_id).pieces


def state_of(member: Member, record: ReadRecord) -> str:
    path = f"/staff/downloads/{record.download.download_id}/outcome"
    return member.call("GET", path, staff=True).json()["state"]


def test_attack_file_that_is_fetched_slowly_ends_when_consent_is_revoked(case, reader, monkeypatch):
    monkeypatch.setattr("node.downloads.CONSENT_SECONDS", 0.0)
    publish_file(case, CONTENT)
    terms = case.grant(reader)
    (record,) = case.read(reader).records
    pieces = pieces_of(reader, record)
    assert CONTENT.startswith(next(pieces))
    case.revoke(terms)
    with pytest.raises(NoLongerPermitted, match="revoked"):
        next(pieces)
    outcome = reader.node.records.downloads.outcome(staff_id_of(reader), record.download.download_id)
    assert outcome.state == "failed"
    assert "revoked" in outcome.detail


def test_attack_file_that_is_fetched_slowly_ends_when_the_ledger_is_out_of_sight(case, reader, monkeypatch):
    monkeypatch.setattr("node.downloads.CONSENT_SECONDS", 0.0)
    publish_file(case, CONTENT)
    case.grant(reader)
    (record,) = case.read(reader).records
    pieces = pieces_of(reader, record)
    next(pieces)
    monkeypatch.setattr("node.reading.HEAD_AGE_SECONDS", -1.0)
    with pytest.raises(NoLongerPermitted, match="advanced"):
        next(pieces)
    assert state_of(reader, record) == "failed"


def test_consent_that_stands_is_asked_again_and_the_content_comes_whole(case, reader, monkeypatch):
    monkeypatch.setattr("node.downloads.CONSENT_SECONDS", 0.0)
    publish_file(case, CONTENT)
    case.grant(reader)
    (record,) = case.read(reader).records
    assert b"".join(pieces_of(reader, record)) == CONTENT
    assert state_of(reader, record) == "complete"


def test_read_of_more_files_than_a_person_may_have_open_is_not_refused_and_the_oldest_goes(
    case, reader, monkeypatch
):
    """Its access is on the ledger when this turns out: a refusal would cost the patient a use for nothing."""
    monkeypatch.setattr(reader.node.records.downloads._opened, "_most_a_person", 1)
    publish_file(case, CONTENT[:-1])
    publish_file(case, CONTENT)
    case.grant(reader)
    first, second = case.read(reader).records
    assert (first.failure, second.failure) == (None, None)
    statuses = sorted(download(reader, each).status_code for each in (first, second))
    assert statuses == [200, 404]


def test_outcome_of_two_fetchings_at_once_is_that_of_the_one_that_failed(case, reader, monkeypatch):
    publish_file(case, CONTENT)
    case.grant(reader)
    (record,) = case.read(reader).records
    good, failing = pieces_of(reader, record), pieces_of(reader, record)
    received = next(good)
    next(failing)
    store = reader.node.records.blocks.store
    with monkeypatch.context() as broken:

        def lost(cid: Cid) -> bytes:
            raise BlockNotFoundError(f"{cid} is lost")

        for member in case.network.members:
            broken.setattr(type(member.node.records.blocks.store), "get", lambda _, cid: lost(cid))
        with pytest.raises(StorageError):
            list(failing)
    assert store is reader.node.records.blocks.store
    assert received + b"".join(good) == CONTENT
    assert state_of(reader, record) == "failed"
    assert download(reader, record).content == CONTENT
    assert state_of(reader, record) == "complete"


def test_outcome_can_be_asked_after_the_permits_time(case, reader, monkeypatch):
    publish_file(case, CONTENT)
    case.grant(reader)
    (record,) = case.read(reader).records
    downloads, staff_id = reader.node.records.downloads, staff_id_of(reader)
    now = record.download.expires_at - 10

    def clock() -> float:
        return now

    for place in (downloads, downloads._opened, downloads._told):
        monkeypatch.setattr(place, "_clock", clock)
    assert b"".join(pieces_of(reader, record)) == CONTENT
    now += 100
    with pytest.raises(NotFound):
        downloads.content(staff_id, record.download.download_id)
    assert downloads.outcome(staff_id, record.download.download_id).state == "complete"


@contextmanager
def stalled(member: Member, record: ReadRecord) -> Iterator[None]:
    """A download whose answer nobody reads."""
    host, port = member.url.removeprefix("http://").split(":")
    with socket.socket() as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        asking.connect((host, int(port)))
        asking.sendall(
            f"GET /staff/downloads/{record.download.download_id} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {member.staff_token}\r\n\r\n".encode()
        )
        yield


def test_attack_downloads_that_nobody_reads_stand_in_nobody_elses_way(case, reader, monkeypatch):
    publish_file(case, CONTENT)
    case.grant(reader)
    (record,) = case.read(reader).records
    nurse = {"Authorization": f"Bearer {reader.node.staff.add(f'nurse-{case.number}', 'nurse')}"}
    counted = note_counted(monkeypatch)
    with stalled(reader, record), stalled(reader, record):
        wait_until(lambda: len(counted) == 2, "two downloads are under way")
        refused = download(reader, record)
        assert (refused.status_code, refused.json()["code"]) == (429, "busy")
        body = {"patient": "0x" + case.patient.address.hex(), "purpose": "TREAT"}
        answer = httpx.post(
            f"{reader.url}/staff/reads", json=body, headers=nurse, timeout=60, trust_env=False
        )
        assert answer.status_code == 200, answer.text
        (record,) = answer.json()["records"]
        path = f"{reader.url}/staff/downloads/{record['download']['download_id']}"
        assert httpx.get(path, headers=nurse, timeout=60, trust_env=False).content == CONTENT


# The entries themselves.


def test_entry_of_another_person_or_expired_is_not_found():
    now = [100.0]
    entries: PersonalEntries[str] = PersonalEntries(lambda: now[0], most_a_person=2, most=3)
    entries.put("nurse", "1", "a", 200.0)
    assert entries.get("nurse", "1") == "a"
    assert entries.get("physician", "1") is None
    entries.put("nurse", "1", "b", 200.0)
    assert entries.get("nurse", "1") == "b"
    now[0] = 200.0
    assert entries.get("nurse", "1") is None
    entries.remove("nurse", "1")
    entries.remove("nobody", "1")


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9)), max_size=60))
def test_entries_stay_within_bounds_and_the_newest_is_always_kept(puts):
    entries: PersonalEntries[int] = PersonalEntries(lambda: 0.0, most_a_person=3, most=8)
    for number, (person, entry) in enumerate(puts):
        entries.put(person, str(entry), number, 1.0)
        assert entries.get(person, str(entry)) == number
        kept = {each: sum(entries.get(each, str(key)) is not None for key in range(10)) for each in "abcdef"}
        assert max(kept.values()) <= 3
        assert sum(kept.values()) <= 8


def test_whoever_has_few_entries_loses_none_to_those_who_have_many():
    entries: PersonalEntries[int] = PersonalEntries(lambda: 0.0, most_a_person=6, most=8)
    entries.put("nurse", "1", 1, 1.0)
    for person in ("thief", "other"):
        for number in range(20):
            entries.put(person, str(number), number, 1.0)
    assert entries.get("nurse", "1") == 1
