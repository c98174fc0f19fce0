"""The state as bytes: CBOR with a version and a SHA-256 digest, so that a damaged or foreign one is noticed.

Layout: CBOR [label, version, SHA-256 of body, body]; body = CBOR of the state, each entity as the list of its fields
in the order of ``ledger.entities``.
"""

import hashlib
from dataclasses import fields
from typing import Any, TypeVar

import cbor2

from ledger.entities import (
    Consent,
    ConsentStatus,
    Member,
    MemberKeyVersion,
    Patient,
    PatientStatus,
    Record,
    RecordStatus,
)
from ledger.errors import SnapshotInvalid
from ledger.messages import LedgerScope
from ledger.state import LedgerState

LABEL = "phr/ledger-state"
VERSION = 1
_Entity = TypeVar("_Entity", Member, MemberKeyVersion, Patient, Record, Consent)


def to_bytes(state: LedgerState) -> bytes:
    """The whole state as bytes."""
    body = cbor2.dumps(
        [
            [state.scope.chain_id, state.scope.contract],
            state.administrator,
            state.minimum_threshold,
            state.successor,
            [
                [*_row(member)[:3], [_row(keys) for keys in member.keys], member.enrolled_block]
                for member in state.members.values()
            ],
            [_row(patient) for patient in state.patients.values()],
            [_row(record) for record in state.records.values()],
            [_row(consent) for consent in state.consents.values()],
            list(state.access_words.items()),
            list(state.author_words.items()),
        ]
    )
    return cbor2.dumps([LABEL, VERSION, hashlib.sha256(body).digest(), body])


def from_bytes(stored: bytes) -> LedgerState:
    """The state that :func:`to_bytes` wrote.

    Raises:
        SnapshotInvalid: damaged, or written by another version: replay from the chain instead.
    """
    try:
        label, version, digest, body = cbor2.loads(stored)
        if (label, version) != (LABEL, VERSION):
            raise SnapshotInvalid(
                f"expected {LABEL} of version {VERSION}; came {label!r} of version {version!r}"
            )
        if hashlib.sha256(body).digest() != digest:
            raise SnapshotInvalid("the stored state is damaged (its digest differs): replay from the chain")
        return _state(cbor2.loads(body))
    except (cbor2.CBORDecodeError, ValueError, TypeError, KeyError, IndexError) as error:
        raise SnapshotInvalid(f"the stored state cannot be read: {error}; replay from the chain") from error


def _row(entity: _Entity) -> list[Any]:
    return [getattr(entity, field.name) for field in fields(entity)]


def _state(body: Any) -> LedgerState:
    scope, administrator, threshold, successor, members, patients, records, consents, accesses, authors = body
    return LedgerState(
        LedgerScope(*scope),
        administrator,
        threshold,
        successor,
        {row[0]: _member(row) for row in members},
        {row[0]: _patient(row) for row in patients},
        {row[0]: _record(row) for row in records},
        {row[0]: _consent(row) for row in consents},
        dict(accesses),
        dict(authors),
    )


def _member(row: list[Any]) -> Member:
    address, roles, active, keys, enrolled_block = row
    return Member(
        address, roles, active, tuple(MemberKeyVersion(*version) for version in keys), enrolled_block
    )


def _patient(row: list[Any]) -> Patient:
    address, provider, categories, purposes, nonce, status, digests, block = row
    digests = tuple(digests)
    return Patient(address, provider, categories, purposes, nonce, PatientStatus(status), digests, block)


def _record(row: list[Any]) -> Record:
    named = dict(zip((field.name for field in fields(Record)), row, strict=True))
    return Record(**(named | {"status": RecordStatus(named["status"])}))


def _consent(row: list[Any]) -> Consent:
    named = dict(zip((field.name for field in fields(Consent)), row, strict=True))
    return Consent(**(named | {"status": ConsentStatus(named["status"])}))
