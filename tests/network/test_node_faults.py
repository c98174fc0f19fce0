"""Custodians that are killed, and a member that is cut off: who goes on, who refuses, and that all heals by itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from node_fixtures import HOSPITAL, Member, Network, start_network
from node_processes import as_processes, wait_until
from partition import Cable, namespaces_are_allowed
from records_flow import Case, bundle, observation

from crypto.hpke import EncryptionKey
from ledger import calls
from ledger.messages import AccessRequest, Grant
from node.release import HEAD_AGE_SECONDS
from vocabulary import Purpose, Reason
from wire.custody import Release, ReleaseItem, ReleaseRequest, ReleaseResponse
from wire.signing import sign_request
from wire.staff import Publication, ReadRecord

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]
FOUR = ("Seoul Hospital", "Busan Hospital", "Jeju Clinic", "Daegu Hospital")


@pytest.fixture
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    running = start_network(tmp_path_factory.mktemp("custodians"))
    yield running
    running.stop()


@pytest.fixture
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    running = start_network(tmp_path_factory.mktemp("partition"), dict.fromkeys(FOUR, HOSPITAL))
    yield running
    running.stop()


def read_one(case: Case, reader: Member, **fields: object) -> ReadRecord:
    (record,) = case.read(reader, **fields).records
    return record


def opens(case: Case, reader: Member, record_id: bytes) -> bool:
    record = read_one(case, reader, record_ids=(record_id,))
    return record.failure is None and b"5.4" in (record.content or b"")


def test_reads_go_on_without_n_minus_t_custodians_and_are_refused_by_name_without_one_more(
    three: Network,
) -> None:
    case = Case.begin(three)
    first, reader, third = three.members
    (published,) = case.publish().records
    case.grant(reader)
    with as_processes(three) as nodes:
        # n = 3, t = 2: without one of them reads work, also the first one after it died.
        nodes[2].kill()
        for _ in range(3):
            assert opens(case, reader, published.record_id)
        # One more: permitted and logged, and a refusal that names who is missing.
        nodes[0].kill()
        before = sequence_of(case, reader)
        record = read_one(case, reader)
        assert (record.reason, record.content) == (Reason.PERMITTED, None)
        assert "1 good shares came, 2 are needed" in record.failure
        assert first.name in record.failure
        assert third.name in record.failure
        assert record.sequence == before + 1
        # Both come back: nobody repairs anything.
        nodes[0].start()
        nodes[2].start()
        for node in (nodes[0], nodes[2]):
            wait_until(node.is_ready, f"{node.member.name} ready")
        assert opens(case, reader, published.record_id)
        # A publication while one of all custodians is down waits, says for whom, and lands when it is back.
        nodes[2].kill()
        answer = case.post_bundle(bundle(case.number, observation(5.4, day="2024-04-01")))
        waiting = Publication.model_validate_json(answer.content)
        assert waiting.state == "sealed"
        assert third.name in waiting.detail
        nodes[2].start()
        path = f"/staff/publications/{waiting.publication_id}"
        wait_until(
            lambda: first.call("GET", path, staff=True).json()["state"] == "published", "it is published"
        )


def sequence_of(case: Case, reader: Member) -> int:
    """How many decisions stand in the patient's log: one more is asked for, and this is the one before."""
    return read_one(case, reader, decide_only=True).sequence


@dataclass
class Permit:
    """A permitted access on the ledger."""

    case: Case
    requester: Member
    record_id: bytes
    sequence: int
    key: EncryptionKey

    def ask(self, cable: Cable, custodian: Member) -> tuple[int, Release | str]:
        """Asks a custodian from its own side of the cable: the status, and the release or the problem's code."""
        request = ReleaseRequest(
            patient=self.case.patient.address,
            response_public_key=self.key.public,
            items=(ReleaseItem(sequence=self.sequence, record_id=self.record_id),),
        )
        body = request.model_dump_json().encode()
        signer = self.requester.node.identity.request_key
        headers = sign_request("POST", "/custody/releases", body, custodian.address, signer)
        answer = cable.inside.post("http://node/custody/releases", content=body, headers=headers)
        if answer.status_code != 200:
            return answer.status_code, answer.json()["code"]
        return 200, ReleaseResponse.model_validate_json(answer.content).releases[0]


def new_permit(case: Case, requester: Member, record_id: bytes, terms: Grant) -> Permit:
    key = EncryptionKey.generate()
    asked = AccessRequest(record_id, terms.nonce, False, Purpose.TREAT, key.digest, bytes(32))
    node = requester.node
    receipt = node.sender.send(node.deployment.address, calls.request_access(asked))
    case.network.wait_for_all()
    (access,) = node.ledger.accesses_in(receipt.transaction_hash)
    return Permit(case, requester, record_id, access.sequence, key)


@pytest.mark.skipif(not namespaces_are_allowed(), reason="network namespaces are not allowed here")
def test_member_that_is_cut_off_serves_no_stale_permission_and_heals_by_itself(four: Network) -> None:
    provider, requester, _, lost = four.members
    case, other = Case.begin(four), Case.begin(four)
    # Whoever was not ready yet when it was asked last gets no share while others do.
    wait_until(lambda: provider.node.records.peers.probe() == 0, "all are ready")
    (published,) = case.publish().records
    other.publish()
    terms = case.grant(requester)
    other.grant(requester)
    # Every custodian holds it, the one that will be lost too.
    wait_until(lambda: provider.node.records.steps.repair() == 0, "all hold all")
    lost.node.stop()
    ports = [member.node.port for member in four.members if member is not lost]
    cable = Cable(lost, lost.node.port, [*ports, urlsplit(four.anvil.url).port or 0])
    cable.start()
    try:
        wait_until(lambda: is_ready(cable), "the node at the cable's end is ready")
        wait_until(lambda: provider.node.records.peers.probe() == 0, "it answers through the cable")
        permit = new_permit(case, requester, published.record_id, terms)
        wait_until(lambda: released(permit.ask(cable, lost)), "it releases while it is connected")
        later = new_permit(case, requester, published.record_id, terms)
        cable.cut()
        case.revoke(terms)
        # The others go on: reads, and publications without the one that is lost.
        assert opens(other, requester, other_record(other))
        wait_until(lambda: provider.node.records.peers.probe() == 1, "it is noticed")
        # Whoever waited for it would wait for longer than this test may take.
        provider.node.records.steps._wait_seconds = 3600.0
        requester.node.records.reading._collector._collect_seconds = 3600.0
        requester.node.records.peers._call_seconds = 3600.0
        fresh = other.publish(observation(5.4, day="2024-05-01"))
        assert fresh.state == "published"
        assert opens(other, requester, fresh.records[0].record_id)
        # It knows of no revocation, and gives nothing once its head is too old to know.
        wait_until(lambda: not is_ready(cable), "it says that it is cut off", HEAD_AGE_SECONDS + 60)
        assert later.ask(cable, lost) == (503, "stale-head")
        cable.mend()
        wait_until(lambda: is_ready(cable), "it is ready again")
        status, answer = later.ask(cable, lost)
        assert status == 200
        assert isinstance(answer, Release)
        assert (answer.sealed, "revoked" in (answer.refusal or "")) == (None, True)
        wait_until(lambda: provider.node.records.peers.probe() == 0, "the others call it again")
    finally:
        cable.stop()


def is_ready(cable: Cable) -> bool:
    answer = cable.get("/ready")
    return answer is not None and answer.status_code == 200


def released(answer: tuple[int, Release | str]) -> bool:
    return isinstance(answer[1], Release) and answer[1].sealed is not None


def other_record(case: Case) -> bytes:
    state = case.provider.node.ledger.snapshot().state
    return next(
        record.record_id for record in state.records.values() if record.patient == case.patient.address
    )
