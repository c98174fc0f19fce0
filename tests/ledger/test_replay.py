"""Replay into Parquet on a real history: every table against the state, and nothing half written."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from chain_fixtures import LedgerWorld
from raw_ledger import RawLedger

from ledger import columns as columns_module
from ledger import log_pages
from ledger import replay as replay_module
from ledger.blocks import parse_log
from ledger.chain import Chain
from ledger.columns import columns_of, read_columns
from ledger.errors import AnswerTooLarge, ChainReplaced, ReplayTargetExists, RpcRefused
from ledger.events import AccessBatchDecided, AccessDenied, AccessPermitted, accesses, decode
from ledger.replay import PROVENANCE_KEY, ReplaySummary, replay
from ledger.tables import LAST_SECOND, TABLE_NAMES, build_tables
from vocabulary import LAST_DAY, Category, Purpose, Reason, Role


@pytest.fixture(scope="module")
def replayed(raw_ledger: RawLedger, tmp_path_factory: pytest.TempPathFactory) -> ReplaySummary:
    world = raw_ledger.world
    return replay(world.chain, world.deployment, tmp_path_factory.mktemp("replay") / "out")


def rows(summary: ReplaySummary, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parquet.read_table(summary.directory / f"{table}.parquet").to_pylist()
    return found


def text(octets: bytes) -> str:
    return "0x" + octets.hex()


def day(number: int) -> date | None:
    return None if number in (0, LAST_DAY) else date.fromordinal(number)


def moment(seconds: int) -> datetime | None:
    return None if seconds > LAST_SECOND else datetime.fromtimestamp(seconds, UTC)


def test_summary_counts_events_and_rows(raw_ledger: RawLedger, replayed: ReplaySummary) -> None:
    state = raw_ledger.world.state()
    assert replayed.event_count == len(raw_ledger.logs)
    assert replayed.rows["members"] == len(state.members)
    assert replayed.rows["patients"] == len(state.patients)
    assert replayed.rows["records"] == len(state.records)
    landed = [consent for consent in state.consents.values() if consent.granted_block is not None]
    assert replayed.rows["consents"] == len(landed) < len(state.consents)
    assert replayed.rows["accesses"] == sum(word & 0xFFFFFFFF for word in state.access_words.values())
    assert {path.name for path in replayed.directory.iterdir()} == {f"{name}.parquet" for name in TABLE_NAMES}
    metadata = parquet.read_schema(replayed.directory / "members.parquet").metadata
    assert replayed.block_hash.hex().encode() in metadata[PROVENANCE_KEY]


def test_members_table_is_what_the_state_says(raw_ledger: RawLedger, replayed: ReplaySummary) -> None:
    assert rows(replayed, "members") == [
        {
            "member": text(member.address),
            "name": member.name,
            "endpoint": member.endpoint,
            "roles": [role.label for role in Role.in_mask(member.roles)],
            "active": member.active,
            "key_version": member.current_keys.version,
            "enrolled_block": member.enrolled_block,
        }
        for member in raw_ledger.world.state().members.values()
    ]


def test_patients_table_is_what_the_state_says(raw_ledger: RawLedger, replayed: ReplaySummary) -> None:
    assert rows(replayed, "patients") == [
        {
            "patient": text(patient.address),
            "provider": text(patient.provider),
            "status": ["active", "ended", "frozen"][patient.status - 1],
            "epoch": patient.epoch,
            "denied_categories": [one.label for one in Category.in_mask(patient.deny_categories)],
            "denied_purposes": [one.name for one in Purpose.in_mask(patient.deny_purposes)],
            "registered_block": patient.registered_block,
        }
        for patient in raw_ledger.world.state().patients.values()
    ]


def test_records_table_is_what_the_state_says(raw_ledger: RawLedger, replayed: ReplaySummary) -> None:
    world = raw_ledger.world
    expected = [
        {
            "record_id": text(record.record_id),
            "patient": text(record.patient),
            "author": text(record.author),
            "category": Category(record.category).label,
            "start_day": day(record.start_day),
            "end_day": day(record.end_day),
            "epoch": record.epoch,
            "superseded_by": None if record.superseded_by is None else text(record.superseded_by),
            "retracted": bool(record.status & 4),
            "restricted": bool(record.status & 8),
            "header_digest": text(record.header_digest),
            "payload_commitment": text(record.payload_commitment),
            "published_at": moment(world.chain.block(record.published_block).time),
            "block_number": record.published_block,
        }
        for record in world.state().records.values()
    ]
    assert rows(replayed, "records") == expected
    assert {row["retracted"] for row in expected} == {row["restricted"] for row in expected} == {True, False}


def test_consents_table_is_what_the_state_says(raw_ledger: RawLedger, replayed: ReplaySummary) -> None:
    state = raw_ledger.world.state()
    permitted = [one.access.consent_id for one in decisions(raw_ledger) if one.access.reason == 0]
    expected = [
        {
            "consent_id": text(consent.consent_id),
            "patient": text(consent.patient),
            "grantee": text(consent.grantee),
            "record_id": text(consent.record_id) if any(consent.record_id) else None,
            "categories": [one.label for one in Category.in_mask(consent.categories)],
            "purposes": [one.name for one in Purpose.in_mask(consent.purposes)],
            "valid_from": moment(consent.valid_from),
            "valid_until": moment(consent.valid_until),
            "data_from": day(consent.data_from),
            "data_until": day(consent.data_until),
            "max_uses": consent.max_uses or None,
            "permitted": permitted.count(consent.consent_id),
            "revoked": consent.revoked_block is not None,
            "revoked_block": consent.revoked_block,
            "granted_block": consent.granted_block,
        }
        for consent in state.consents.values()
        if consent.granted_block is not None
    ]
    assert rows(replayed, "consents") == expected
    limited = [row for row in expected if row["max_uses"]]
    assert [row["permitted"] for row in limited] == [
        consent.uses for consent in state.consents.values() if consent.max_uses
    ]
    assert None in [row["valid_until"] for row in expected]


def decisions(ledger: RawLedger) -> list[Any]:
    found = [decode(parse_log(log)) for log in ledger.logs]
    kinds = (AccessPermitted, AccessDenied, AccessBatchDecided)
    return [one for event in found if isinstance(event, kinds) for one in accesses(event)]


def test_accesses_table_has_one_row_a_decision(raw_ledger: RawLedger, replayed: ReplaySummary) -> None:
    assert rows(replayed, "accesses") == [
        {
            "patient": text(one.patient),
            "sequence": one.access.sequence,
            "record_id": text(one.record_id),
            "requester": text(one.requester),
            "consent_id": text(one.access.consent_id),
            "purpose": Purpose(one.access.purpose).name,
            "permitted": one.access.reason == Reason.PERMITTED,
            "reason": Reason(one.access.reason).label,
            "time": moment(one.access.time),
            "person_commitment": text(one.access.person_commitment),
            "block_number": one.position.block_number,
            "transaction_hash": text(one.position.transaction_hash),
        }
        for one in decisions(raw_ledger)
    ]


def test_replay_of_a_ledger_with_nothing_but_its_deployment_writes_empty_tables(
    new_ledger: Callable[[], LedgerWorld], tmp_path: Path, replayed: ReplaySummary
) -> None:
    world = new_ledger()
    summary = replay(world.chain, world.deployment, tmp_path / "out")
    assert summary.rows == dict.fromkeys(TABLE_NAMES, 0)
    for name in TABLE_NAMES:
        empty = parquet.read_schema(summary.directory / f"{name}.parquet")
        assert empty.equals(parquet.read_schema(replayed.directory / f"{name}.parquet"))


def test_codes_of_a_later_version_are_null_and_not_another_label(raw_ledger: RawLedger) -> None:
    found = columns_of(raw_ledger.pages(raw_ledger.logs))
    strange = replace(
        found.decisions,
        reason=np.full(len(found.decisions), 200),
        purpose=np.full(len(found.decisions), 99),
        time=np.full(len(found.decisions), 2**40 - 1),
    )
    tables = build_tables(replace(found, decisions=strange), lambda numbers: numbers)
    for column in ("reason", "purpose", "time"):
        assert set(tables.accesses[column].to_pylist()) == {None}
    assert set(tables.accesses["permitted"].to_pylist()) == {False}


# ---- ranges of blocks
def test_pages_of_any_size_give_the_same_columns(
    raw_ledger: RawLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = raw_ledger.world
    first, last = world.deployment.block_number, raw_ledger.block.number
    whole = read_columns(world.chain, world.deployment.address, first, last)
    for blocks in (1, 2, 3, 7):
        monkeypatch.setattr(log_pages, "BLOCKS_AT_FIRST", blocks)
        with Chain(world.chain.url, replace(world.chain.engine, max_log_blocks=blocks)) as chain:
            some = read_columns(chain, world.deployment.address, first, last)
        assert some.changes() == whole.changes()
        assert list(some.decisions.rows()) == list(whole.decisions.rows())


class Choosy:
    """A chain whose endpoint refuses ranges of more than a few blocks, as public ones do."""

    def __init__(self, real: Chain, most_blocks: int, error: Exception) -> None:
        self.real, self.most_blocks, self.error = real, most_blocks, error
        self.engine, self.refused = real.engine, 0

    def request(self, method: str, parameters: list[dict[str, str]]) -> Any:
        asked = parameters[0]
        if int(asked["toBlock"], 16) - int(asked["fromBlock"], 16) + 1 > self.most_blocks:
            self.refused += 1
            raise self.error
        return self.real.request(method, parameters)


@pytest.mark.parametrize("error", [RpcRefused("eth_getLogs", -32005, "too many"), AnswerTooLarge("large")])
def test_endpoint_that_refuses_large_ranges_is_asked_for_less(
    raw_ledger: RawLedger, error: Exception
) -> None:
    world = raw_ledger.world
    choosy: Any = Choosy(world.chain, 3, error)
    address, first = world.deployment.address, world.deployment.block_number
    found = read_columns(choosy, address, first, raw_ledger.block.number)
    assert found.event_count == len(raw_ledger.logs)
    assert choosy.refused > 0
    choosy.most_blocks = 0
    with pytest.raises(type(error)):
        read_columns(choosy, address, first, raw_ledger.block.number)


# ---- the directory
def test_replay_into_an_existing_directory_is_refused_and_changes_nothing(
    raw_ledger: RawLedger, tmp_path: Path
) -> None:
    world = raw_ledger.world
    target = tmp_path / "data"
    target.mkdir()
    (target / "mine.parquet").write_bytes(b"precious")
    for again in (False, True):
        with pytest.raises(ReplayTargetExists):
            replay(world.chain, world.deployment, target, replace=again)
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "mine.parquet"]


def test_directory_of_other_parquet_files_with_a_replays_names_is_never_replaced(
    raw_ledger: RawLedger, tmp_path: Path
) -> None:
    target = tmp_path / "data"
    target.mkdir()
    for name in TABLE_NAMES:
        parquet.write_table(pa.table({"mine": [1]}), target / f"{name}.parquet")
    with pytest.raises(ReplayTargetExists, match="no earlier replay"):
        replay(raw_ledger.world.chain, raw_ledger.world.deployment, target, replace=True)


def test_replay_with_replace_puts_the_new_files_in_the_place_of_the_old(
    raw_ledger: RawLedger, tmp_path: Path
) -> None:
    world, target = raw_ledger.world, tmp_path / "out"
    first = replay(world.chain, world.deployment, target)
    old = parquet.read_table(target / "accesses.parquet")
    world.mine()
    second = replay(world.chain, world.deployment, target, replace=True)
    assert second.block_number > first.block_number
    assert parquet.read_table(target / "accesses.parquet").equals(old)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_replay_that_fails_while_it_writes_leaves_nothing(
    raw_ledger: RawLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = raw_ledger.world

    def fail(table: pa.Table, path: Path) -> None:
        if path.name == "consents.parquet":
            raise OSError("no space left on device")
        parquet.write_table(table, path)

    monkeypatch.setattr(replay_module, "_write", fail)
    with pytest.raises(OSError, match="no space"):
        replay(world.chain, world.deployment, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_replay_of_another_chain_writes_nothing(raw_ledger: RawLedger, tmp_path: Path) -> None:
    world = raw_ledger.world
    with pytest.raises(ChainReplaced):
        replay(world.chain, replace(world.deployment, genesis_hash=bytes(32)), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_chain_replaced_while_it_is_read_writes_nothing(
    new_ledger: Callable[[], LedgerWorld], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = new_ledger()
    anvil, snapshot = world.anvil, world.chain.request("evm_snapshot")
    world.enrol(Role.PROVIDER)
    real = columns_module.read_columns

    def read_then_replace(*arguments: Any) -> Any:
        found = real(*arguments)
        world.chain.request("evm_revert", [snapshot])
        anvil.set_next_block_time(world.now() + 1000)
        anvil.mine(3)
        return found

    monkeypatch.setattr(replay_module, "read_columns", read_then_replace)
    with pytest.raises(ChainReplaced, match="nothing was written"):
        replay(world.chain, world.deployment, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
