"""The publish journal: what a kill may not lose. Every method is one transaction."""

import json
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, delete, exists, func, insert, select, update

from node.collaborators import Transactions
from node.errors import NotFound
from node.publication_entries import (
    IN_PROGRESS,
    JournalPublication,
    JournalRecord,
    PublicationState,
    WaitingDeposit,
    record_of,
    record_row,
)
from node.tables_custody import block_references
from node.tables_publish import publication_deposits, publication_items, publication_records, publications


class PublishJournal:
    """The journal in the node's database."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def begin(
        self,
        connection: Connection,
        publication: JournalPublication,
        items: Sequence[tuple[bytes, bool]],
        custodians: Sequence[bytes],
    ) -> None:
        """Writes a publication with its records, its items (record id, already published) and its open deposits."""
        row = {column.name: getattr(publication, column.name) for column in publications.c}
        row["seconds_by_step"] = json.dumps(publication.seconds_by_step)
        connection.execute(insert(publications).values(row))
        for record in publication.records:
            connection.execute(insert(publication_records).values(record_row(record)))
            deposits = [
                {"record_id": record.record_id, "custodian": custodian, "share_index": index}
                for index, custodian in enumerate(custodians, start=1)
            ]
            connection.execute(insert(publication_deposits), deposits)
        connection.execute(
            insert(publication_items),
            [
                {
                    "publication_id": publication.publication_id,
                    "position": position,
                    "record_id": record_id,
                    "already_published": already,
                }
                for position, (record_id, already) in enumerate(items)
            ],
        )

    def load(self, publication_id: str) -> JournalPublication:
        """A publication; raises NotFound."""
        with self._database.read() as connection:
            row = connection.execute(
                select(publications).where(publications.c.publication_id == publication_id)
            ).one_or_none()
            if row is None:
                raise NotFound("no publication of this id was ever begun here")
            mine = publication_records.c.publication_id == publication_id
            order = select(publication_records).where(mine).order_by(publication_records.c.record_id)
            records = {bytes(each.record_id): record_of(each) for each in connection.execute(order)}
            positions = connection.scalars(
                select(publication_items.c.record_id)
                .where(publication_items.c.publication_id == publication_id)
                .order_by(publication_items.c.position)
            ).all()
        values = dict(row._mapping)
        values["state"] = PublicationState(values["state"])
        values["seconds_by_step"] = json.loads(values["seconds_by_step"])
        ordered = tuple(records[bytes(key)] for key in positions if bytes(key) in records)
        return JournalPublication(**values, records=ordered)

    def items(self, publication_id: str) -> list[tuple[JournalRecord, bool]]:
        """What a bundle became, in order, with whether it was published before."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(publication_records, publication_items.c.already_published)
                .join(publication_items, publication_items.c.record_id == publication_records.c.record_id)
                .where(publication_items.c.publication_id == publication_id)
                .order_by(publication_items.c.position)
            ).all()
        return [(record_of(row), row.already_published) for row in rows]

    def with_tags(self, patient: bytes, tags: Iterable[bytes]) -> dict[bytes, JournalRecord]:
        """The patient's records of the same contents, by tag."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(publication_records).where(
                    publication_records.c.patient == patient,
                    publication_records.c.content_tag.in_(list(tags)),
                )
            ).all()
        return {bytes(row.content_tag): record_of(row) for row in rows}

    def forget_tag(self, record_id: bytes) -> None:
        """Lets the same content be published again (the record was retracted)."""
        self._change_record(record_id, content_tag=None)

    def in_progress(self) -> list[str]:
        """The ids of all publications that are neither published nor abandoned, the oldest first."""
        with self._database.read() as connection:
            return list(
                connection.scalars(
                    select(publications.c.publication_id)
                    .where(publications.c.state.in_([state.value for state in IN_PROGRESS]))
                    .order_by(publications.c.created_at)
                )
            )

    def move(
        self, publication_id: str, state: PublicationState, detail: str, spent: Mapping[str, float] = {}
    ) -> None:
        """Changes a publication's state, and adds the seconds spent by step."""
        with self._database.begin() as connection:
            self._move(connection, publication_id, state, detail, spent)

    def finish(self, publication_id: str, spent: Mapping[str, float]) -> None:
        """All records are final: the means to seal again go."""
        with self._database.begin() as connection:
            connection.execute(
                update(publication_records)
                .where(publication_records.c.publication_id == publication_id)
                .values(journal_wrap=None, on_ledger=True)
            )
            self._move(connection, publication_id, PublicationState.PUBLISHED, "", spent)

    def abandon(self, publication_id: str, detail: str, on_ledger: Iterable[bytes] = ()) -> None:
        """Nothing more is sent: what did not reach the ledger lets go of its content, blocks and wraps."""
        landed = list(on_ledger)
        mine = publication_records.c.publication_id == publication_id
        lost = mine & publication_records.c.record_id.not_in(landed)
        with self._database.begin() as connection:
            gone = connection.scalars(select(publication_records.c.record_id).where(lost)).all()
            connection.execute(
                update(publication_records)
                .where(lost)
                .values(
                    content_tag=None, journal_wrap=None, owner_wrap=b"", consent_wrap=b"", custody_wraps=b""
                )
            )
            connection.execute(
                update(publication_records)
                .where(mine, publication_records.c.record_id.in_(landed))
                .values(journal_wrap=None, on_ledger=True)
            )
            connection.execute(delete(publication_deposits).where(publication_deposits.c.record_id.in_(gone)))
            connection.execute(delete(block_references).where(block_references.c.holder.in_(gone)))
            self._move(connection, publication_id, PublicationState.ABANDONED, detail, {})

    def reseal(self, publication_id: str, resealed: Sequence[JournalRecord], detail: str) -> None:
        """Replaces headers and consent wraps; every deposit is to be made anew, and the publication is sealed again."""
        with self._database.begin() as connection:
            for record in resealed:
                connection.execute(
                    update(publication_records)
                    .where(publication_records.c.record_id == record.record_id)
                    .values(
                        header=record.header,
                        header_digest=record.header_digest,
                        consent_wrap=record.consent_wrap,
                    )
                )
                connection.execute(
                    update(publication_deposits)
                    .where(publication_deposits.c.record_id == record.record_id)
                    .values(acknowledged_at=None, receipt_signature=None)
                )
            self._move(connection, publication_id, PublicationState.SEALED, detail, {})

    def acknowledge(
        self, custodian: bytes, acknowledged: Sequence[tuple[bytes, bytes, bytes]], at: int
    ) -> None:
        """A custodian signed for its shares: record id, header digest, signature; ignored where resealed since."""
        with self._database.begin() as connection:
            for record_id, header_digest, signature in acknowledged:
                still = exists().where(
                    publication_records.c.record_id == record_id,
                    publication_records.c.header_digest == header_digest,
                )
                connection.execute(
                    update(publication_deposits)
                    .where(
                        publication_deposits.c.record_id == record_id,
                        publication_deposits.c.custodian == custodian,
                        still,
                    )
                    .values(acknowledged_at=at, receipt_signature=signature)
                )

    def waiting(self, record_ids: Iterable[bytes]) -> list[WaitingDeposit]:
        """The shares of these records that are not acknowledged."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(publication_deposits).where(
                    publication_deposits.c.record_id.in_(list(record_ids)),
                    publication_deposits.c.acknowledged_at.is_(None),
                )
            ).all()
        return [WaitingDeposit(bytes(row.record_id), bytes(row.custodian), row.share_index) for row in rows]

    def acknowledged(self, record_ids: Iterable[bytes]) -> dict[bytes, set[bytes]]:
        """Which custodians acknowledged, by record id."""
        found: dict[bytes, set[bytes]] = {record_id: set() for record_id in record_ids}
        with self._database.read() as connection:
            rows = connection.execute(
                select(publication_deposits.c.record_id, publication_deposits.c.custodian).where(
                    publication_deposits.c.record_id.in_(list(found)),
                    publication_deposits.c.acknowledged_at.is_not(None),
                )
            ).all()
        for row in rows:
            found[bytes(row.record_id)].add(bytes(row.custodian))
        return found

    def published_but_waiting(self) -> list[str]:
        """The ids of publications that are on the ledger while the journal still holds wraps of theirs."""
        with self._database.read() as connection:
            return list(
                connection.scalars(
                    select(publication_records.c.publication_id)
                    .where(
                        publication_records.c.on_ledger.is_(True), publication_records.c.wraps_held.is_(True)
                    )
                    .distinct()
                )
            )

    def drop_wraps(self, publication_id: str) -> None:
        """Forgets the wraps of records whose custodians all have theirs: from now on only custodians hold wraps."""
        waiting = exists().where(
            publication_deposits.c.record_id == publication_records.c.record_id,
            publication_deposits.c.acknowledged_at.is_(None),
        )
        with self._database.begin() as connection:
            connection.execute(
                update(publication_records)
                .where(
                    publication_records.c.publication_id == publication_id,
                    publication_records.c.on_ledger.is_(True),
                    ~waiting,
                )
                .values(owner_wrap=b"", consent_wrap=b"", custody_wraps=b"", wraps_held=False)
            )

    def give_up_deposits(self, record_ids: Iterable[bytes], custodian: bytes) -> None:
        """A custodian left the network: it will not get these shares."""
        with self._database.begin() as connection:
            connection.execute(
                delete(publication_deposits).where(
                    publication_deposits.c.record_id.in_(list(record_ids)),
                    publication_deposits.c.custodian == custodian,
                    publication_deposits.c.acknowledged_at.is_(None),
                )
            )

    def count_in_progress(self) -> int:
        """How many publications are neither published nor abandoned."""
        states = publications.c.state.in_([state.value for state in IN_PROGRESS])
        with self._database.read() as connection:
            return connection.scalar(select(func.count()).select_from(publications).where(states)) or 0

    def _change_record(self, record_id: bytes, **values: object) -> None:
        with self._database.begin() as connection:
            connection.execute(
                update(publication_records)
                .where(publication_records.c.record_id == record_id)
                .values(**values)
            )

    @staticmethod
    def _move(
        connection: Connection,
        publication_id: str,
        state: PublicationState,
        detail: str,
        spent: Mapping[str, float],
    ) -> None:
        mine = publications.c.publication_id == publication_id
        before = connection.scalar(select(publications.c.seconds_by_step).where(mine))
        total = json.loads(before or "{}")
        for step, seconds in spent.items():
            total[step] = round(total.get(step, 0.0) + seconds, 6)
        connection.execute(
            update(publications)
            .where(mine)
            .values(state=state.value, detail=detail, seconds_by_step=json.dumps(total))
        )
