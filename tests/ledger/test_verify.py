"""Verification on a real history, and each kind of thing that could be tampered with, named."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from chain_fixtures import LedgerWorld
from eth_hash.auto import keccak
from raw_ledger import Logs, RawLedger, encoded, moved, of_type

from ledger import calls, events
from ledger.addresses import to_text
from ledger.blocks import parse_log
from ledger.contract import ConsentLedger
from ledger.errors import RpcRefused
from ledger.events import decode
from ledger.verification import TITLES, Divergence, Step, Verification
from ledger.verify import examine, verify
from ledger.words import CONSENT, MEMBER, PATIENT, RECORD, first_difference
from vocabulary import Role

ALL_STEPS = tuple(range(1, 11))


def run(ledger: RawLedger, logs: Logs, views: Any = None) -> Verification:
    world = ledger.world
    return examine(world.deployment, ledger.pages(logs), views or world.contract, ledger.block)


def divergence(ledger: RawLedger, logs: Logs, views: Any = None) -> Divergence:
    """The divergence of a tampered ledger, after the steps before it held."""
    found = run(ledger, logs, views)
    assert found.first_divergence is not None
    assert not found.agrees
    assert [step.number for step in found.steps] == list(range(1, found.first_divergence.step))
    return found.first_divergence


def alter(ledger: RawLedger, kind: type[events.Event], place: int = 0, **changes: Any) -> Logs:
    """The logs with one event altered so that it still decodes."""
    logs = ledger.copy_of_logs()
    log = of_type(logs, kind)[place]
    log.update(encoded(moved(decode(parse_log(log)), **changes), log))
    return logs


def drop(ledger: RawLedger, kind: type[events.Event], place: int = 0) -> Logs:
    logs = ledger.copy_of_logs()
    logs.remove(of_type(logs, kind)[place])
    return logs


def event(ledger: RawLedger, kind: type[events.Event], place: int = 0) -> Any:
    return decode(parse_log(of_type(ledger.logs, kind)[place]))


def test_verify_of_an_honest_ledger_holds_every_step(raw_ledger: RawLedger) -> None:
    world, told = raw_ledger.world, []
    found = verify(world.chain, world.deployment, on_step=told.append)
    assert found.agrees
    assert found.first_divergence is None
    assert [step.number for step in found.steps] == list(ALL_STEPS)
    assert list(found.steps) == told
    assert found.event_count == len(raw_ledger.logs)
    compared = {step.number: step.compared for step in found.steps}
    state = world.state()
    assert compared[5] == 2 * len(state.members)
    assert compared[7] == len(state.records)
    assert compared[9] == len(state.patients)
    assert found.decision_count == sum(word & 0xFFFFFFFF for word in state.access_words.values()) > 10


def test_verify_of_a_sealed_ledger_compares_the_successor(new_ledger: Callable[[], LedgerWorld]) -> None:
    world = new_ledger()
    assert verify(world.chain, world.deployment).agrees
    world.transact(world.administrator, calls.seal(b"\x05" * 20))
    assert verify(world.chain, world.deployment).agrees


def test_verify_of_another_chain_or_code_diverges_in_step_1(raw_ledger: RawLedger) -> None:
    world = raw_ledger.world
    for change in ({"chain_id": 5}, {"genesis_hash": bytes(32)}, {"code_hash": bytes(32)}):
        found = verify(world.chain, replace(world.deployment, **change))
        assert found.first_divergence is not None
        assert (found.first_divergence.step, found.block, found.steps) == (1, None, ())


def test_local_check_runs_last_on_the_replayed_state(raw_ledger: RawLedger) -> None:
    world = raw_ledger.world
    mine = Divergence(11, "block of record", "here", "missing", raw_ledger.block.number)
    bad = verify(world.chain, world.deployment, local=lambda state, block: mine if state.records else None)
    assert bad.first_divergence == mine
    assert "step 11, what is stored here: block of record" in mine.text
    good = verify(world.chain, world.deployment, local=lambda state, block: None)
    assert good.agrees
    assert good.steps[-1] == Step(11, TITLES[11], 1)


# ---- missing events: either the fold cannot go on, or a word or head differs, since the block of the missing one
@pytest.mark.parametrize(
    ("kind", "place", "step", "what"),
    [
        (events.LedgerDeployed, 0, 4, "contract: administrator"),
        (events.MemberEnrolled, 0, 3, "MemberKeysChanged"),
        (events.MemberKeysChanged, 1, 3, "MemberKeysChanged"),
        (events.MemberKeysChanged, 2, 5, "key version"),
        (events.MemberRolesChanged, 0, 5, "roles"),
        (events.MemberReinstated, 0, 5, "active"),
        (events.PatientRegistered, 0, 3, "RecordPublished"),
        (events.KeyringRotated, 0, 6, "epoch"),
        (events.DenyPolicyChanged, 0, 6, "denied categories"),
        (events.RelationshipEnded, 0, 6, "status"),
        (events.PatientFrozen, 0, 6, "status"),
        (events.RecordPublished, 0, 3, "RecordRestricted"),
        (events.RecordPublished, 3, 10, "links"),
        (events.RecordSuperseded, 0, 7, "status"),
        (events.RecordRetracted, 0, 7, "status"),
        (events.RecordRestricted, 0, 7, "status"),
        (events.ConsentGranted, 0, 3, "The decision on an access"),
        (events.ConsentRevoked, 0, 8, "status"),
        (events.AccessPermitted, 0, 3, "The decision on an access"),
        (events.AccessDenied, 0, 3, "The decision on an access"),
        (events.AccessBatchDecided, 0, 3, "The decision on an access"),
        (events.AccessBatchDecided, -1, 9, "links"),
    ],
)
def test_missing_event_is_named(
    raw_ledger: RawLedger, kind: type[events.Event], place: int, step: int, what: str
) -> None:
    found = divergence(raw_ledger, drop(raw_ledger, kind, place))
    assert found.step == step
    assert what in found.what
    if step > 3:
        assert found.block_number == raw_ledger.block.number
        assert found.since_block == event(raw_ledger, kind, place).position.block_number
        assert f"since block {found.since_block}" in found.text
    else:
        assert found.block_number >= event(raw_ledger, kind, place).position.block_number


@pytest.mark.parametrize(
    ("kind", "changes", "step", "what"),
    [
        (events.LedgerDeployed, {"administrator": b"\x01" * 20}, 4, "administrator"),
        (events.LedgerDeployed, {"minimum_threshold": 9}, 4, "minimum threshold"),
        (events.MemberEnrolled, {"roles": 31}, 5, "roles"),
        (events.MemberKeysChanged, {"encryption_key": bytes(1216)}, 5, "encryption key"),
        (events.MemberKeysChanged, {"transport_key": bytes(32)}, 5, "transport key"),
        (events.MemberKeysChanged, {"name_bytes": b"Evil"}, 5, "name and endpoint"),
        (events.MemberKeysChanged, {"endpoint_bytes": b"http://evil"}, 5, "name and endpoint"),
        (events.PatientRegistered, {"provider": None}, 6, "provider"),
        (events.KeyringRotated, {"keyring_digest": bytes(32)}, 6, "keyring digest"),
        (events.KeyringRotated, {"epoch": 3}, 3, "KeyringRotated"),
        (events.DenyPolicyChanged, {"categories": 0}, 6, "denied categories"),
        (events.DenyPolicyChanged, {"purposes": 0}, 6, "denied purposes"),
        (events.DenyPolicyChanged, {"nonce": 2}, 6, "policy nonce"),
        (events.RecordPublished, {"publication__category": 1}, 7, "category"),
        (events.RecordPublished, {"publication__start_day": 1}, 7, "start day"),
        (events.RecordPublished, {"publication__end_day": 1}, 7, "end day"),
        (events.RecordPublished, {"publication__epoch": 7}, 7, "epoch"),
        (events.RecordPublished, {"publication__header_digest": bytes(32)}, 10, "head"),
        (events.RecordPublished, {"publication__cid_digest": bytes(32)}, 10, "head"),
        (events.RecordPublished, {"publication__cid_codec": 0x70}, 10, "head"),
        (events.RecordPublished, {"publication__nonce": 7}, 3, "its id"),
        (events.RecordPublished, {"publication__patient": b"\x02" * 20}, 3, "publication.patient"),
        (events.RecordPublished, {"author": b"\x02" * 20}, 3, "its id"),
        (events.RecordRestricted, {"nonce": 9}, 7, "status nonce"),
        (events.RecordRestricted, {"restricted": False}, 7, "status"),
        (events.ConsentGranted, {"terms__categories": 1}, 8, "categories"),
        (events.ConsentGranted, {"terms__purposes": 2}, 8, "purposes"),
        (events.ConsentGranted, {"terms__valid_from": 2}, 8, "valid from"),
        (events.ConsentGranted, {"terms__valid_until": 2}, 8, "valid until"),
        (events.ConsentGranted, {"terms__data_from": 2}, 8, "data from"),
        (events.ConsentGranted, {"terms__data_until": 2}, 8, "data until"),
        (events.ConsentGranted, {"terms__max_uses": 99}, 8, "maximum uses"),
        (events.ConsentGranted, {"terms__flags": 1}, 8, "flags"),
        (events.ConsentGranted, {"terms__nonce": 1}, 3, "its id"),
        (events.ConsentGranted, {"terms__grantee": b"\x02" * 20}, 3, "terms.grantee"),
        (events.ConsentGranted, {"terms__record_id": b"\x02" * 32}, 3, "its id"),
        (events.AccessPermitted, {"access__sequence": 2}, 3, "The decision on an access"),
        (events.AccessPermitted, {"access__reason": 3}, 8, "uses"),
        (events.AccessPermitted, {"access__purpose": 5}, 9, "head"),
        (events.AccessPermitted, {"access__time": 5}, 9, "head"),
        (events.AccessPermitted, {"access__response_key_digest": bytes(32)}, 9, "head"),
        (events.AccessPermitted, {"access__person_commitment": bytes(32)}, 9, "head"),
        (events.AccessPermitted, {"access__consent_id": b"\x01" * 32}, 3, "The decision on an access"),
        (events.AccessPermitted, {"record_id": b"\x01" * 32}, 3, "The decision on an access"),
        (events.AccessPermitted, {"requester": None}, 9, "head"),
        (events.AccessPermitted, {"requester": b"\x01" * 20}, 3, "The decision on an access"),
        (events.AccessDenied, {"access__reason": 4}, 9, "head"),
        (events.AccessBatchDecided, {"batch__time": 5}, 9, "head"),
        (events.AccessBatchDecided, {"batch__person_commitment": bytes(32)}, 9, "head"),
    ],
)
def test_altered_event_is_named(
    raw_ledger: RawLedger, kind: type[events.Event], changes: dict[str, Any], step: int, what: str
) -> None:
    place = 2 if kind is events.MemberKeysChanged else 0
    values = {name: raw_ledger.clinic.address if value is None else value for name, value in changes.items()}
    if kind is events.AccessPermitted and "requester" in changes and changes["requester"] is None:
        values["requester"] = raw_ledger.provider.address
    found = divergence(raw_ledger, alter(raw_ledger, kind, place, **values))
    assert (found.step, what in found.what) == (step, True), found
    assert found.expected != found.found
    if step > 3:
        assert found.since_block == event(raw_ledger, kind, place).position.block_number


def test_one_decision_of_a_batch_altered_is_named(raw_ledger: RawLedger) -> None:
    batch = event(raw_ledger, events.AccessBatchDecided)
    reasons = bytearray(batch.decisions)
    reasons[33 + 32] ^= 1
    altered = alter(raw_ledger, events.AccessBatchDecided, decisions=bytes(reasons))
    assert divergence(raw_ledger, altered).step in (8, 9)
    shortened = alter(raw_ledger, events.AccessBatchDecided, decisions=batch.decisions[:-33])
    assert divergence(raw_ledger, shortened).step == 3


def swap(logs: Logs, one: dict[str, Any], other: dict[str, Any]) -> None:
    for member in ("topics", "data"):
        one[member], other[member] = other[member], one[member]


@pytest.mark.parametrize(
    ("first", "second", "step", "what"),
    [
        ((events.MemberSuspended, 0), (events.MemberReinstated, 0), 5, "active"),
        ((events.RecordPublished, 1), (events.RecordPublished, 2), 10, "head"),
        ((events.AccessDenied, 0), (events.AccessDenied, 1), 3, "The decision on an access"),
        ((events.AccessBatchDecided, 0), (events.AccessBatchDecided, -1), 3, "The decision on an access"),
        ((events.MemberKeysChanged, 1), (events.MemberKeysChanged, 2), 3, "MemberKeysChanged"),
        ((events.ConsentGranted, 0), (events.ConsentRevoked, 0), 3, "ConsentGranted"),
    ],
)
def test_reordered_events_are_named(
    raw_ledger: RawLedger, first: tuple[Any, int], second: tuple[Any, int], step: int, what: str
) -> None:
    logs = raw_ledger.copy_of_logs()
    swap(logs, of_type(logs, first[0])[first[1]], of_type(logs, second[0])[second[1]])
    found = divergence(raw_ledger, logs)
    assert (found.step, what in found.what) == (step, True), found


def test_repeated_event_is_named(raw_ledger: RawLedger) -> None:
    logs = raw_ledger.copy_of_logs()
    log = of_type(logs, events.ConsentRevoked)[0]
    logs.append({**log, "logIndex": hex(int(log["logIndex"], 16) + 1)})
    found = divergence(raw_ledger, logs)
    assert (found.step, "ConsentRevoked" in found.what) == (3, True)


def test_log_of_an_unknown_kind_diverges_in_step_2(raw_ledger: RawLedger) -> None:
    logs = raw_ledger.copy_of_logs()
    logs[3]["topics"] = ["0x" + "ab" * 32]
    found = divergence(raw_ledger, logs)
    assert (found.step, "does not know" in found.found) == (2, True)


class Tampered(ConsentLedger):
    """The contract's views, one of them altered: at every block, or at blocks from one on."""

    def __init__(self, real: ConsentLedger, view: str, change: Callable[[Any], Any]) -> None:
        super().__init__(real.chain, real.address)
        self.view, self.change = view, change

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or name in ("view", "change") or name != self.view:
            return found

        def altered(*arguments: Any) -> Any:
            answer = found(*arguments)
            if not isinstance(answer, list):
                return self.change(answer)
            # The last one: so that comparing only the first would not do.
            return [*answer[:-1], self.change(answer[-1])]

        return altered


def bit(position: int) -> Callable[[int], int]:
    return lambda word: word ^ 1 << position


WORDS = [
    ("member_words", MEMBER, 5, "member"),
    ("patient_words", PATIENT, 6, "patient"),
    ("record_words", RECORD, 7, "record"),
    ("consent_words", CONSENT, 8, "consent"),
]
FIELD_BITS = [
    (view, step, noun, name, sum(width for _, width in layout[:place]))
    for view, layout, step, noun in WORDS
    for place, (name, _) in enumerate(layout)
]


@pytest.mark.parametrize(("view", "step", "noun", "field", "position"), FIELD_BITS)
def test_altered_field_of_a_view_is_named(
    raw_ledger: RawLedger, view: str, step: int, noun: str, field: str, position: int
) -> None:
    views = Tampered(raw_ledger.world.contract, view, bit(position))
    found = divergence(raw_ledger, raw_ledger.logs, views)
    assert found.step == step
    assert found.what.startswith(f"{noun} 0x")
    assert found.what.endswith(f": {field}")
    assert found.expected != found.found


@pytest.mark.parametrize(
    ("view", "change", "step", "what"),
    [
        ("administrator", lambda _: b"\x01" * 20, 4, "contract: administrator"),
        ("minimum_threshold", lambda n: n + 1, 4, "contract: minimum threshold"),
        ("successor", lambda _: b"\x01" * 20, 4, "contract: successor"),
        ("member_words", bit(200), 5, "unused bits"),
        ("keyring_digests", lambda _: bytes(32), 6, "keyring digest"),
        ("access_words", bit(0), 9, "links"),
        ("access_words", bit(255), 9, "head"),
        ("author_words", bit(0), 10, "links"),
        ("author_words", bit(32), 10, "head"),
        ("member_key_digests", lambda d: replace(d, encryption_key_digest=bytes(32)), 5, "encryption key"),
        ("member_key_digests", lambda d: replace(d, transport_key=bytes(32)), 5, "transport key"),
        ("member_key_digests", lambda d: replace(d, profile_digest=bytes(32)), 5, "name and endpoint"),
    ],
)
def test_altered_view_is_named(
    raw_ledger: RawLedger, view: str, change: Callable[[Any], Any], step: int, what: str
) -> None:
    found = divergence(raw_ledger, raw_ledger.logs, Tampered(raw_ledger.world.contract, view, change))
    assert (found.step, what in found.what) == (step, True), found


def test_divergence_names_the_thing_as_people_find_it(raw_ledger: RawLedger) -> None:
    found = divergence(raw_ledger, drop(raw_ledger, events.PatientFrozen))
    assert found.what == f"patient {to_text(raw_ledger.other.address)}: status"
    assert (found.expected, found.found) == ("1", "3")


class Forgetful(ConsentLedger):
    """A node that pruned its past states."""

    def _view(self, *arguments: Any) -> Any:
        if isinstance(arguments[-1], int):
            raise RpcRefused("eth_call", -32000, "missing trie node")
        return super()._view(*arguments)


def test_endpoint_that_forgot_the_past_leaves_the_first_block_open(raw_ledger: RawLedger) -> None:
    views = Forgetful(raw_ledger.world.chain, raw_ledger.world.deployment.address)
    assert run(raw_ledger, raw_ledger.logs, views).agrees
    found = divergence(raw_ledger, drop(raw_ledger, events.PatientFrozen), views)
    assert (found.step, found.since_block) == (6, None)


class Blocks(ConsentLedger):
    """Records at which blocks the views were asked."""

    asked: set[Any]

    def _view(self, *arguments: Any) -> Any:
        self.asked.add(arguments[-1])
        return super()._view(*arguments)


def test_all_views_are_asked_at_one_block_by_its_hash(raw_ledger: RawLedger) -> None:
    views = Blocks(raw_ledger.world.chain, raw_ledger.world.deployment.address)
    views.asked = set()
    assert run(raw_ledger, raw_ledger.logs, views).agrees
    assert views.asked == {raw_ledger.block.hash}


def test_first_difference_of_equal_words_is_none() -> None:
    assert first_difference(CONSENT, 2**256 - 1, 2**256 - 1) is None
    assert sum(width for _, width in CONSENT) == sum(width for _, width in PATIENT) == 256
    assert sum(width for _, width in RECORD) == 256


def test_tampered_storage_of_the_contract_itself_is_named(new_ledger: Callable[[], LedgerWorld]) -> None:
    """Not a view that lies but a chain whose storage was rewritten: the event says one thing, the slot another."""
    world = new_ledger()
    provider = world.enrol(Role.PROVIDER)
    patient = world.register(provider)
    world.publish(provider, patient)
    assert verify(world.chain, world.deployment).agrees
    contract, chain = world.deployment.address, world.chain
    word = world.contract.patient_words([patient.address])[0]
    slot = slot_of(chain, contract, patient.address, word)
    forged = word ^ 1 << 224
    world.anvil.mine(3)
    chain.request("anvil_setStorageAt", ["0x" + contract.hex(), slot, f"0x{forged:064x}"])
    forged_block = chain.final_block().number
    world.anvil.mine(2)
    found = verify(world.chain, world.deployment).first_divergence
    assert found is not None
    assert found.what == f"patient {to_text(patient.address)}: status"
    assert found.since_block == forged_block


def slot_of(chain: Any, contract: bytes, key: bytes, word: int) -> str:
    """The slot of a mapping that holds a word for a key (Solidity: keccak256(key . slot))."""
    for place in range(40):
        slot = "0x" + keccak(key.rjust(32, b"\0") + place.to_bytes(32, "big")).hex()
        stored = chain.request("eth_getStorageAt", ["0x" + contract.hex(), slot, "latest"])
        if int(stored, 16) == word:
            return slot
    raise AssertionError("no mapping of the contract holds that word")
