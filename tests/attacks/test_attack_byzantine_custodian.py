"""A custodian that lies on the wire: what it does is noticed, it is named, and reads go on while t are honest."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lying_proxy import Answer, LyingProxy, put_before
from node_fixtures import Member, Network
from node_processes import wait_until
from records_flow import Case, bundle, observation
from structlog.testing import capture_logs

from wire.staff import Publication, ReadRecord

RELEASES, DEPOSITS, BLOCKS = "POST /custody/releases", "POST /custody/deposits", "GET /blocks/"


@pytest.fixture(scope="module")
def proxies(network: Network) -> Iterator[dict[str, LyingProxy]]:
    """Before every member but the reader, who is ``members[1]``."""
    placed = {member.name: put_before(network, member) for member in (network.members[0], network.members[2])}
    yield placed
    for proxy in placed.values():
        proxy.stop()


@pytest.fixture
def liar(network: Network, proxies: dict[str, LyingProxy]) -> Iterator[LyingProxy]:
    """The third member's wire; honest again afterwards."""
    proxy = proxies[network.members[2].name]
    yield proxy
    proxy.honest()


def call_as_usual(member: Member) -> None:
    """As when the time of its breakers, which the liar's failures opened, has passed."""
    member.node.records.peers._breakers.clear()


@pytest.fixture
def case(network: Network, proxies: dict[str, LyingProxy]) -> Iterator[Case]:
    """A published, shared record; and every custodian is called as usual again."""
    made = Case.begin(network)
    made.publish()
    made.grant(network.members[1])
    yield made
    for proxy in proxies.values():
        proxy.honest()
    call_as_usual(network.members[1])


def read(case: Case) -> tuple[ReadRecord, list[Any]]:
    with capture_logs() as logs:
        (record,) = case.read(case.network.members[1]).records
    return record, logs


def assert_read_though(case: Case, liar: Member) -> None:
    """The other custodians suffice, whoever answers first; and who lied is in the log when it came to be asked."""
    record, logs = read(case)
    assert (record.failure, b"5.4" in (record.content or b"")) == (None, True)
    # All nodes of this process log here, and some of what they do behind the requests names no custodian.
    named = {entry["custodian"] for entry in logs if "custodian" in entry and entry["log_level"] == "warning"}
    assert named <= {"0x" + liar.address.hex()}


def assert_named(case: Case, proxies: dict[str, LyingProxy], liar: Member, words: str) -> None:
    """With the honest other custodian away too few are left: the reader is told who did what, and so is the log."""
    away = case.network.members[0]
    proxies[away.name].refuse(RELEASES)
    record, logs = read(case)
    assert record.content is None
    assert f"{liar.name} (0x{liar.address.hex()})" in record.failure
    assert words in record.failure
    assert away.name in record.failure
    named = {entry.get("custodian") for entry in logs if entry["log_level"] == "warning"}
    assert "0x" + liar.address.hex() in named


def replay_of(earlier: list[bytes], change: Callable[[Any, Any], None]) -> Callable[..., Answer]:
    """Remembers the first honest answer; changes later ones with it."""

    def rule(_: bytes, honest: Callable[[], Answer]) -> Answer:
        status, content = honest()
        if status != 200:
            return status, content
        if not earlier:
            earlier.append(content)
            return status, content
        answer = json.loads(content)
        change(answer, json.loads(earlier[0]))
        return status, json.dumps(answer).encode()

    return rule


def whole_answer(answer: Any, earlier: Any) -> None:
    answer["releases"] = earlier["releases"]


def under_the_new_number(answer: Any, earlier: Any) -> None:
    for now, before in zip(answer["releases"], earlier["releases"], strict=True):
        now.update(before | {"sequence": now["sequence"], "record_id": now["record_id"]})


def receipt_only(answer: Any, earlier: Any) -> None:
    for now, before in zip(answer["releases"], earlier["releases"], strict=True):
        now.update({name: before[name] for name in ("receipt", "receipt_signature")})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (whole_answer, "answered nothing for this permit"),
        (under_the_new_number, ""),
        (receipt_only, "receipt is for another release"),
    ],
)
def test_attack_replayed_release_is_noticed_and_the_others_are_used(case, proxies, liar, change, words):
    network, earlier = case.network, []
    liar.rules[RELEASES] = replay_of(earlier, change)
    while not earlier:
        read(case)
    assert_read_though(case, network.members[2])
    assert_named(case, proxies, network.members[2], words)


def test_attack_release_of_another_custodians_share_is_noticed(case, proxies, liar):
    """It passes on what the honest custodian released, as its own."""
    network = case.network
    others: list[Any] = []

    def remember(_: bytes, honest: Callable[[], Answer]) -> Answer:
        status, content = honest()
        others.append(json.loads(content))
        return status, content

    def pass_on(_: bytes, honest: Callable[[], Answer]) -> Answer:
        status, content = honest()
        answer = json.loads(content)
        if others:
            answer["releases"] = others[-1]["releases"]
        return status, json.dumps(answer).encode()

    proxies[network.members[0].name].rules[RELEASES] = remember
    liar.rules[RELEASES] = pass_on
    while not others:
        read(case)
    assert_read_though(case, network.members[2])
    assert_named(case, proxies, network.members[2], "")


def test_attack_replayed_deposit_receipt_is_no_acknowledgement(case, liar):
    network, earlier = case.network, []

    def replay(answer: Any, before: Any) -> None:
        answer["receipts"] = before["receipts"]

    liar.rules[DEPOSITS] = replay_of(earlier, replay)
    case.publish(observation(6.1))
    assert earlier
    answer = case.post_bundle(bundle(case.number, observation(6.2)))
    publication = Publication.model_validate_json(answer.content)
    assert publication.state == "sealed"
    member = network.members[2]
    assert (
        f"{member.name} (0x{member.address.hex()}) answered with a receipt for something else"
        in publication.detail
    )
    state = case.provider.node.ledger.snapshot().state
    assert not [record for record in publication.records if record.record_id in state.records]
    liar.honest()
    path = f"/staff/publications/{publication.publication_id}"

    def published() -> bool:
        call_as_usual(case.provider)
        case.provider.node.records.publisher.resume()
        after = Publication.model_validate_json(case.provider.call("GET", path, staff=True).content)
        return after.state == "published"

    wait_until(published, "it is published")


def test_attack_slow_loris_custodian_delays_no_read(case, liar, monkeypatch):
    over = threading.Event()

    def slow(_: bytes, honest: Callable[[], Answer]) -> Answer:
        over.wait(3600)
        return honest()

    # A read that waited for it would wait for longer than a test may take.
    records = case.network.members[1].node.records
    monkeypatch.setattr(records.reading._collector, "_collect_seconds", 3600.0)
    monkeypatch.setattr(records.peers, "_call_seconds", 3600.0)

    liar.rules[RELEASES] = slow
    liar.rules[BLOCKS] = slow
    try:
        # More reads than it has threads here, and none waits for it.
        for _ in range(12):
            record, _ = read(case)
            assert (record.failure, b"5.4" in record.content) == (None, True)
    finally:
        over.set()


def test_attack_custodian_that_answers_a_gigabyte_is_cut_off_and_named(case, proxies, liar):
    content = bytes(2**30)
    liar.rules[RELEASES] = lambda body, honest: (200, content)
    assert_read_though(case, case.network.members[2])
    assert_named(case, proxies, case.network.members[2], "more than")


def test_attack_custodian_that_gives_other_blocks_cannot_harm_a_read(case, liar):
    liar.rules[BLOCKS] = lambda body, honest: (200, b"something else")
    reader = case.network.members[1].node
    (record,) = (
        record
        for record in reader.ledger.snapshot().state.records.values()
        if record.patient == case.patient.address
    )
    from storage import Cid

    reader.records.blocks.store.delete(Cid.from_parts(record.cid_codec, record.cid_digest))
    assert_read_though(case, case.network.members[2])
