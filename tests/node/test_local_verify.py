"""Local verification names each kind of tampering with what a node stores."""

from collections.abc import Callable
from pathlib import Path

import pytest
from node_fixtures import Member, Network
from node_processes import wait_until
from records_flow import Case
from sqlalchemy import delete, update

from ledger.blocks import Block
from ledger.verify import verify
from node.database import Database
from node.local_verify import local_check
from node.tables import accesses
from node.tables_custody import block_references, deposits, releases
from node.tables_publish import publication_records
from storage import Cid


@pytest.fixture(scope="module")
def stored(network: Network) -> Case:
    """A record that was published, read and released, so that every kind of thing is stored at the author's node."""
    case = Case.begin(network)
    case.publish()
    case.grant(network.members[1])
    records = case.provider.node.records

    def released() -> bool:
        # Two of three shares are enough: the author's release may come too late, and to nothing.
        assert case.read(network.members[1]).records[0].failure is None
        return bool(records.release.for_patient(case.patient.address))

    wait_until(released, "the author released its share")
    wait_until(lambda: records.steps.repair() == 0, "every custodian has acknowledged")
    network.wait_for_all()
    records.sweeper.sweep()
    # What the tests alter stays so until they put it back.
    case.provider.node.repairs.stop()
    return case


def check(member: Member) -> str | None:
    snapshot = member.node.ledger.snapshot()
    final = snapshot.final
    block = Block(final.number, final.hash, bytes(32), final.time)
    divergence = local_check(member.directory)(snapshot.state, block)
    return None if divergence is None else divergence.text


def with_row(member: Member, table, values: dict[str, object]) -> Callable[[], None]:
    """Alters every row of a table, and gives what puts it back."""
    database = Database(member.node.config.database)
    with database.begin() as connection:
        before = [dict(row._mapping) for row in connection.execute(table.select())]
        connection.execute(update(table).values(**values))

    def restore() -> None:
        with database.begin() as connection:
            connection.execute(delete(table))
            connection.execute(table.insert(), before)
        database.close()

    return restore


def test_verify_untouched_store_agrees_within_the_ledgers_own_verification(stored):
    network = stored.network
    for member in network.members:
        found = verify(network.chain, network.deployment, local=local_check(member.directory))
        assert found.agrees, found.first_divergence
        assert found.steps[-1].number == 11


@pytest.mark.parametrize(
    ("table", "values", "words"),
    [
        (deposits, {"owner_wrap": b"x" * 1168}, "owner_wrap"),
        (deposits, {"consent_wrap": b"x" * 1168}, "consent_wrap"),
        (deposits, {"custody_wrap": b"x" * 1168}, "custody wrap"),
        (deposits, {"header": b"\xa0"}, "header"),
        (deposits, {"header_digest": b"\x05" * 32}, "under its header"),
        (publication_records, {"payload_commitment": b"\x05" * 32}, "payload commitment"),
        (publication_records, {"header_digest": b"\x05" * 32}, "header digest"),
        (accesses, {"reason": 7}, "access log"),
        (accesses, {"person_commitment": b"\x07" * 32}, "access log"),
        (releases, {"receipt_signature": b"\x01" * 65}, "release receipt"),
        (releases, {"sequence": 999}, "another's"),
        (block_references, {"cid": str(Cid.of(b"never was here"))}, "no such block"),
    ],
)
def test_verify_altered_row_is_named(stored, table, values, words):
    restore = with_row(stored.provider, table, values)
    try:
        assert words in (check(stored.provider) or "")
    finally:
        restore()
    assert check(stored.provider) is None


def block_file(case: Case) -> Path:
    node = case.provider.node
    record = next(
        record
        for record in node.ledger.snapshot().state.records.values()
        if record.patient == case.patient.address
    )
    cid = Cid.from_parts(record.cid_codec, record.cid_digest)
    return next(case.provider.directory.rglob(str(cid)))


def test_verify_altered_block_is_named(stored):
    path = block_file(stored)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        assert path.name in (check(stored.provider) or "")
    finally:
        path.write_bytes(content)
    assert check(stored.provider) is None


def test_verify_missing_block_is_named(stored, tmp_path):
    path = block_file(stored)
    aside = tmp_path / "aside"
    path.rename(aside)
    try:
        assert "no such block" in (check(stored.provider) or "")
    finally:
        aside.rename(path)


def test_verify_dropped_access_is_named(stored):
    database = Database(stored.provider.node.config.database)
    with database.begin() as connection:
        before = [dict(row._mapping) for row in connection.execute(accesses.select())]
        connection.execute(delete(accesses))
    try:
        assert "access log" in (check(stored.provider) or "")
    finally:
        with database.begin() as connection:
            connection.execute(accesses.insert(), before)
        database.close()
    assert check(stored.provider) is None
