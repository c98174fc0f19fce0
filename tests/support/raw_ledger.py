"""A small real history, and its logs as the endpoint sent them: for tests that alter them as a liar would."""

import copy
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from chain_fixtures import Key, LedgerWorld
from eth_abi.abi import encode

from ledger import calls
from ledger.blocks import Block
from ledger.events import Event, topic
from ledger.log_pages import checked_page, read_pages
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
from ledger.solidity import SolidityType, fields_of
from vocabulary import Category, Purpose, Role

Logs = list[dict[str, Any]]


@dataclass
class RawLedger:
    """A ledger with every kind of event but the seal's, and its logs up to one block."""

    world: LedgerWorld
    block: Block
    logs: Logs
    provider: Key
    clinic: Key
    patient: Key
    other: Key
    records: tuple[bytes, ...]

    def copy_of_logs(self) -> Logs:
        return copy.deepcopy(self.logs)

    def pages(self, logs: Logs) -> list[Sequence[Any]]:
        """Altered logs as the pages that a reader gets, after the checks of a page."""
        deployment = self.world.deployment
        return [checked_page(logs, deployment.address, deployment.block_number, self.block.number)]


def raw_logs(world: LedgerWorld, last_block: int) -> Logs:
    deployment = world.deployment
    pages = read_pages(world.chain, deployment.address, deployment.block_number, last_block)
    return [dict(log) for page in pages for log in page]


def of_type(logs: Logs, event_type: type[Event]) -> Logs:
    """Those logs that are of a kind, in order: the same objects."""
    return [log for log in logs if log["topics"][0] == "0x" + topic(event_type).hex()]


def encoded(event: Event, like: dict[str, Any]) -> dict[str, Any]:
    """A log of an event, in the place of another log: what an endpoint would send that lies well."""
    fields = fields_of(type(event))

    def value(kind: Any, found: Any) -> Any:
        if isinstance(kind, SolidityType):
            return found
        return tuple(value(field.type, getattr(found, field.name)) for field in fields_of(kind))

    topics = [topic(type(event))] + [
        encode([field.abi], [getattr(event, field.name)]) for field in fields if field.indexed
    ]
    unindexed = [field for field in fields if not field.indexed]
    data = encode([f.abi for f in unindexed], [value(f.type, getattr(event, f.name)) for f in unindexed])
    return {**like, "topics": ["0x" + one.hex() for one in topics], "data": "0x" + data.hex()}


def make_raw_ledger(world: LedgerWorld) -> RawLedger:
    """Runs a history in which each later test finds what it alters."""
    administrator = world.administrator
    provider, clinic = world.enrol(Role.PROVIDER), world.enrol(Role.CONSUMER)
    keys = world.member_keys(clinic, nonce=2, deadline=0, name="서울 의원 'O\"Brien'")
    world.transact(clinic, calls.change_member_keys(keys))
    world.transact(
        administrator, calls.set_member_roles(clinic.address, Role.CONSUMER.bit | Role.AUDITOR.bit)
    )
    world.transact(administrator, calls.set_member_active(provider.address, False))
    world.transact(administrator, calls.set_member_active(provider.address, True))
    patient, other = world.register(provider), world.register(provider)
    rotation = KeyringRotation(patient.address, 2, secrets.token_bytes(32), 5)
    policy = DenyPolicy(patient.address, Category.GENOMICS.bit, Purpose.HPAYMT.bit, 1)
    restricted = world.publish(provider, patient)
    restriction = Restriction(patient.address, restricted, True, 1)
    signed = [
        calls.rotate_keyring(rotation, world.sign(patient, rotation)),
        calls.rotate_keyring(rotation, world.sign(patient, rotation)),
        calls.change_deny_policy(policy, world.sign(patient, policy)),
        calls.restrict_record(restriction, world.sign(patient, restriction)),
    ]
    world.transact(clinic, calls.relay(signed))
    dated = world.publish(provider, patient, epoch=2, start_day=700_000, end_day=700_005)
    genomic = world.publish(provider, patient, epoch=2, category=Category.GENOMICS)
    world.transact(provider, calls.publish_batch([world.publication(other), world.publication(other)]))
    world.transact(provider, calls.correct(world.publication(patient, epoch=2), restricted))
    withdrawn = world.publish(provider, patient, epoch=2, start_day=1, end_day=2)
    world.transact(provider, calls.retract(withdrawn))
    categories = Category.LABORATORY.bit | Category.GENOMICS.bit
    limited = world.grant(patient, clinic, max_uses=3, categories=categories, valid_until=2**40 - 1)
    named = world.grant(patient, clinic, record_id=restricted, data_from=700_000, data_until=800_000)
    for record, terms, scope in (
        (dated, limited, False),
        (restricted, named, True),
        (genomic, limited, False),
    ):
        person = secrets.token_bytes(32)
        request = AccessRequest(record, terms.nonce, scope, Purpose.TREAT, secrets.token_bytes(32), person)
        world.transact(clinic, calls.request_access(request))
    groups = [
        AccessGroup(limited.nonce, False, (dated, withdrawn, dated, restricted)),
        AccessGroup(named.nonce, True, (restricted,)),
        AccessGroup(limited.nonce, False, (dated,)),
    ]
    word = secrets.token_bytes(32)
    world.transact(clinic, calls.request_access_batch(Purpose.TREAT, word, word, groups))
    world.transact(clinic, calls.request_access_batch(Purpose.ETREAT, word, word, groups[:1]))
    for nonce in (limited.nonce, 999_999):
        revocation = Revocation(patient.address, clinic.address, bytes(32), nonce)
        world.transact(provider, calls.revoke(revocation, world.sign(patient, revocation)))
    end, freeze = RelationshipEnd(patient.address, provider.address, 1), Freeze(other.address, 1)
    world.transact(provider, calls.end_relationship(end, world.sign(patient, end)))
    world.transact(provider, calls.freeze_patient(freeze, world.sign(other, freeze)))
    block = world.chain.final_block()
    records = (dated, restricted, genomic, withdrawn)
    logs = raw_logs(world, block.number)
    return RawLedger(world, block, logs, provider, clinic, patient, other, records)


def moved(event: Event, **changes: Any) -> Event:
    """An event with other fields; a dotted change reaches into its struct."""
    for name, new in changes.items():
        outer, _, inner = name.partition("__")
        if inner:
            new = replace(getattr(event, outer), **{inner: new})
        event = replace(event, **{outer: new})
    return event
