"""The stores that the behaviour suite runs against: add a fixture's name to ``_STORES`` and the suite covers it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kubo_fixtures import store_of

from engines.kubo import KuboDaemon
from storage import BlockStore, EmbeddedBlockStore, MemoryBlockStore, VerifiedBlockStore

_STORES = [
    "memory_store",
    "embedded_store",
    "verified_store",
    pytest.param("kubo_store", marks=pytest.mark.network),
]


@pytest.fixture(params=_STORES)
def store(request: pytest.FixtureRequest) -> BlockStore:
    """An empty store of each kind."""
    made: BlockStore = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def memory_store() -> BlockStore:
    return MemoryBlockStore()


@pytest.fixture
def embedded_store(tmp_path: Path) -> BlockStore:
    return EmbeddedBlockStore(tmp_path / "blocks")


@pytest.fixture
def verified_store(tmp_path: Path) -> BlockStore:
    return VerifiedBlockStore(EmbeddedBlockStore(tmp_path / "blocks"))


@pytest.fixture
def kubo_store(kubo: KuboDaemon) -> Iterator[BlockStore]:
    store = store_of(kubo)
    yield store
    store.close()
