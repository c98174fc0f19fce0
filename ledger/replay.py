"""Replays a ledger into Parquet files, for those who ask it questions (``phr researcher``)."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as parquet

from ledger.blocks import Block, quantity
from ledger.chain import Chain
from ledger.columns import read_columns
from ledger.deploy import Deployment, check_deployment
from ledger.errors import ChainAnswerInvalid, ChainReplaced, ReplayTargetExists
from ledger.octets import Integers
from ledger.tables import LAST_SECOND, TABLE_NAMES, build_tables, row_counts

BLOCKS_PER_REQUEST = 500
PROVENANCE_KEY = b"phr.ledger"


@dataclass(frozen=True)
class ReplaySummary:
    """What was replayed: up to which block, how many events, how many rows a table."""

    directory: Path
    block_number: int
    block_hash: bytes
    event_count: int
    rows: dict[str, int]


def replay(chain: Chain, deployment: Deployment, directory: Path, *, replace: bool = False) -> ReplaySummary:
    """Write ``members``, ``patients``, ``records``, ``consents`` and ``accesses`` as Parquet files in ``directory``.

    The files appear together, when all are on disk: they are written beside it and renamed.

    Args:
        replace: put the new files in the place of an earlier replay's.

    Raises:
        ReplayTargetExists: the directory exists and ``replace`` was not asked for, or is no earlier replay.
        ChainReplaced: the chain or the contract is not the deployment's.
        EventUnknown: the history holds something that this version does not understand.
    """
    if directory.exists() and not (replace and is_replay(directory)):
        raise ReplayTargetExists(
            f"{directory} exists"
            + (" and is no earlier replay" if replace else "")
            + ": name a new directory"
        )
    check_deployment(chain, deployment)
    final = chain.final_block()
    columns = read_columns(chain, deployment.address, deployment.block_number, final.number)
    tables = build_tables(columns, lambda numbers: _block_times(chain, numbers)).named()
    _require_unchanged(chain, final)
    provenance = {
        PROVENANCE_KEY: (
            f"chain {deployment.chain_id} contract 0x{deployment.address.hex()} "
            f"block {final.number} 0x{final.hash.hex()}"
        ).encode()
    }
    directory.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=directory.name + ".", dir=directory.parent))
    try:
        for name, table in tables.items():
            _write(table.replace_schema_metadata(provenance), beside / f"{name}.parquet")
        _synchronise(beside)
        _put_in_place(beside, directory)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return ReplaySummary(directory, final.number, final.hash, columns.event_count, row_counts(tables))


def _require_unchanged(chain: Chain, final: Block) -> None:
    found = chain.block(final.number).hash
    if found != final.hash:
        raise ChainReplaced(
            f"final block {final.number} was 0x{final.hash.hex()} and is 0x{found.hex()} now: the chain at "
            f"{chain.place} was replaced while it was read; nothing was written"
        )


def is_replay(directory: Path) -> bool:
    """Whether a directory holds the files of a replay and nothing else: only then may it be replaced."""
    expected = {f"{name}.parquet" for name in TABLE_NAMES}
    if not directory.is_dir() or {path.name for path in directory.iterdir()} != expected:
        return False
    try:
        found = [parquet.read_schema(directory / name).metadata for name in expected]
    except (pa.ArrowException, OSError):
        return False
    return all(metadata is not None and PROVENANCE_KEY in metadata for metadata in found)


def _write(table: pa.Table, path: Path) -> None:
    parquet.write_table(table, path, compression="zstd")
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _put_in_place(beside: Path, directory: Path) -> None:
    if directory.exists():
        old = Path(tempfile.mkdtemp(prefix=directory.name + ".old.", dir=directory.parent))
        directory.rename(old / "replaced")
        beside.rename(directory)
        shutil.rmtree(old)
    else:
        beside.rename(directory)
    _synchronise(directory.parent)


def _synchronise(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _block_times(chain: Chain, numbers: npt.NDArray[np.int64]) -> Integers:
    """The chain time (seconds) of each of ``numbers``; every different block is asked for once."""
    different, places = np.unique(numbers, return_inverse=True)
    times = np.empty(len(different), dtype=np.int64)
    for start in range(0, len(different), BLOCKS_PER_REQUEST):
        asked = [[hex(int(number)), False] for number in different[start : start + BLOCKS_PER_REQUEST]]
        for place, block in enumerate(chain.request_many("eth_getBlockByNumber", asked)):
            if not isinstance(block, dict):
                raise ChainAnswerInvalid(f"the chain has no block {asked[place][0]}")
            seconds = quantity(block.get("timestamp"))
            if seconds > LAST_SECOND:
                raise ChainAnswerInvalid(f"expected a time before the year 10000 in block {asked[place][0]}")
            times[start + place] = seconds
    return times[places.reshape(-1)]
