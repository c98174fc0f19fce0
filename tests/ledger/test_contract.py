"""The contract as Python sees it: every function, event and error of its interface, and its views against the fold."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from chain_fixtures import Key, LedgerWorld
from eth_hash.auto import keccak

from ledger import calls, events, messages
from ledger.artifact import artifact
from ledger.errors import ChainAnswerInvalid, ContractRefused
from ledger.messages import (
    AccessGroup,
    AccessRequest,
    DenyPolicy,
    Freeze,
    KeyringRotation,
    RelationshipEnd,
    Restriction,
    Revocation,
)
from ledger.refusals import ERRORS, refusal
from vocabulary import Category, Purpose, Reason, Role

NEVER_EMITTED = {"EIP712DomainChanged"}
"""Declared by the interface that OpenZeppelin's EIP712 implements (EIP-5267), emitted by nothing here."""


def abi_type(entry: dict[str, Any]) -> str:
    if not entry["type"].startswith("tuple"):
        return str(entry["type"])
    return f"({','.join(map(abi_type, entry['components']))}){entry['type'][5:]}"


def abi_signatures(kind: str) -> set[str]:
    return {
        f"{entry['name']}({','.join(map(abi_type, entry['inputs']))})"
        for entry in artifact().abi
        if entry["type"] == kind
    }


def test_event_types_are_those_of_the_contracts_interface() -> None:
    declared = {text for text in abi_signatures("event") if text.split("(")[0] not in NEVER_EMITTED}
    assert {events.signature(event_type) for event_type in events.EVENT_TYPES} == declared


def test_indexed_fields_and_names_are_those_of_the_contracts_interface() -> None:
    by_name = {entry["name"]: entry for entry in artifact().abi if entry["type"] == "event"}
    for event_type in events.EVENT_TYPES:
        inputs = by_name[event_type.__name__]["inputs"]
        fields = events.fields_of(event_type)
        names = [field.solidity_name.removesuffix("Bytes") for field in fields]
        assert names == [one["name"] for one in inputs]
        assert [field.indexed for field in fields] == [one["indexed"] for one in inputs]


def test_struct_field_names_are_those_of_the_contracts_interface() -> None:
    structs = {
        component["internalType"].removeprefix("struct ").removesuffix("[]"): component["components"]
        for entry in artifact().abi
        for component in entry.get("inputs", [])
        if component["type"].startswith("tuple")
    }
    kinds = (
        *messages.SIGNED_MESSAGES,
        messages.Publication,
        AccessRequest,
        events.Access,
        events.AccessBatch,
    )
    assert {kind.__name__ for kind in kinds} == set(structs)
    for kind in kinds:
        declared = [(one["name"], one["type"]) for one in structs[kind.__name__]]
        assert [(field.solidity_name, field.abi) for field in events.fields_of(kind)] == declared


def test_errors_in_words_are_those_of_the_contracts_interface() -> None:
    declared = {keccak(text.encode())[:4]: text for text in abi_signatures("error")}
    solidity_own = {keccak(text)[:4] for text in (b"Error(string)", b"Panic(uint256)")}
    assert set(ERRORS) == set(declared) | solidity_own
    by_name = {entry["name"]: entry for entry in artifact().abi if entry["type"] == "error"}
    for selector in declared:
        name, _, names, _ = ERRORS[selector]
        assert names == [one["name"] for one in by_name[name]["inputs"]]


def test_calls_have_the_selectors_of_the_contracts_interface() -> None:
    key, signature, word = Key.new(), bytes(65), bytes(32)
    address = key.address
    publication = messages.Publication(address, 0, 0, 0, 0, 0, 0, 0, word, word, word)
    keys = messages.MemberKeys(address, "n", "e", bytes(1216), word, 1, 0)
    made = [
        calls.seal(address),
        calls.enrol_member(keys, 1, signature),
        calls.change_member_keys(keys),
        calls.set_member_roles(address, 1),
        calls.set_member_active(address, True),
        calls.register_patient(messages.Registration(address, address, word, 0, 0), signature),
        calls.rotate_keyring(KeyringRotation(address, 2, word, 0), signature),
        calls.change_deny_policy(DenyPolicy(address, 0, 0, 1), signature),
        calls.end_relationship(RelationshipEnd(address, address, 0), signature),
        calls.freeze_patient(Freeze(address, 0), signature),
        calls.publish(publication),
        calls.publish_batch([publication]),
        calls.correct(publication, word),
        calls.retract(word),
        calls.restrict_record(Restriction(address, word, True, 1), signature),
        calls.grant(messages.Grant(address, address, word, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0), signature),
        calls.revoke(Revocation(address, address, word, 0), signature),
        calls.request_access(AccessRequest(word, 0, False, 0, word, word)),
        calls.request_access_batch(0, word, word, [AccessGroup(0, False, (word,))]),
        calls.relay([b"\x01"]),
    ]
    changing = {
        f"{entry['name']}({','.join(map(abi_type, entry['inputs']))})"
        for entry in artifact().abi
        if entry["type"] == "function" and entry["stateMutability"] == "nonpayable"
    }
    assert {call[:4] for call in made} == {keccak(text.encode())[:4] for text in changing}


def run_everything(world: LedgerWorld) -> None:
    """At least one event of each kind but the seal's."""
    provider = world.enrol(Role.PROVIDER)
    clinic = world.enrol(Role.CONSUMER)
    keys = world.member_keys(clinic, nonce=2, deadline=0, name="서울 의원")
    world.transact(clinic, calls.change_member_keys(keys))
    world.transact(world.administrator, calls.set_member_roles(clinic.address, Role.CONSUMER.bit))
    world.transact(world.administrator, calls.set_member_active(provider.address, False))
    world.transact(world.administrator, calls.set_member_active(provider.address, True))
    patient, other = world.register(provider), world.register(provider)
    rotation = KeyringRotation(patient.address, 2, b"\x02" * 32, 5)
    policy = DenyPolicy(patient.address, Category.GENOMICS.bit, Purpose.HPAYMT.bit, 1)
    restricted = world.publish(provider, patient, epoch=1)
    restriction = Restriction(patient.address, restricted, True, 1)
    world.transact(
        clinic,
        calls.relay(
            [
                calls.rotate_keyring(rotation, world.sign(patient, rotation)),
                calls.rotate_keyring(rotation, world.sign(patient, rotation)),
                calls.change_deny_policy(policy, world.sign(patient, policy)),
                calls.restrict_record(restriction, world.sign(patient, restriction)),
            ]
        ),
    )
    records = [
        world.publish(provider, patient, epoch=2, start_day=n, end_day=n + 5) for n in (700_000, 800_000)
    ]
    batch = [world.publication(patient, epoch=2), world.publication(other)]
    world.transact(provider, calls.publish_batch(batch))
    world.transact(provider, calls.correct(world.publication(patient, epoch=2), restricted))
    world.transact(provider, calls.retract(records[0]))
    limited, named = (
        world.grant(patient, clinic, max_uses=2),
        world.grant(patient, clinic, record_id=restricted),
    )
    word = b"\x07" * 32
    for record, terms, scope in (
        (records[1], limited, False),
        (restricted, named, True),
        (records[0], limited, False),
    ):
        request = AccessRequest(record, terms.nonce, scope, Purpose.TREAT, word, word)
        world.transact(clinic, calls.request_access(request))
    groups = [
        AccessGroup(limited.nonce, False, (records[1], records[0], records[1], restricted)),
        AccessGroup(named.nonce, True, (restricted,)),
        AccessGroup(limited.nonce, False, (records[1],)),
    ]
    world.transact(clinic, calls.request_access_batch(Purpose.TREAT, word, word, groups))
    for revocation in (
        Revocation(patient.address, clinic.address, bytes(32), limited.nonce),
        Revocation(patient.address, clinic.address, bytes(32), 999_999),
    ):
        world.transact(provider, calls.revoke(revocation, world.sign(patient, revocation)))
    end = RelationshipEnd(patient.address, provider.address, 1)
    world.transact(provider, calls.end_relationship(end, world.sign(patient, end)))
    freeze = Freeze(other.address, 1)
    world.transact(provider, calls.freeze_patient(freeze, world.sign(other, freeze)))


def assert_views_equal_the_fold(world: LedgerWorld) -> None:
    state, contract, block = world.state(), world.contract, world.chain.final_block().hash
    assert contract.administrator() == state.administrator == world.administrator.address
    assert contract.minimum_threshold() == state.minimum_threshold
    members, patients = list(state.members), list(state.patients)
    records, consents = list(state.records), list(state.consents)
    assert contract.member_words(members, block) == [state.members[one].word for one in members]
    assert contract.patient_words(patients, block) == [state.patients[one].word for one in patients]
    assert contract.keyring_digests(patients, block) == [
        state.patients[one].keyring_digest for one in patients
    ]
    assert contract.record_words(records, block) == [state.records[one].word for one in records]
    assert contract.consent_words(consents, block) == [state.consents[one].word for one in consents]
    assert contract.access_words(patients, block) == [state.access_words[one] for one in patients]
    assert contract.author_words(members, block) == [state.author_words.get(one, 0) for one in members]
    for member in state.members.values():
        digests, keys = contract.member_key_digests(member.address, block), member.current_keys
        assert digests.encryption_key_digest == keys.encryption_key_digest
        assert digests.transport_key == keys.transport_key
        assert digests.profile_digest == keys.profile_digest


def test_fold_of_every_kind_of_event_equals_the_contracts_views(ledger_world: LedgerWorld) -> None:
    run_everything(ledger_world)
    seen = {type(event) for event in ledger_world.events()}
    assert set(events.EVENT_TYPES) - seen == {events.LedgerSealed}
    assert_views_equal_the_fold(ledger_world)
    ledger_world.transact(ledger_world.administrator, calls.seal(b"\x01" * 20))
    assert ledger_world.contract.successor() == ledger_world.state().successor == b"\x01" * 20


def test_simulate_of_a_refused_call_raises_the_contracts_error_in_words(ledger_world: LedgerWorld) -> None:
    world, stranger = ledger_world, ledger_world.new_account()
    with pytest.raises(ContractRefused, match="only the administrator") as refused:
        world.contract.simulate(calls.set_member_roles(stranger.address, 1), stranger.address)
    assert refused.value.error_name == "NotAdministrator"
    assert refused.value.arguments == {"caller": stranger.address}
    request = AccessRequest(b"\x01" * 32, 0, False, 0, bytes(32), bytes(32))
    with pytest.raises(ContractRefused, match="never enrolled"):
        world.contract.simulate(calls.request_access(request), stranger.address)


def test_simulate_of_an_access_returns_the_reason(ledger_world: LedgerWorld) -> None:
    world = ledger_world
    provider = world.enrol(Role.PROVIDER, Role.CONSUMER)
    patient = world.register(provider)
    record = world.publish(provider, patient)
    request = AccessRequest(record, 1, False, Purpose.TREAT, bytes(32), bytes(32))
    answer = world.contract.simulate(calls.request_access(request), provider.address)
    assert int.from_bytes(answer, "big") == Reason.NO_CONSENT


def test_views_at_an_earlier_block_say_what_was_then(ledger_world: LedgerWorld) -> None:
    world = ledger_world
    member = world.enrol(Role.PROVIDER)
    before = world.chain.final_block()
    world.transact(world.administrator, calls.set_member_active(member.address, False))
    words = [
        world.contract.member_words([member.address], block)[0]
        for block in (before.number, before.hash, None)
    ]
    assert [word >> 16 & 1 for word in words] == [1, 1, 0]


def test_view_at_an_address_without_contract_is_refused(ledger_world: LedgerWorld) -> None:
    contract = type(ledger_world.contract)(ledger_world.chain, b"\x09" * 20)
    with pytest.raises(ChainAnswerInvalid, match="is the contract at this address"):
        contract.member_words([b"\x01" * 20])


@pytest.mark.parametrize("revert", [b"", b"\x01\x02", b"\xde\xad\xbe\xef" + bytes(64), bytes(4)])
def test_revert_data_of_no_known_error_is_named_unknown(revert: bytes) -> None:
    assert refusal(revert).error_name == "Unknown"


def test_revert_data_cut_short_is_named_unknown() -> None:
    whole = keccak(b"StaleEpoch(uint16,uint16)")[:4] + bytes(31) + b"\x01" + bytes(31) + b"\x02"
    assert refusal(whole).arguments == {"given": 1, "current": 2}
    assert refusal(whole[:-1]).error_name == "Unknown"


def test_member_name_that_is_no_utf8_is_folded_all_the_same(ledger_world: LedgerWorld) -> None:
    world = ledger_world
    member = world.enrol(Role.CONSUMER, name="Clinic")
    keys = world.member_keys(member, nonce=2, deadline=0, name="@@@@@@@")
    call = calls.change_member_keys(keys).replace(b"@@@@@@@", b"\xff\xfeEvil\x1b")
    world.transact(member, call)
    assert world.state().members[member.address].name == "\ufffd\ufffdEvil\x1b"
    assert_views_equal_the_fold(world)


def test_struct_altered_in_one_field_is_refused_by_the_contract(
    new_ledger: Callable[[], LedgerWorld],
) -> None:
    world = new_ledger()
    provider = world.enrol(Role.PROVIDER)
    patient = world.register(provider)
    terms = world.terms(patient, provider)
    signature = world.sign(patient, terms)
    for field, value in (("max_uses", 1), ("categories", 3), ("valid_until", terms.valid_until + 1)):
        altered = dataclasses.replace(terms, **{field: value})
        with pytest.raises(ContractRefused) as refused:
            world.contract.simulate(calls.grant(altered, signature), provider.address)
        assert refused.value.error_name == "SignatureInvalid"
