"""Several writers at once, each through a pool of connections of its own as processes have: what one reads holds
until it has written.

Every read-modify-write of the node has its race here. Run on SQLite, and with ``--database postgres`` on PostgreSQL.
"""

import hashlib
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from custody_world import ALL_CATEGORIES, CustodyWorld
from database_fixtures import TestDatabase, on_postgres
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from crypto.recovery import RecoveryPhrase
from crypto.vault import seal_backup
from ledger.transactions import SignedTransaction
from node import database as database_module
from node.backups import Backups, QuotaReached
from node.database import Database, TakenOver
from node.deposits import DepositStore
from node.errors import ConfigurationError, Conflict, TooMany, Unauthenticated
from node.keyrings import CANDIDATES, Keyrings
from node.ledger_view import LedgerView
from node.nonces import NonceMemory
from node.openings import Openings
from node.outbox import DatabaseOutbox
from node.patient_register import PatientRegister
from node.publication_entries import JournalPublication, JournalRecord, PublicationState
from node.publish_journal import PublishJournal
from node.tables import backups, block_times, keyrings, outbox, patient_identifiers, request_nonces
from wire.signing import Caller, CallerKind, RequestKey, VerifiedRequest
from wire.staff import PatientIdentifierValue

WRITERS = 6


def race(*actions: Callable[[], Any]) -> list[Any]:
    """What each action returned or raised, all begun at one moment."""
    outcomes: list[Any] = [None] * len(actions)
    gate = threading.Barrier(len(actions))

    def run(position: int) -> None:
        gate.wait()
        try:
            outcomes[position] = actions[position]()
        except Exception as error:  # noqa: BLE001 - the outcome is what the test is about
            outcomes[position] = error

    threads = [threading.Thread(target=run, args=(position,)) for position in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    return outcomes


def kinds(outcomes: Sequence[Any]) -> dict[type, int]:
    found: dict[type, int] = {}
    for outcome in outcomes:
        found[type(outcome)] = found.get(type(outcome), 0) + 1
    return found


@pytest.fixture
def databases(new_database: TestDatabase, open_database: Callable[[str], TestDatabase]) -> list[TestDatabase]:
    """The same database, opened several times."""
    return [new_database, *(open_database(new_database.url) for _ in range(WRITERS - 1))]


def test_counter_that_is_read_and_then_written_loses_no_count(databases: list[TestDatabase]) -> None:
    with databases[0].begin() as connection:
        connection.execute(block_times.insert().values(number=1, time=0))

    def count_up(database: Database) -> None:
        for _ in range(15):
            with database.begin() as connection:
                before = connection.execute(select(block_times.c.time)).scalar_one()
                connection.execute(update(block_times).values(time=before + 1))

    assert kinds(race(*(lambda one=one: count_up(one) for one in databases))) == {type(None): WRITERS}
    with databases[0].read() as connection:
        assert connection.execute(select(block_times.c.time)).scalar_one() == 15 * WRITERS


def test_attack_one_request_sent_many_times_at_once_is_taken_once(databases: list[TestDatabase]) -> None:
    memories = [NonceMemory(database) for database in databases]
    for turn in range(10):
        request = VerifiedRequest(Caller(CallerKind.MEMBER, bytes(20)), f"nonce-{turn:016}", 1_000)
        outcomes = race(*(partial(one.remember, request) for one in memories))
        assert kinds(outcomes) == {type(None): 1, Unauthenticated: WRITERS - 1}
    with databases[0].read() as connection:
        assert connection.execute(select(func.count()).select_from(request_nonces)).scalar_one() == 10


def test_outbox_keeps_each_transaction_once_and_in_order(databases: list[TestDatabase]) -> None:
    boxes = [DatabaseOutbox(database) for database in databases]
    entries = [SignedTransaction(nonce, hashlib.sha256(b"%d" % nonce).digest(), b"raw") for nonce in range(8)]

    def add_all(box: DatabaseOutbox) -> None:
        for entry in entries:
            box.add(entry.nonce, entry.hash, entry.raw)

    assert kinds(race(*(lambda one=one: add_all(one) for one in boxes))) == {type(None): WRITERS}
    assert boxes[0].pending() == entries
    with databases[0].read() as connection:
        numbers = connection.execute(select(outbox.c.number)).scalars().all()
    assert len(set(numbers)) == len(entries)


def test_backups_of_many_at_once_stay_within_the_quota(databases: list[TestDatabase]) -> None:
    keys = [RecoveryPhrase.generate().backup_keys() for _ in range(WRITERS)]
    sealed = [seal_backup(b"vault", one, 1) for one in keys]
    services = [Backups(database, 3 * len(sealed[0]) + 10) for database in databases]
    signing = [RequestKey.of_backup(one.signing_seed).caller.identifier for one in keys]
    outcomes = race(
        *(lambda i=i: services[i].store(signing[i], keys[i].locator, sealed[i]) for i in range(WRITERS))
    )
    assert kinds(outcomes) == {type(None): 3, QuotaReached: WRITERS - 3}


def test_versions_of_one_backup_at_once_end_with_the_newest(databases: list[TestDatabase]) -> None:
    keys = RecoveryPhrase.generate().backup_keys()
    signing = RequestKey.of_backup(keys.signing_seed).caller.identifier
    services = [Backups(database, 10**6) for database in databases]
    sealed = [seal_backup(b"content %d" % version, keys, version) for version in range(1, WRITERS + 1)]
    outcomes = race(
        *(lambda i=i: services[i].store(signing, keys.locator, sealed[i]) for i in range(WRITERS))
    )
    assert set(kinds(outcomes)) <= {type(None), Conflict}
    assert services[0].newest(signing, keys.locator) == sealed[-1]
    with databases[0].read() as connection:
        kept = connection.execute(select(backups.c.version).order_by(backups.c.version)).scalars().all()
    assert len(kept) <= 3
    stored = [version for version, outcome in enumerate(outcomes, 1) if outcome is None]
    assert kept == stored[-3:]


@pytest.fixture
def custodians(
    custody_world: CustodyWorld, open_database: Callable[[str], TestDatabase]
) -> list[TestDatabase]:
    """The custodian's database, opened several times."""
    own = custody_world.custodian.database
    assert isinstance(own, TestDatabase)
    return [own, *(open_database(own.url) for _ in range(WRITERS - 1))]


def test_keyrings_of_the_coming_epoch_stay_within_their_bound(
    custody_world: CustodyWorld, custodians: list[TestDatabase]
) -> None:
    def nobody(member: bytes, patient: bytes, epoch: int) -> bytes:
        raise AssertionError("nobody is asked")

    services = [
        Keyrings(database, custody_world.custodian.ledger, custody_world.custodian_identity, nobody)
        for database in custodians
    ]
    offers = [custody_world.keyring_secrets.rotate(ALL_CATEGORIES).public() for _ in range(2 * CANDIDATES)]

    def offer(position: int) -> None:
        services[position % WRITERS].store(custody_world.patient, offers[position].to_bytes())

    outcomes = race(*(lambda i=i: offer(i) for i in range(len(offers))))
    assert kinds(outcomes) == {type(None): CANDIDATES, TooMany: CANDIDATES}
    with custodians[0].read() as connection:
        assert connection.execute(select(func.count()).select_from(keyrings)).scalar_one() == CANDIDATES


def test_same_keyring_from_many_at_once_is_kept_once(
    custody_world: CustodyWorld, custodians: list[TestDatabase]
) -> None:
    document = custody_world.keyring_secrets.public().to_bytes()
    services = [
        Keyrings(database, custody_world.custodian.ledger, custody_world.custodian_identity, lambda *_: b"")
        for database in custodians
    ]
    outcomes = race(*(lambda one=one: one.keep(custody_world.patient, document) for one in services))
    assert kinds(outcomes) == {type(None): WRITERS}


def test_attack_one_identifier_bound_to_several_pseudonyms_at_once_names_one(
    custody_world: CustodyWorld, custodians: list[TestDatabase]
) -> None:
    identifier = (PatientIdentifierValue(system="urn:oid:1.2.3", value="MRN-1"),)

    def bind(database: Database, pseudonym: bytes) -> None:
        register = PatientRegister(database, custody_world.custodian.ledger, custody_world.custodian_identity)
        with database.begin() as connection:
            register.bind(connection, pseudonym, identifier)

    outcomes = race(*(lambda one=one: bind(one, secrets.token_bytes(20)) for one in custodians))
    assert kinds(outcomes) == {type(None): 1, Conflict: WRITERS - 1}
    with custodians[0].read() as connection:
        rows = connection.execute(select(func.count()).select_from(patient_identifiers))
        assert rows.scalar_one() == 1


def test_deposits_that_differ_under_one_key_at_once_leave_the_first_whole(
    custody_world: CustodyWorld, custodians: list[TestDatabase]
) -> None:
    sealed = custody_world.seal()
    custody_world.deposit(custody_world.custodian, sealed)
    (deposit,) = custody_world.custodian.deposits.all()
    custody_world.custodian.deposits.purge(deposit)
    others = [replace(deposit, consent_wrap=b"wrap %d" % number) for number in range(WRITERS)]

    def add(database: Database, one: Any) -> None:
        with database.begin() as connection:
            DepositStore(database).add(connection, one)

    outcomes = race(*(lambda i=i: add(custodians[i], others[i]) for i in range(WRITERS)))
    assert kinds(outcomes) == {type(None): 1, Conflict: WRITERS - 1}
    held = DepositStore(custodians[0]).find(deposit.record_id, deposit.header_digest)
    assert held == others[outcomes.index(None)]


def journal_entry(patient: bytes, tag: bytes) -> JournalPublication:
    """A publication of one record with this content."""
    publication_id = secrets.token_hex(16)
    record = JournalRecord(
        record_id=secrets.token_bytes(32),
        publication_id=publication_id,
        patient=patient,
        nonce=1,
        content_tag=tag,
        category=0,
        start_day=1,
        end_day=2,
        resource_count=1,
        payload_commitment=bytes(32),
        ciphertext_cid="bafk",
        ciphertext_bytes=1,
        header=b"header",
        header_digest=bytes(32),
        owner_wrap=b"",
        consent_wrap=b"",
        custody_wraps=(),
        journal_wrap=b"",
        journal_key_digest=bytes(32),
        on_ledger=False,
    )
    return JournalPublication(
        publication_id=publication_id,
        patient=patient,
        state=PublicationState.SEALED,
        detail="",
        supersedes=None,
        created_at=1,
        deadline=2,
        seconds_by_step={},
        records=(record,),
    )


def test_same_content_journalled_by_many_at_once_is_one_publication(databases: list[TestDatabase]) -> None:
    patient, tag = secrets.token_bytes(20), secrets.token_bytes(32)

    def begin(database: Database) -> str:
        publication = journal_entry(patient, tag)
        items = [(publication.records[0].record_id, False)]
        with database.begin() as connection:
            PublishJournal(database).begin(connection, publication, items, [bytes(20)])
        return publication.publication_id

    outcomes = race(*(lambda one=one: begin(one) for one in databases))
    assert kinds(outcomes) == {str: 1, IntegrityError: WRITERS - 1}
    assert PublishJournal(databases[0]).in_progress() == [one for one in outcomes if isinstance(one, str)]


def test_seconds_of_a_publication_added_by_many_at_once_are_all_counted(
    databases: list[TestDatabase],
) -> None:
    publication = journal_entry(secrets.token_bytes(20), secrets.token_bytes(32))
    with databases[0].begin() as connection:
        items = [(publication.records[0].record_id, False)]
        PublishJournal(databases[0]).begin(connection, publication, items, [bytes(20)])

    def add(database: Database) -> None:
        for _ in range(5):
            PublishJournal(database).move(
                publication.publication_id, PublicationState.SEALED, "", {"deposit": 1.0}
            )

    assert kinds(race(*(lambda one=one: add(one) for one in databases))) == {type(None): WRITERS}
    loaded = PublishJournal(databases[0]).load(publication.publication_id)
    assert loaded.seconds_by_step == {"deposit": 5.0 * WRITERS}


def test_block_times_remembered_by_many_at_once_are_kept_once(
    custody_world: CustodyWorld, custodians: list[TestDatabase]
) -> None:
    views = [
        LedgerView(database, custody_world.custodian.ledger.scope, lambda number: _Block(number))
        for database in custodians
    ]
    outcomes = race(*(lambda one=one: one.block_times(range(50)) for one in views))
    assert outcomes == [{number: 1_000 + number for number in range(50)}] * WRITERS


class _Block:
    """As much of a chain's block as is asked for."""

    def __init__(self, number: int) -> None:
        self.time = 1_000 + number


def test_commitments_of_one_moment_are_all_kept(databases: list[TestDatabase]) -> None:
    commitments = [secrets.token_bytes(32) for _ in databases]

    def remember(database: Database, commitment: bytes) -> None:
        Openings(database, None, None).remember(commitment, bytes(32), "kim", "physician")  # type: ignore[arg-type]

    outcomes = race(*(lambda i=i: remember(databases[i], commitments[i]) for i in range(WRITERS)))
    assert kinds(outcomes) == {type(None): WRITERS}


@pytest.mark.skipif(not on_postgres(), reason="SQLite has one writer at a time, of any kind")
def test_what_a_unique_key_guards_is_written_while_another_writer_waits(
    databases: list[TestDatabase],
) -> None:
    with databases[0].begin() as connection:
        connection.execute(block_times.insert().values(number=1, time=1))
        NonceMemory(databases[1]).remember(
            VerifiedRequest(Caller(CallerKind.MEMBER, bytes(20)), "a" * 20, 1_000)
        )


@pytest.mark.skipif(not on_postgres(), reason="SQLite's file lies in the node's directory, which has a lock")
def test_attack_second_node_on_one_database_is_refused_until_the_first_ends(
    databases: list[TestDatabase], monkeypatch: pytest.MonkeyPatch
) -> None:
    databases[0].claim()
    databases[0].claim()
    with monkeypatch.context() as impatient:
        impatient.setattr(database_module, "CLAIM_SECONDS", 0.3)
        with pytest.raises(ConfigurationError, match="another process runs a node on this database"):
            databases[1].claim()
    # The server learns of its end a moment later.
    databases[0].close()
    databases[1].claim()


def end_sessions(of: TestDatabase) -> None:
    """As a server does that restarts: every other session ends, and the locks that it held."""
    with of.append() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.mark.skipif(not on_postgres(), reason="SQLite's file lies in the node's directory, which has a lock")
def test_attack_node_that_lost_its_database_to_another_writes_nothing_and_never_takes_it_back(
    databases: list[TestDatabase], monkeypatch: pytest.MonkeyPatch
) -> None:
    former, standby, operator = databases[:3]
    former.take_over()
    DatabaseOutbox(former).add(1, b"1" * 32, b"raw")
    end_sessions(operator)
    standby.take_over()
    monkeypatch.setattr(database_module, "CLAIM_SECONDS", 0.3)
    with pytest.raises(TakenOver):
        DatabaseOutbox(former).add(2, b"2" * 32, b"raw")
    with pytest.raises(ConfigurationError, match="another process runs a node"):
        former.claim()
    assert [entry.nonce for entry in DatabaseOutbox(standby).pending()] == [1]
    standby.close()
    with pytest.raises(TakenOver):
        former.claim()


@pytest.mark.skipif(not on_postgres(), reason="SQLite's file lies in the node's directory, which has a lock")
def test_node_whose_session_ended_goes_on_when_nobody_took_over(databases: list[TestDatabase]) -> None:
    node, operator = databases[:2]
    node.take_over()
    end_sessions(operator)
    node.claim()
    DatabaseOutbox(node).add(1, b"1" * 32, b"raw")
    assert len(DatabaseOutbox(operator).pending()) == 1


@pytest.mark.skipif(not on_postgres(), reason="SQLite's file lies in the node's directory, which has a lock")
def test_second_node_that_may_not_run_leaves_the_schema_of_the_first(
    databases: list[TestDatabase], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "CLAIM_SECONDS", 0.3)
    databases[0].take_over()
    with databases[0].append() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0003'")
    with pytest.raises(ConfigurationError, match="another process runs a node"):
        databases[1].take_over()
    with databases[1].read() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one() == "0003"
