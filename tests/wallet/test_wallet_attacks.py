"""Attacks by those who run nodes: the wallet signs nothing that two members do not agree on, and names the liar."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lying_proxy import LyingProxy, put_before
from node_fixtures import Network
from records_flow import observation
from wallet_flow import PASSPHRASE, Person
from wallet_parts import CHEAP

from crypto import RecoveryPhraseError
from vocabulary import Category, Purpose, Reason
from wallet import (
    ConsentState,
    GrantWish,
    NodeAnswerInvalid,
    NodesDisagree,
    RecordInvalid,
    RecoveryError,
    RecoveryPhrase,
    TooFewNodes,
    Wallet,
    WalletBehind,
    relaying,
)
from wire.patients import RelayRequest

LAB = Category.LABORATORY


@dataclass
class World:
    """A consortium in which each member's node can lie, and a person with a wallet there."""

    network: Network
    proxies: list[LyingProxy]
    person: Person

    @property
    def wallet(self) -> Wallet:
        return self.person.wallet

    @property
    def patient(self) -> bytes:
        return self.wallet.relationships[0].patient

    def wish(self) -> GrantWish:
        return GrantWish((self.network.members[2].name,), (Purpose.TREAT,), 1, categories=(LAB,))

    def relays(self) -> int:
        return sum(request == "POST /relay" for proxy in self.proxies for request, _ in proxy.seen)


@pytest.fixture(scope="module")
def proxied(network: Network) -> Iterator[list[LyingProxy]]:
    proxies = [put_before(network, member) for member in network.members]
    yield proxies
    for proxy in proxies:
        proxy.stop()


@pytest.fixture
def world(network: Network, proxied: list[LyingProxy], tmp_path: Path, monkeypatch: Any) -> Iterator[World]:
    # However busy this machine is, what is final shows in time.
    monkeypatch.setattr(relaying, "FINALITY_SECONDS", 60.0)
    for proxy in proxied:
        proxy.honest()
    person = Person.begin(network, tmp_path, urls=[proxy.url for proxy in proxied[:2]])
    for proxy in proxied:
        proxy.seen.clear()
    yield World(network, proxied, person)
    for proxy in proxied:
        proxy.honest()
    person.wallet.close()


def test_grantee_key_replaced_by_a_lying_node_is_named_and_nothing_is_signed(world: World) -> None:
    grantee = world.network.members[2]

    def own_key(view: Any) -> None:
        for member in view["members"]:
            if member["address"] == "0x" + grantee.address.hex():
                member["encryption_key"] = base64.b64encode(bytes(1216)).decode()

    world.proxies[1].alter("GET /members", own_key)
    with pytest.raises(NodesDisagree, match="the members") as raised:
        world.wallet.preview_grant(world.wish())
    liar = (world.network.members[1].name,)
    assert liar in raised.value.sides
    assert world.relays() == 0


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("GET /patients/0x[0-9a-f]+$", {"epoch": 2}),
        ("GET /patients/0x[0-9a-f]+$", {"keyring_digest": "0x" + "ab" * 32}),
        ("GET /patients/0x[0-9a-f]+$", {"status": "frozen"}),
        ("GET /patients/0x[0-9a-f]+$", {"denied_categories": ["laboratory"]}),
    ],
)
def test_patient_state_forged_by_a_lying_node_stops_the_grant(
    world: World, path: str, change: dict[str, Any]
) -> None:
    preview = world.wallet.preview_grant(world.wish())
    world.proxies[0].alter(path, lambda view: view.update(change))
    with pytest.raises(NodesDisagree, match="pseudonym's state"):
        world.wallet.grant(preview)
    assert world.relays() == 0
    assert world.wallet.unfinished == ()


def test_consent_hidden_by_a_lying_node_is_noticed(world: World) -> None:
    world.person.grant(world.network.members[2], LAB)
    world.proxies[0].alter("/consents", lambda view: view.update(consents=[]))
    with pytest.raises(NodesDisagree, match="the consents"):
        world.wallet.consents()


def test_access_hidden_by_a_lying_node_is_noticed(world: World) -> None:
    reader = world.network.members[2]
    (record_id,) = world.person.publish(world.network.members[0])
    world.person.grant(reader, LAB)
    assert world.person.read_by(reader, world.patient, record_id).records[0].reason is Reason.PERMITTED
    world.proxies[0].alter("/history", lambda view: view.update(accesses=[]))
    with pytest.raises(NodesDisagree, match="access history"):
        world.wallet.history()


def test_access_hidden_by_two_colluding_nodes_leaves_a_gap_that_is_noticed(world: World) -> None:
    reader = world.network.members[2]
    (record_id,) = world.person.publish(world.network.members[0])
    world.person.grant(reader, LAB)
    for _ in range(2):
        world.person.read_by(reader, world.patient, record_id)
    for proxy in world.proxies:
        proxy.alter("/history", lambda view: view["accesses"].pop(0))
    with pytest.raises(NodeAnswerInvalid, match="left out"):
        world.wallet.history()


def test_release_made_up_by_a_node_in_the_name_of_another_custodian_is_left_out(world: World) -> None:
    hospital, other, reader = world.network.members
    (record_id,) = world.person.publish(hospital)
    world.person.grant(reader, LAB)
    world.person.read_by(reader, world.patient, record_id)
    forged = {
        "patient": "0x" + world.patient.hex(),
        "sequence": 1,
        "record_id": "0x" + record_id.hex(),
        "custodian": "0x" + other.address.hex(),
        "time": 1,
    }
    world.proxies[0].alter("/history", lambda view: view["releases"].append(forged))
    (entry,) = [entry for entry in world.wallet.history() if entry.sequence == 1]
    assert entry.releases
    assert (other.name, 1) not in entry.releases


def test_one_operator_who_claims_to_be_two_members_is_not_believed(world: World, tmp_path: Path) -> None:
    second = LyingProxy(world.network.members[0].node.url)
    claimed = "0x" + world.network.members[1].address.hex()
    second.alter("GET /ledger", lambda view: view.update(member=claimed))
    try:
        with pytest.raises(TooFewNodes):
            Wallet.create(tmp_path / "vault", PASSPHRASE, [world.proxies[0].url, second.url], cost=CHEAP)
    finally:
        second.stop()
    assert not (tmp_path / "vault").exists()


def test_single_reachable_member_is_refused_and_says_so(world: World) -> None:
    for proxy in world.proxies[1:]:
        proxy.refuse("GET ")
    with pytest.raises(TooFewNodes, match="single node"):
        world.wallet.preview_grant(world.wish())


def test_node_of_another_ledger_is_not_counted(world: World, tmp_path: Path) -> None:
    world.proxies[1].alter("GET /ledger", lambda view: view.update(chain_id=1))
    urls = [proxy.url for proxy in world.proxies[:2]]
    with pytest.raises(NodesDisagree, match="different ledgers"):
        Wallet.create(tmp_path / "vault", PASSPHRASE, urls, cost=CHEAP)
    world.person.reopen()
    directory = world.wallet.directory()  # the other two still agree
    assert len(directory.members) == 3


def test_grant_withheld_by_a_node_that_says_it_is_final_goes_through_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pretend(body: bytes, honest: Any) -> tuple[int, bytes]:
        # What never shows need not be waited for for long.
        monkeypatch.setattr(relaying, "FINALITY_SECONDS", 2.0)
        outcomes = [{"final": True} for _ in json.loads(body)["messages"]]
        answer = {"transaction_hash": None, "final": None, "outcomes": outcomes}
        return 200, json.dumps(answer).encode()

    def relay(body: bytes, honest: Any) -> tuple[int, bytes]:
        monkeypatch.setattr(relaying, "FINALITY_SECONDS", 60.0)
        answer: tuple[int, bytes] = honest()
        return answer

    world.proxies[0].rules["POST /relay"] = pretend
    for proxy in world.proxies[1:]:
        proxy.rules["POST /relay"] = relay
    consent_id = world.person.grant(world.network.members[2], LAB)
    (summary,) = world.wallet.consents()
    assert (summary.consent_id, summary.state) == (consent_id, ConsentState.ACTIVE)


def test_withheld_grant_that_is_revoked_can_never_land_later(world: World) -> None:
    for proxy in world.proxies:
        proxy.refuse("POST /relay")
    outcome = world.wallet.grant(world.wallet.preview_grant(world.wish()))
    assert not outcome.consents[0].final
    consent_id = outcome.consents[0].consent_id
    (summary,) = world.wallet.consents()
    assert summary.state is ConsentState.UNCONFIRMED
    assert world.wallet.unfinished
    withheld = next(body for request, body in world.proxies[0].seen if request == "POST /relay")

    for proxy in world.proxies:
        proxy.honest()
    receipt = world.wallet.revoke(consent_id)
    assert receipt.consent.state is ConsentState.REVOKED
    assert receipt.permits == ()
    assert world.wallet.unfinished == ()

    world.network.wait_for_all()
    late = world.network.members[0].node.relay.relay(
        world.patient, RelayRequest.model_validate_json(withheld)
    )
    assert not late.outcomes[0].final
    assert "GrantAlreadyUsed" in str(late.outcomes[0].refusal)
    assert [item.state for item in world.wallet.consents()] == [ConsentState.REVOKED]


def test_resume_of_a_withheld_grant_lands_it_once(world: World) -> None:
    for proxy in world.proxies:
        proxy.refuse("POST /relay")
    outcome = world.wallet.grant(world.wallet.preview_grant(world.wish()))
    assert not outcome.consents[0].final
    for proxy in world.proxies:
        proxy.honest()
    world.person.reopen()
    report = world.wallet.resume()
    assert report.left == ()
    assert world.wallet.resume().done == ()
    assert [item.state for item in world.wallet.consents()] == [ConsentState.ACTIVE]


def test_absent_grantee_who_stays_does_not_hold_up_a_revocation_and_gets_its_secrets_later(
    world: World,
) -> None:
    hospital, leaves, stays = world.network.members
    leaving = world.person.grant(leaves, LAB)
    world.person.grant(stays, LAB)
    world.proxies[2].refuse("POST /grants")
    receipt = world.wallet.revoke(leaving)
    assert receipt.undelivered == (stays.name,)
    assert len(world.wallet.unfinished) == 1
    world.proxies[2].honest()
    (later,) = world.person.publish(hospital, observation(3.0))
    assert world.wallet.resume().left == ()
    seen = world.person.read_by(stays, world.patient, later).records[0]
    assert seen.content is not None, seen.failure


def test_own_copy_and_blocks_altered_by_a_node_are_taken_from_another(world: World) -> None:
    (record_id,) = world.person.publish(world.network.members[0])
    honest = world.wallet.read(record_id).content
    world.proxies[0].alter("/own-copy", lambda copy: copy.update(owner_wrap=copy["consent_wrap"]))
    world.proxies[0].rules["GET /blocks/"] = lambda body, upstream: (200, b"other bytes")
    assert world.wallet.read(record_id).content == honest
    for proxy in world.proxies:
        proxy.rules["GET /blocks/"] = lambda body, upstream: (200, b"other bytes")
    with pytest.raises(RecordInvalid, match="came 11 bytes"):
        world.wallet.read(record_id)


def test_record_swapped_for_another_of_the_patient_by_all_nodes_is_refused(world: World) -> None:
    hospital = world.network.members[0]
    (first,) = world.person.publish(hospital, observation(1.0))
    (second,) = world.person.publish(hospital, observation(2.0))
    copies: list[bytes] = []

    def remember(body: bytes, honest: Any) -> tuple[int, bytes]:
        status, content = honest()
        copies.append(content)
        return status, content

    def swap(view: Any) -> None:
        by_id = {record["record_id"]: dict(record) for record in view["records"]}
        for record in view["records"]:
            if record["record_id"] == "0x" + first.hex():
                for name in ("cid", "header_digest", "payload_commitment"):
                    record[name] = by_id["0x" + second.hex()][name]

    for proxy in world.proxies:
        proxy.rules[f"0x{second.hex()}/own-copy"] = remember
    assert world.wallet.read(second).content
    for proxy in world.proxies:
        proxy.alter("/records$", swap)
        proxy.rules[f"0x{first.hex()}/own-copy"] = lambda body, honest: (200, copies[0])
    with pytest.raises(RecordInvalid, match="expected"):
        world.wallet.read(first)


def test_register_without_two_backups_asks_the_provider_for_nothing(world: World) -> None:
    other = world.network.members[1]
    for proxy in world.proxies[1:]:
        proxy.refuse("PUT /backups/")
    with pytest.raises(TooFewNodes, match="backup"):
        world.wallet.request_registration(other.name)
    assert not any(request == "POST /registrations" for proxy in world.proxies for request, _ in proxy.seen)
    prepared = world.wallet.relationships[1].patient
    for proxy in world.proxies:
        proxy.honest()
    assert world.person.register(other).patient == prepared


def test_revoke_without_two_backups_lands_and_says_that_it_changed_no_keys(world: World) -> None:
    consent_id = world.person.grant(world.network.members[2], LAB)
    for proxy in world.proxies[1:]:
        proxy.refuse("PUT /backups/")
    receipt = world.wallet.revoke(consent_id)
    assert "keys were not changed" in receipt.keyring_detail
    assert receipt.rotated == ()
    assert world.wallet.unfinished == ()
    assert [item.state for item in world.wallet.consents()] == [ConsentState.REVOKED]


def test_replaced_phrase_recovers_and_the_old_one_finds_only_what_was_before(
    world: World, tmp_path: Path
) -> None:
    old = world.person.phrase
    new = world.wallet.replace_phrase()
    consent_id = world.person.grant(world.network.members[2], LAB, label="after the change")
    world.wallet.close()
    urls = [proxy.url for proxy in world.proxies[:2]]
    recovered, _ = Wallet.recover(tmp_path / "new", "p", new, urls, cost=CHEAP)
    with recovered:
        assert recovered.consents()[0].label == "after the change"
    recovered, report = Wallet.recover(tmp_path / "old", "p", old, urls, cost=CHEAP)
    with recovered:
        assert report.consents_rebuilt == 1
        assert (recovered.consents()[0].consent_id, recovered.consents()[0].label) == (consent_id, "")


def test_recover_brings_everything_back(world: World, tmp_path: Path) -> None:
    hospital, reader, _ = world.network.members
    (record_id,) = world.person.publish(hospital)
    consent_id = world.person.grant(reader, LAB, label="kept in the backup")
    world.wallet.close()
    phrase = RecoveryPhrase.parse(" ".join(world.person.phrase.words))
    urls = [proxy.url for proxy in world.proxies[1:]]
    recovered, report = Wallet.recover(tmp_path / "new", "another", phrase, urls, cost=CHEAP)
    with recovered:
        assert report.missing == ()
        assert report.needs_new_keys == ()
        assert recovered.read(record_id).content
        (summary,) = recovered.consents()
        assert (summary.consent_id, summary.label) == (consent_id, "kept in the backup")
        assert recovered.revoke(consent_id).consent.state is ConsentState.REVOKED


def test_recover_with_a_mistyped_phrase_names_the_word_and_does_not_show_it(world: World) -> None:
    words = list(world.person.phrase.words)
    words[6] = "zzzz"
    with pytest.raises(RecoveryPhraseError, match="word 7") as raised:
        RecoveryPhrase.parse(" ".join(words))
    assert "zzzz" not in str(raised.value)


def test_recover_with_the_phrase_of_no_wallet_says_so_and_leaves_nothing(
    world: World, tmp_path: Path
) -> None:
    urls = [proxy.url for proxy in world.proxies[:2]]
    with pytest.raises(RecoveryError, match="no node holds a backup"):
        Wallet.recover(tmp_path / "new", "p", RecoveryPhrase.generate(), urls, cost=CHEAP)
    assert not (tmp_path / "new").exists()


def test_recover_when_one_node_rolled_the_backup_back_takes_the_newer(world: World, tmp_path: Path) -> None:
    old = _stored_backups(world)[-1]
    consent_id = world.person.grant(world.network.members[2], LAB, label="only in the newest")
    world.wallet.close()
    world.proxies[0].rules["GET /backups/"] = lambda body, honest: (200, old)
    urls = [proxy.url for proxy in world.proxies[:2]]
    recovered, report = Wallet.recover(tmp_path / "new", "p", world.person.phrase, urls, cost=CHEAP)
    with recovered:
        held = dict(report.versions)
        assert report.backup_version == max(version or 0 for version in held.values())
        assert held[world.network.members[0].name] != report.backup_version
        assert recovered.consents()[0].label == "only in the newest"
        assert recovered.consents()[0].consent_id == consent_id


def test_recover_when_all_nodes_rolled_the_backup_back_names_what_is_missing(
    world: World, tmp_path: Path
) -> None:
    hospital, other, reader = world.network.members
    old = _stored_backups(world)[-1]
    world.person.register(other)
    consent_id = world.person.grant(reader, LAB, patients=(world.patient,))
    world.wallet.revoke(consent_id)
    world.wallet.close()
    for proxy in world.proxies:
        proxy.rules["GET /backups/"] = lambda body, honest: (200, old)
        proxy.rules["PUT /backups/"] = lambda body, honest: (204, b"")
    urls = [proxy.url for proxy in world.proxies[:2]]
    recovered, report = Wallet.recover(tmp_path / "new", "p", world.person.phrase, urls, cost=CHEAP)
    with recovered:
        assert report.consents_rebuilt == 1
        epochs = next(sentence for sentence in report.missing if "epoch 2" in sentence)
        assert epochs.startswith(hospital.name)
        lost = next(sentence for sentence in report.missing if "registered after the backup" in sentence)
        assert lost.startswith(other.name)
        assert len(report.needs_new_keys) == 2
        wish = GrantWish((reader.name,), (Purpose.TREAT,), 1, categories=(LAB,), patients=(world.patient,))
        preview = recovered.preview_grant(wish)
        with pytest.raises(WalletBehind, match="epoch 2"):
            recovered.grant(preview)
        renewed = recovered.renew_keys(world.patient)
        assert renewed.secrets.epoch == 3
        outcome = recovered.grant(preview)
        assert outcome.consents[0].delivered
        world.network.wait_for_all()
        (later,) = world.person.publish(hospital, observation(8.0))
        assert recovered.read(later).content
        assert world.person.read_by(reader, world.patient, later).records[0].content


def test_second_copy_of_a_wallet_is_noticed_before_it_overwrites_the_newer_backup(
    world: World, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(world.person.path.read_bytes())
    copy.chmod(0o600)
    world.person.grant(world.network.members[2], LAB)
    with (
        Wallet.open(copy, PASSPHRASE, cost=CHEAP) as other,
        pytest.raises(WalletBehind, match="newer backup"),
    ):
        other.backup()


def test_second_copy_of_a_wallet_still_revokes_and_says_that_it_changed_no_keys(
    world: World, tmp_path: Path
) -> None:
    hospital, leaves, stays = world.network.members
    leaving, other = world.person.grant(leaves, LAB), world.person.grant(stays, LAB)
    copy = tmp_path / "copy"
    copy.write_bytes(world.person.path.read_bytes())
    copy.chmod(0o600)
    world.wallet.revoke(other)
    with Wallet.open(copy, PASSPHRASE, cost=CHEAP) as behind:
        receipt = behind.revoke(leaving)
        assert receipt.consent.state is ConsentState.REVOKED
        assert receipt.epoch is None
        assert "newer backup" in receipt.keyring_detail
        assert behind.unfinished == ()
    (later,) = world.person.publish(hospital, observation(4.0))
    denied = world.person.read_by(leaves, world.patient, later).records[0]
    assert denied.reason is Reason.CONSENT_REVOKED


def _stored_backups(world: World) -> list[bytes]:
    world.wallet.backup()
    return [body for request, body in world.proxies[0].seen if request.startswith("PUT /backups/")]
