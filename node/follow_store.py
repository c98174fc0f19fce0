"""Where the node's follower keeps what it took in (``ledger.follow.FollowStore``): events, decisions, checkpoint."""

from collections.abc import Sequence
from typing import Any

import cbor2
from sqlalchemy import Connection, delete, select

from ledger.blocks import Position
from ledger.events import AccessEvent, Event, accesses
from ledger.follow import Checkpoint
from node import tables
from node.database import Database
from node.event_codec import decode, encode

_CHECKPOINT, _SNAPSHOT = "checkpoint", "snapshot"
_MEMBER_FIELDS = ("member", "requester", "grantee", "author", "provider")


class DatabaseFollowStore:
    """Events with their indexes, decisions one by one, and how far the chain was read: one transaction a commit."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._uncertain = False

    def load(self) -> tuple[bytes | None, Checkpoint | None]:
        """The last snapshot and the last checkpoint that were committed."""
        with self._database.read() as connection:
            parts = {row.part: row.content for row in connection.execute(select(tables.follow_state))}
        checkpoint = parts.get(_CHECKPOINT)
        return parts.get(_SNAPSHOT), None if checkpoint is None else Checkpoint(*cbor2.loads(checkpoint))

    def last_event(self) -> Position | None:
        """Where the last event that was committed stands; None before the first."""
        newest = select(tables.events.c.body).order_by(
            tables.events.c.block_number.desc(), tables.events.c.log_index.desc()
        )
        with self._database.read() as connection:
            body = connection.execute(newest.limit(1)).scalar()
        return None if body is None else decode(body).position

    def commit(self, events: Sequence[Event], checkpoint: Checkpoint, snapshot: bytes | None) -> None:
        """Keeps new events, the checkpoint, and the snapshot where there is one: all or nothing, durably."""
        if self._uncertain:
            # The last commit failed, perhaps after it was made: what came in then is not taken in again.
            last = self.last_event()
            events = [event for event in events if last is None or _place(event.position) > _place(last)]
        self._uncertain = True
        self._commit(events, checkpoint, snapshot)
        self._uncertain = False

    def _commit(self, events: Sequence[Event], checkpoint: Checkpoint, snapshot: bytes | None) -> None:
        event_rows = [_event_row(event) for event in events]
        access_rows = [
            row for event in events if isinstance(event, AccessEvent) for row in _access_rows(event)
        ]
        packed = cbor2.dumps([checkpoint.block_number, checkpoint.block_hash, checkpoint.block_time])
        with self._database.append() as connection:
            if event_rows:
                connection.execute(tables.events.insert(), event_rows)
            if access_rows:
                connection.execute(tables.accesses.insert(), access_rows)
            _put(connection, _CHECKPOINT, packed)
            if snapshot is not None:
                _put(connection, _SNAPSHOT, snapshot)


def _place(position: Position) -> tuple[int, int]:
    return position.block_number, position.log_index


def _put(connection: Connection, part: str, content: bytes) -> None:
    connection.execute(delete(tables.follow_state).where(tables.follow_state.c.part == part))
    connection.execute(tables.follow_state.insert().values(part=part, content=content))


def _event_row(event: Event) -> dict[str, Any]:
    member = next((getattr(event, name) for name in _MEMBER_FIELDS if hasattr(event, name)), None)
    return {
        "block_number": event.position.block_number,
        "log_index": event.position.log_index,
        "name": type(event).__name__,
        "patient": getattr(event, "patient", None),
        "record_id": getattr(event, "record_id", None),
        "consent_id": getattr(event, "consent_id", None),
        "member": member,
        "transaction_hash": event.position.transaction_hash,
        "body": encode(event),
    }


def _access_rows(event: AccessEvent) -> list[dict[str, Any]]:
    return [
        {
            "patient": logged.patient,
            "sequence": logged.access.sequence,
            "record_id": logged.record_id,
            "requester": logged.requester,
            "consent_id": logged.access.consent_id,
            "purpose": logged.access.purpose,
            "reason": logged.access.reason,
            "time": logged.access.time,
            "response_key_digest": logged.access.response_key_digest,
            "person_commitment": logged.access.person_commitment,
            "block_number": logged.position.block_number,
            "block_hash": logged.position.block_hash,
            "transaction_hash": logged.position.transaction_hash,
            "log_index": logged.position.log_index,
        }
        for logged in accesses(event)
    ]
