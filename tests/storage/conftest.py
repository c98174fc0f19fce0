"""The stores that the behaviour suite runs against: add a function to ``_STORES`` and the suite covers it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from storage import BlockStore, EmbeddedBlockStore, MemoryBlockStore, VerifiedBlockStore

_STORES: dict[str, Callable[[Path], BlockStore]] = {
    "memory": lambda _: MemoryBlockStore(),
    "embedded": lambda directory: EmbeddedBlockStore(directory / "blocks"),
    "verified": lambda directory: VerifiedBlockStore(EmbeddedBlockStore(directory / "blocks")),
}


@pytest.fixture(params=sorted(_STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlockStore:
    """An empty store of each kind."""
    return _STORES[request.param](tmp_path)
