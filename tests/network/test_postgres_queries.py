"""With 10,000 records and 100,000 events no question of a request reads a whole table: by the databases' own plans."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from database_filling import FEW, fill, identifier
from database_fixtures import SERVER, TestDatabase
from sqlalchemy import Connection, event

from node.backups import Backups
from node.deposits import DepositStore
from node.event_codec import decode  # noqa: F401 - named by what made-up events raise
from node.follow_store import DatabaseFollowStore
from node.grants import Grants
from node.keyrings import Keyrings
from node.ledger_view import LedgerView
from node.nonces import NonceMemory
from node.own_copies import OwnCopies
from node.patient_register import PatientRegister
from node.publication_entries import PublicationState
from node.publish_journal import PublishJournal
from node.release import ReleaseService
from node.replica_store import ReplicaState, ReplicaStore
from node.schema import metadata
from node.staff import StaffRegister

pytestmark = [pytest.mark.network, pytest.mark.timeout(900)]
NOBODY: Any = None
RECORD, PATIENT, CONSENT = (
    identifier("record_id", 77),
    identifier("patient", 3, 20),
    identifier("consent_id", 77),
)
TRANSACTION, PUBLICATION = identifier("transaction_hash", 77), "publication_id-77"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestDatabase]:
    path = tmp_path_factory.mktemp("queries") / "node.db"
    made = TestDatabase(SERVER.new_url() if request.param == "postgres" else f"sqlite:///{path}")
    made.migrate()
    fill(made)
    yield made
    made.close()


def questions(database: TestDatabase) -> dict[str, Callable[[], Any]]:
    """What requests, the follower and frequent tasks ask of the database, by name."""
    view = LedgerView(database, NOBODY, NOBODY)
    journal, deposits = PublishJournal(database), DepositStore(database)
    replicas, follow = ReplicaStore(database), DatabaseFollowStore(database)
    grants = Grants(database, NOBODY, NOBODY)
    keyrings = Keyrings(database, NOBODY, NOBODY, NOBODY)
    register = PatientRegister(database, NOBODY, NOBODY)
    backups = Backups(database, 10**9)

    def in_transaction(action: Callable[[Connection], Any]) -> None:
        with database.begin() as connection:
            action(connection)

    (deposit,) = deposits.find_many([(RECORD, identifier("header_digest", 77))]).values()
    return {
        "publication of a record": lambda: view.publication(RECORD),
        "grant of a consent": lambda: view.grant(CONSENT),
        "one access": lambda: view.access(PATIENT, 150),
        "accesses of a patient": lambda: view.accesses_of(PATIENT),
        "accesses of a transaction": lambda: view.accesses_in(TRANSACTION),
        "accesses under a consent": lambda: view.accesses_under(CONSENT),
        "events of a transaction": lambda: view.events_in(TRANSACTION),
        "times of blocks": lambda: view.block_times(range(500, 600)),
        "last event": follow.last_event,
        "one deposit": lambda: deposits.find(RECORD, identifier("header_digest", 77)),
        "deposits not on the ledger": deposits.not_on_ledger,
        "marking a deposit": lambda: deposits.mark_on_ledger(deposit),
        "purging a deposit": lambda: deposits.purge(deposit),
        "loading a publication": lambda: journal.load(PUBLICATION),
        "items of a publication": lambda: journal.items(PUBLICATION),
        "same content": lambda: journal.with_tags(PATIENT, [identifier("content_tag", 77)]),
        "publications in progress": journal.in_progress,
        "count in progress": journal.count_in_progress,
        "moving a publication": lambda: journal.move(PUBLICATION, PublicationState.SENT, "", {"a": 1.0}),
        "finishing a publication": lambda: journal.finish(PUBLICATION, {}),
        "acknowledging": lambda: journal.acknowledge(
            identifier("custodian", 2, 20), [(RECORD, bytes(32), bytes(65))], 5
        ),
        "shares that wait": lambda: journal.waiting([RECORD]),
        "shares acknowledged": lambda: journal.acknowledged([RECORD]),
        "published but waiting": journal.published_but_waiting,
        "dropping wraps": lambda: journal.drop_wraps(PUBLICATION),
        "abandoning": lambda: journal.abandon(PUBLICATION, ""),
        "keyrings that wait": lambda: keyrings._require_room,
        "grants of a patient": lambda: grants.for_patient(PATIENT),
        "introduction": lambda: grants._introduction(PATIENT),
        "oldest bundles": lambda: in_transaction(lambda one: grants._drop_oldest(one, PATIENT, CONSENT)),
        "identifier": lambda: register.patient_by_identifier("system-77", "value-77"),
        "identifiers of a patient": lambda: register.identifiers_of(PATIENT),
        "newest backup": lambda: in_transaction(lambda one: backups._make_room(one, bytes(32), 1)),
        "pruning nonces": NonceMemory(database, clock=lambda: 0.0).prune,
        "own reads": lambda: OwnCopies(NOBODY, NOBODY, deposits, database).for_patient(PATIENT),
        "releases": lambda: ReleaseService(NOBODY, NOBODY, NOBODY, deposits, database).for_patient(PATIENT),
        "staff token": lambda: StaffRegister(database).by_token("phr-staff-" + "a" * 43),
        "noting replicas": lambda: replicas.note({RECORD: ReplicaState.FULL}, 5),
        "blocks of replicas": lambda: replicas.held({RECORD: identifier("header_digest", 77)}),
    }


def is_postgres(database: TestDatabase) -> bool:
    return database.url.startswith("postgresql")


def plans(database: TestDatabase, action: Callable[[], Any]) -> list[tuple[str, str]]:
    """Every statement of an action with the plan that the database has for it."""
    found: list[tuple[str, str]] = []
    explain = "EXPLAIN" if is_postgres(database) else "EXPLAIN QUERY PLAN"

    def before(connection: Connection, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        if statement.split(maxsplit=1)[0] in ("SELECT", "UPDATE", "DELETE") and "advisory" not in statement:
            one = parameters[0] if isinstance(parameters, list) else parameters
            cursor.execute(f"{explain} {statement}", one)
            found.append((statement, "\n".join(str(row[-1]) for row in cursor.fetchall())))

    event.listen(database._engine, "before_cursor_execute", before)
    try:
        # Made-up rows cannot be decoded; their statements ran before that shows.
        with suppress(Exception):
            action()
    finally:
        event.remove(database._engine, "before_cursor_execute", before)
    return found


def whole_tables(plan: str) -> set[str]:
    """The large tables that a plan reads from end to end, row by row."""
    large = {table.name for table in metadata.sorted_tables} - FEW
    found = set()
    for line in plan.splitlines():
        words = line.replace("->", " ").split()
        scanned = words[words.index("SCAN") + 1] if "SCAN" in words and "USING" not in words else None
        if "Seq" in words:
            scanned = words[words.index("on") + 1]
        if scanned in large:
            found.add(scanned)
    return found


def test_no_question_of_a_request_reads_a_whole_table(database: TestDatabase) -> None:
    slow = {}
    for name, action in questions(database).items():
        for statement, plan in plans(database, action):
            if whole_tables(plan):
                slow[name] = (statement, plan)
    assert slow == {}


def test_plans_of_a_question_without_an_index_are_noticed(database: TestDatabase) -> None:
    mark = "%s" if is_postgres(database) else "?"

    def ask() -> None:
        with database.read() as connection:
            connection.exec_driver_sql(f"SELECT body FROM events WHERE body = {mark}", (b"x",))

    ((_, plan),) = plans(database, ask)
    assert whole_tables(plan) == {"events"}
