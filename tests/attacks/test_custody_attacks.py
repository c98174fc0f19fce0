"""Attacks on a custodian over HTTP: shares go out only for a permit of one's own, fresh, and still deserved."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from node_fixtures import Member, Network
from records_flow import Case

from crypto.hpke import EncryptionKey
from crypto.statement import sign_statement
from ledger import calls
from ledger.messages import AccessRequest, Grant, Restriction
from node import lingering
from storage import Cid
from vocabulary import Purpose
from wire.custody import (
    DEPOSIT_LABEL,
    DepositBatch,
    DepositRequest,
    Release,
    ReleaseItem,
    ReleaseRequest,
    ReleaseResponse,
    deposit_statement,
)
from wire.limits import BLOCK_BYTES, DEPOSIT_BYTES, JSON_BYTES
from wire.signing import RequestKey, sign_request


@dataclass
class Permit:
    """A permitted access on the ledger, before any share was asked for."""

    case: Case
    requester: Member
    record_id: bytes
    sequence: int
    key: EncryptionKey
    terms: Grant

    def ask(self, custodian: Member, *, caller: Member | None = None, **changes) -> Release:
        fields = {"sequence": self.sequence, "record_id": self.record_id, "key": self.key} | changes
        request = ReleaseRequest(
            patient=self.case.patient.address,
            response_public_key=fields["key"].public,
            items=(ReleaseItem(sequence=fields["sequence"], record_id=fields["record_id"]),),
        )
        signer = (caller or self.requester).node.identity.request_key
        answer = custodian.call("POST", "/custody/releases", request, key=signer)
        assert answer.status_code == 200, answer.text
        (release,) = ReleaseResponse.model_validate_json(answer.content).releases
        return release


@pytest.fixture(scope="module")
def permit_of(network: Network) -> Callable[[], Permit]:
    def make() -> Permit:
        case = Case.begin(network)
        (record,) = case.publish().records
        requester = network.members[1]
        terms = case.grant(requester, deliver=False)
        key = EncryptionKey.generate()
        call = calls.request_access(
            AccessRequest(record.record_id, terms.nonce, False, Purpose.TREAT, key.digest, bytes(32))
        )
        node = requester.node
        receipt = node.sender.send(node.deployment.address, call)
        network.wait_for_all()
        (access,) = node.ledger.accesses_in(receipt.transaction_hash)
        return Permit(case, requester, record.record_id, access.sequence, key, terms)

    return make


def test_release_by_its_own_requester_is_given(network, permit_of):
    assert permit_of().ask(network.members[2]).sealed is not None


def test_release_stolen_by_another_member_is_refused(network, permit_of):
    release = permit_of().ask(network.members[2], caller=network.members[0])
    assert (release.sealed, "another member" in release.refusal) == (None, True)


def test_release_diverted_to_another_key_is_refused(network, permit_of):
    release = permit_of().ask(network.members[2], key=EncryptionKey.generate())
    assert (release.sealed, "response key" in release.refusal) == (None, True)


def test_release_with_a_forged_permit_is_refused(network, permit_of):
    release = permit_of().ask(network.members[2], sequence=4_000_000)
    assert (release.sealed, "final" in release.refusal) == (None, True)


def test_release_with_a_foreign_permit_is_refused(network, permit_of):
    mine, other = permit_of(), permit_of()
    release = mine.ask(network.members[2], record_id=other.record_id)
    assert (release.sealed, "another record" in release.refusal) == (None, True)


def test_release_after_a_revocation_in_between_is_refused(network, permit_of):
    permit = permit_of()
    permit.case.revoke(permit.terms)
    release = permit.ask(network.members[2])
    assert (release.sealed, "consent revoked" in release.refusal) == (None, True)


def test_release_after_a_restriction_in_between_is_refused(network, permit_of):
    permit = permit_of()
    restriction = Restriction(permit.case.patient.address, permit.record_id, True, 1)
    network.relay(network.members[0], permit.case.patient, restriction)
    release = permit.ask(network.members[2])
    assert (release.sealed, "record restricted" in release.refusal) == (None, True)


def test_release_request_replayed_verbatim_is_refused(network, permit_of):
    permit = permit_of()
    body = (
        ReleaseRequest(
            patient=permit.case.patient.address,
            response_public_key=permit.key.public,
            items=(ReleaseItem(sequence=permit.sequence, record_id=permit.record_id),),
        )
        .model_dump_json()
        .encode()
    )
    custodian = network.members[2]
    path = "/custody/releases"
    headers = sign_request("POST", path, body, custodian.address, permit.requester.node.identity.request_key)
    statuses = [
        custodian.http.post(custodian.url + path, content=body, headers=headers).status_code for _ in range(2)
    ]
    assert statuses == [200, 401]


def test_release_by_a_patient_is_refused(network, permit_of):
    permit = permit_of()
    answer = network.members[2].call("POST", "/custody/releases", b"{}", key=permit.case.patient.key)
    assert answer.status_code == 403


def deposit_of(case: Case, custodian: Member, signer: Member, record_id: bytes) -> DepositBatch:
    """A deposit like the author's, signed by someone."""
    author = case.provider.node
    record = author.ledger.snapshot().state.records[record_id]
    held = custodian.node.records.deposits.find(record_id, record.header_digest)
    parts = (
        held.header,
        held.share_index,
        held.owner_wrap,
        held.consent_wrap,
        held.custody_wrap,
        held.deadline,
    )
    statement = deposit_statement(custodian.address, *parts)
    signature = sign_statement(signer.node.identity.account, DEPOSIT_LABEL, statement)
    names = ("header", "share_index", "owner_wrap", "consent_wrap", "custody_wrap", "deadline")
    request = DepositRequest(**dict(zip(names, parts, strict=True)), signature=signature)
    return DepositBatch(deposits=(request,))


def test_deposit_by_another_provider_is_refused(network, permit_of):
    permit = permit_of()
    thief, custodian = network.members[1], network.members[2]
    request = deposit_of(permit.case, custodian, thief, permit.record_id)
    answer = custodian.call("POST", "/custody/deposits", request, key=thief.node.identity.request_key)
    assert answer.status_code == 403


def test_deposit_taken_from_one_custodian_to_another_is_refused(network, permit_of):
    permit = permit_of()
    author = network.members[0]
    request = deposit_of(permit.case, network.members[2], author, permit.record_id)
    answer = network.members[1].call(
        "POST", "/custody/deposits", request, key=author.node.identity.request_key
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "deposit-refused")


def test_put_block_with_wrong_bytes_is_refused(network):
    key = network.members[0].node.identity.request_key
    answer = network.members[1].call("PUT", f"/blocks/{Cid.of(b'right')}", b"wrong", key=key)
    assert (answer.status_code, answer.json()["code"]) == (400, "block-mismatch")


@pytest.mark.parametrize(
    ("method", "path", "limit_bytes"),
    [
        ("PUT", f"/blocks/{Cid.of(b'x')}", BLOCK_BYTES),
        ("POST", "/custody/deposits", DEPOSIT_BYTES),
        ("POST", "/custody/releases", JSON_BYTES),
    ],
)
def test_body_beyond_its_limit_is_refused_announced_or_not(network, monkeypatch, method, path, limit_bytes):
    # This sender pauses only where the machine is busy.
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 60.0)
    monkeypatch.setattr(lingering, "LINGER_IDLE_SECONDS", 60.0)
    member, body = network.members[1], b" " * (limit_bytes + 1)
    headers = sign_request(method, path, body, member.address, network.members[0].node.identity.request_key)
    announced = member.http.request(method, member.url + path, content=body, headers=headers)
    assert announced.status_code == 413
    chunked = member.http.request(method, member.url + path, content=iter([body]), headers=headers)
    assert chunked.status_code == 413


def test_block_file_replaced_by_a_symbolic_link_leaks_nothing(network, permit_of, tmp_path):
    permit = permit_of()
    custodian = network.members[2]
    record = custodian.node.ledger.snapshot().state.records[permit.record_id]
    cid = Cid.from_parts(record.cid_codec, record.cid_digest)
    (path,) = custodian.directory.rglob(str(cid))
    secret = tmp_path / "secret"
    secret.write_text("this is elsewhere")
    key = network.members[0].node.identity.request_key
    # Between two turns of its repairs: one of them would fetch the block again.
    with custodian.node.records.replication._turning:
        path.unlink()
        path.symlink_to(secret)
        answer = custodian.call("GET", f"/blocks/{cid}", key=key)
    assert answer.status_code >= 400
    assert b"elsewhere" not in answer.content


def test_release_against_a_permit_that_grew_old_is_refused(network, permit_of):
    permit = permit_of()
    network.anvil.set_next_block_time(network.now() + 700)
    network.anvil.mine()
    network.wait_for_all()
    release = permit.ask(network.members[2])
    assert (release.sealed, "seconds old" in release.refusal) == (None, True)


def test_request_signed_by_a_member_with_anothers_name_is_refused(network, permit_of):
    permit = permit_of()
    forged = RequestKey(
        permit.requester.node.identity.request_key.caller,
        network.members[0].node.identity.request_key.private_key,
    )
    answer = network.members[2].call("POST", "/custody/releases", b"{}", key=forged)
    assert answer.status_code == 401
