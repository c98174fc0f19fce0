"""A custodian that answers anything at all: it is named, and whatever it says, no read fails while t are honest."""

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lying_proxy import Answer, LyingProxy, put_before
from node_fixtures import Member, Network
from records_flow import Case, condition, observation
from structlog.testing import capture_logs

from crypto.hpke import EncryptionKey
from crypto.payload import Payload, unpack
from crypto.release import Release, ReleaseBinding, open_release
from ledger.entities import Record
from ledger.events import LoggedAccess
from node import reading, shares
from node.collaborators import StaffPerson
from node.shares import Collected
from node.stopwatch import Stopwatch
from vocabulary import Purpose
from wire.custody import ReleaseItem, ReleaseRequest, ReleaseResponse
from wire.staff import ReadRequest

RELEASES = "POST /custody/releases"
FIELDS = ("sequence", "record_id", "sealed", "receipt", "receipt_signature", "refusal")
ODD_TEXT = st.sampled_from(
    ["", "0x", "0x" + "00" * 32, "0x" + "g" * 130, "=", "AAAA", "\x00", "\u0663", "é" * 9]
)
ODD_NUMBER = st.sampled_from([0, -1, 256, 2**31, 2**32, 2**63, 2**64, 10**400, 0.5, 1e308])
SCALAR = st.none() | st.booleans() | ODD_NUMBER | st.floats() | st.text(max_size=20) | ODD_TEXT
ANY_JSON = st.recursive(
    SCALAR, lambda one: st.lists(one, max_size=4) | st.dictionaries(st.text(max_size=8), one, max_size=4)
)
ODD_BYTES = (b"[" * 2_000, b'{"a":' * 2_000, b"\xff\xfe", b"9" * 500, b'"\\ud800"', b"NaN", b"")


@dataclass(frozen=True)
class Permit:
    """A permitted access of one reader, for which shares may be collected again and again."""

    patient: bytes
    reader: Member
    liar: Member
    wire: LyingProxy
    permitted: tuple[tuple[LoggedAccess, Record], ...]
    response_key: EncryptionKey
    honest: bytes
    """What the liar would answer, were it honest."""
    heard: threading.Event
    """Set once the liar's answer was dealt with."""

    def collect(self, answer: Answer) -> tuple[Collected, list[Any]]:
        """What comes when the liar answers this, before enough others do; and what the log says of custodians."""
        records = self.reader.node.records
        records.peers._breakers.clear()
        self.heard.clear()
        self.wire.rules[RELEASES] = lambda body, honest: answer
        with capture_logs() as logs:
            found = records.reading._collector.collect(self.patient, self.permitted, self.response_key)
        (one,) = found.values()
        return one, [entry for entry in logs if "custodian" in entry]


@pytest.fixture(scope="module")
def permit(network: Network) -> Iterator[Permit]:
    """The reader's own custody holds one share of three, an honest member another, the liar the third."""
    reader, liar = network.members[1], network.members[2]
    wire = put_before(network, liar)
    case = Case.begin(network)
    case.publish()
    case.grant(reader)
    records = reader.node.records
    service, patient = records.reading, case.patient.address
    chosen = service._choose(
        ReadRequest(patient=patient, purpose=Purpose.TREAT), service._grants.for_patient(patient)
    )
    asked = service._asker.ask(chosen, Purpose.TREAT, StaffPerson("s-1", "physician"), Stopwatch())
    permitted = tuple((asked.accesses[one.record.record_id], one.record) for one in chosen)
    items = tuple(
        ReleaseItem(sequence=access.access.sequence, record_id=record.record_id)
        for access, record in permitted
    )
    request = ReleaseRequest(patient=patient, response_public_key=asked.response_key.public, items=items)
    honest = records.peers.node(liar.address).release(request).model_dump_json().encode()
    heard, own, take = threading.Event(), records.release.release, service._collector._take

    def release_after_the_liar(caller: bytes, request: ReleaseRequest) -> ReleaseResponse:
        assert heard.wait(60)
        return own(caller, request)

    def take_and_tell(future: Any, custodian: bytes, *rest: Any) -> None:
        take(future, custodian, *rest)
        if custodian == liar.address:
            heard.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records.release, "release", release_after_the_liar)
        patch.setattr(service._collector, "_take", take_and_tell)
        yield Permit(patient, reader, liar, wire, permitted, asked.response_key, honest, heard)
    wire.stop()


def altered(draw: st.DrawFn, honest: bytes) -> bytes:
    """An honest answer in which something is anything."""
    answer = json.loads(honest)
    where = draw(st.sampled_from(["release", "header", "response", "more"]))
    if where == "release":
        for name in draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3)):
            answer["releases"][0][name] = draw(ANY_JSON)
    elif where == "header":
        answer["header_by_record"] = {
            name: draw(ANY_JSON | st.binary(max_size=99).map(lambda some: base64.b64encode(some).decode()))
            for name in answer["header_by_record"]
        }
    elif where == "response":
        answer[draw(st.sampled_from(["custodian", "header_by_record", "releases", "extra"]))] = draw(ANY_JSON)
    else:
        answer["releases"] *= draw(st.integers(0, 9))
    return json.dumps(answer).encode()


# The nodes run in this process, and draw lots of their own beside it.
@pytest.mark.filterwarnings("ignore:Do not use the .random. module")
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_attack_custodian_answers_anything_and_the_others_are_used(permit, data):
    content = data.draw(
        st.binary(max_size=200)
        | st.sampled_from(ODD_BYTES)
        | ANY_JSON.map(lambda value: json.dumps(value).encode())
        | st.composite(altered)(permit.honest)
    )
    status = data.draw(st.sampled_from([200, 200, 200, 201, 302, 400, 429, 500, 599]))
    one, logs = permit.collect((status, content))
    assert one.enough
    assert len(one.failures) <= 1
    assert {entry["custodian"] for entry in logs} <= {"0x" + permit.liar.address.hex()}
    assert not [entry for entry in logs if entry["log_level"] == "error"]


def test_attack_custodian_that_answers_one_permit_a_thousand_times_is_heard_once(permit):
    answer = json.loads(permit.honest)
    (release,) = answer["releases"]
    release["sealed"] = base64.b64encode(bytes(len(base64.b64decode(release["sealed"])))).decode()
    answer["releases"] = [release] * 1_000
    one, logs = permit.collect((200, json.dumps(answer).encode()))
    assert one.enough
    assert len(one.failures) == len(logs) == 1
    assert permit.liar.name in one.failures[0]


UNFORESEEN = (
    RecursionError,
    OverflowError,
    KeyError,
    TypeError,
    UnicodeError,
    MemoryError,
    ZeroDivisionError,
)


@pytest.mark.parametrize("error", UNFORESEEN)
def test_attack_answer_that_breaks_a_library_is_that_custodians_failure_alone(permit, monkeypatch, error):
    def break_at_the_liars(sealed: bytes, key: EncryptionKey, binding: ReleaseBinding) -> Release:
        if binding.custodian == permit.liar.address:
            raise error("secret words")
        return open_release(sealed, key, binding)

    monkeypatch.setattr(shares, "open_release", break_at_the_liars)
    counted = permit.reader.node.records.unforeseen.by_place()
    one, logs = permit.collect((200, permit.honest))
    assert one.enough
    assert f"{permit.liar.name} (0x{permit.liar.address.hex()})" in one.failures[0]
    (entry,) = (entry for entry in logs if entry["log_level"] == "error")
    assert (entry["custodian"], entry["kind"]) == ("0x" + permit.liar.address.hex(), error.__name__)
    assert any("break_at_the_liars" in line for line in entry["traceback"])
    assert "secret words" not in str(logs) + str(one.failures)
    after = permit.reader.node.records.unforeseen.by_place()
    assert after["shares"] == counted.get("shares", 0) + 1
    assert 'phr_unforeseen_failures{place="shares"}' in permit.reader.node.metrics.text().decode()


def test_attack_record_that_breaks_a_library_fails_alone_and_names_its_author(network, monkeypatch):
    reader, author = network.members[1], network.members[0]
    case = Case.begin(network, author)
    records = case.publish(observation(5.4), condition()).records
    assert len(records) == 2
    case.grant(reader)
    poisoned: list[bytes] = []

    def break_at_first(content: bytes) -> Payload:
        """Threads of one read come here; the first content stands for the one that breaks the library."""
        if not poisoned:
            poisoned.append(content)
        if poisoned[0] == content:
            raise RecursionError("secret words")
        return unpack(content)

    monkeypatch.setattr(reading, "unpack", break_at_first)
    with capture_logs() as logs:
        found = case.read(reader).records
    failed, read = sorted(found, key=lambda one: one.failure is None)
    assert read.content is not None
    assert f"author 0x{author.address.hex()}" in failed.failure
    assert "secret words" not in failed.failure + str(logs)
    (entry,) = (entry for entry in logs if entry.get("place") == "reading")
    assert (entry["log_level"], entry["kind"]) == ("error", "RecursionError")
