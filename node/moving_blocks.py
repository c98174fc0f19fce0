"""Moving a stopped node's blocks from one store to the other: copied, read back and hashed, and only then switched.

There is no journal beside what the two stores hold and what ``node.toml`` names: every step may be repeated, and a run
that was killed anywhere is finished by running it again. ``node.toml`` is replaced in one step, last.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

from sqlalchemy import Column, select

from crypto.private_file import atomic_write_private
from node.block_store import OpenedStore, open_embedded_store, open_kubo_store
from node.config import CONFIG_FILE, NodeConfig
from node.database import Database
from node.errors import ConfigurationError
from node.process_lock import locked
from node.tables_custody import block_arrivals, block_references
from storage import (
    BlockCorruptError,
    BlockNotFoundError,
    BlockStore,
    Cid,
    StorageError,
    check_block,
    ensure_pinned,
    missing,
)

StoreName = Literal["embedded", "kubo"]
Progress = Callable[[str, int, int], None]
"""What is being done, how many blocks are done, and how many there are."""

_THREADS = 4
_BATCH = 64
_CONFIG_LIMIT_BYTES = 1024 * 1024
_NAMED_AT_MOST = 5
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Moved:
    """What a run did."""

    blocks: int
    """Blocks that the new store holds of those that the old one held, each read back and hashed."""
    copied: int
    """How many of them this run had to copy."""
    switched: bool
    """Whether ``node.toml`` named the other store before."""
    removed: int
    """Copies that were deleted from the old store."""


def move_blocks(
    directory: Path,
    to: StoreName,
    *,
    kubo_url: str = "",
    kubo_secret_file: Path | None = None,
    remove_old: bool = False,
    progress: Progress = lambda *_: None,
) -> Moved:
    """Moves all blocks of the node in ``directory`` to another store, and makes the node use it.

    Args:
        kubo_url, kubo_secret_file: the Kubo daemon, where ``node.toml`` does not name it yet; written into it.
        remove_old: whether the copies in the old store are deleted at the end. Otherwise they stay, also of what the
            node deletes later; moving back deletes that.

    Raises:
        ConfigurationError: the node runs, here or elsewhere on its database, its settings do not allow it, or the old
            store lacks blocks that the node needs or has them damaged; the node still uses the old store, and nothing
            of it was changed.
        storage.StorageError: one of the stores cannot be used; what was copied stays, for the next run.
    """
    directory = directory.absolute()
    config = _with_kubo(NodeConfig.load(directory), kubo_url, kubo_secret_file)
    _require_own_setting(config)
    with locked(directory), closing(Database(config.database)) as database:
        # On a database server no lock of a directory tells of a node that runs on another machine.
        database.claim()
        source, destination = _opened(config, "embedded" if to == "kubo" else "kubo"), _opened(config, to)
        with source, destination:
            switched = config.store != to
            blocks, copied = 0, 0
            if switched:
                blocks, copied = _copy(database, source.store, destination.store, progress)
                _drop_leftovers(database, source.store, destination.store, progress)
                _switch(config, to)
            removed = _remove(source.store, destination.store, progress) if remove_old else 0
    return Moved(blocks, copied, switched, removed)


def _copy(
    database: Database, source: BlockStore, destination: BlockStore, progress: Progress
) -> tuple[int, int]:
    """Copies what the destination lacks, then reads everything there; how many blocks there are and were copied."""
    needed, held = _named(database, block_references.c.cid), frozenset(source.cids())
    if absent := sorted(needed - held):
        raise ConfigurationError(_unusable("are not there", len(absent), map(str, absent)))
    lacking = sorted(missing(destination, held))
    damaged: dict[Cid, str] = {}

    def copy(cid: Cid) -> None:
        try:
            block = source.get(cid)
        except (BlockCorruptError, BlockNotFoundError) as error:
            damaged[cid] = str(error)
            return
        destination.put(block, cid.codec)

    def verify(cid: Cid) -> None:
        try:
            check_block(cid, destination.get(cid))
        except (BlockCorruptError, BlockNotFoundError):
            destination.put(source.get(cid), cid.codec)
            check_block(cid, destination.get(cid))

    _each("copying", lacking, copy, progress)
    if harmed := [words for cid, words in damaged.items() if cid in needed]:
        raise ConfigurationError(_unusable("are damaged", len(harmed), harmed))
    # A damaged block that nothing needs stays behind.
    sound = held.difference(damaged)
    _each("verifying", sorted(sound), verify, progress)
    unkept = missing(destination, sound) | ensure_pinned(destination, sound.intersection(source.pins()))
    if unkept:
        raise StorageError(
            f"expected the new store to hold {min(unkept)}, which was just put; it does not: do not use it"
        )
    return len(sound), len(sound.intersection(lacking))


def _unusable(how: str, count: int, named: Iterable[str]) -> str:
    return (
        f"expected the node's store to hold every block that it needs, sound; {count} {how}: "
        f"{'; '.join(islice(named, _NAMED_AT_MOST))}: run the node until it has fetched them from others, then move"
    )


def _remove(source: BlockStore, destination: BlockStore, progress: Progress) -> int:
    """Deletes from the old store what the new one gives back, hashed here."""
    old = sorted(source.cids())
    kept = missing(destination, old)

    def remove(cid: Cid) -> None:
        if cid not in kept:
            check_block(cid, destination.get(cid))
            source.unpin(cid)
            source.delete(cid)

    _each("removing", old, remove, progress)
    return len(old) - len(kept)


def _each(
    doing: str, items: Collection[_Item], action: Callable[[_Item], object], progress: Progress
) -> None:
    """Does something to every item, several at a time, a bounded number ahead."""
    done = 0
    progress(doing, done, len(items))
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="moving") as pool:
        for batch in _batches(items):
            for _ in pool.map(action, batch):
                done += 1
            progress(doing, done, len(items))


def _batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _named(database: Database, column: Column[str]) -> frozenset[Cid]:
    """The blocks that deposits and publications of this node need, or that arrived and were not swept."""
    with database.read() as connection:
        return frozenset(Cid.parse(name) for name in connection.scalars(select(column)))


def _drop_leftovers(
    database: Database, source: BlockStore, destination: BlockStore, progress: Progress
) -> None:
    """Deletes from the new store what an earlier move left there and the node deleted since: nothing else would."""
    left = set(destination.cids()) - set(source.cids())
    for column in (block_references.c.cid, block_arrivals.c.cid):
        left -= _named(database, column)

    def drop(cid: Cid) -> None:
        destination.unpin(cid)
        destination.delete(cid)

    _each("removing", sorted(left), drop, progress)


def _with_kubo(config: NodeConfig, url: str, secret_file: Path | None) -> NodeConfig:
    changes = {
        **({"kubo_url": url} if url else {}),
        **({"kubo_secret_file": secret_file.absolute()} if secret_file else {}),
    }
    return config.model_copy(update=changes)


def _require_own_setting(config: NodeConfig) -> None:
    """Refuses when the environment says which store it is: what is written into the file would not be heard."""
    in_file = re.search(r'^store\s*=\s*"(\w+)"', _read_settings(config), re.MULTILINE)
    if (in_file[1] if in_file else "embedded") != config.store:
        raise ConfigurationError(
            f"expected {CONFIG_FILE} to say which store the node uses; the environment (PHR_NODE_STORE) overrides "
            "it: unset it first"
        )


def _switch(config: NodeConfig, to: StoreName) -> None:
    """Replaces ``node.toml`` by one that differs in the store's settings alone; after a crash it is old or new."""
    lines = [
        line
        for line in _read_settings(config).splitlines()
        if not re.match(r"(store|kubo_url|kubo_secret_file)\s*=", line)
    ]
    settings = NodeConfig.model_validate(config.model_dump() | {"store": to})
    store_lines = [line for line in settings.to_toml().splitlines() if re.match(r"(store|kubo_\w+) =", line)]
    text = "\n".join([*lines, *store_lines]) + "\n"
    atomic_write_private(config.directory / CONFIG_FILE, text.encode())


def _read_settings(config: NodeConfig) -> str:
    with (config.directory / CONFIG_FILE).open("rb") as file:
        return file.read(_CONFIG_LIMIT_BYTES).decode()


def _opened(config: NodeConfig, name: StoreName) -> OpenedStore:
    return open_kubo_store(config) if name == "kubo" else open_embedded_store(config)
