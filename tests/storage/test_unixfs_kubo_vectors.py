"""The same CIDs as Kubo: vectors made with ``ipfs add --only-hash`` under the profile unixfs-v1-2025."""

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from storage import Cid, MemoryBlockStore, unixfs

_SAMPLE = Path(__file__).parents[3] / "shared/samples/cid/kubo-cids.json"
_PERIOD = bytes((i * 31 + 7) % 251 for i in range(251))
_BUFFER = _PERIOD * (2 * 1024 * 1024 // 251)
_VECTORS: list[dict[str, Any]] = json.loads(_SAMPLE.read_text())["files"] if _SAMPLE.exists() else []


class PeriodicContent(io.RawIOBase):
    """A stream of ``size_bytes`` bytes that repeats a period of 251, without holding it."""

    def __init__(self, size_bytes: int) -> None:
        self._position = 0
        self._size_bytes = size_bytes

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        size = min(size if size >= 0 else self._size_bytes, self._size_bytes - self._position, 1024 * 1024)
        start = self._position % 251
        self._position += size
        return _BUFFER[start : start + size]


@pytest.mark.skipif(not _VECTORS, reason=f"no sample {_SAMPLE.name} beside the project")
@pytest.mark.parametrize("vector", _VECTORS, ids=lambda vector: f"{vector['size_bytes']}-bytes")
def test_cid_of_kubo_vector_equals_kubos_cid_with_flat_memory(vector: dict[str, Any]) -> None:
    tracemalloc.start()
    try:
        cid = unixfs.cid_of(PeriodicContent(vector["size_bytes"]))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(cid) == vector["cid"]
    assert peak_bytes < 8 * 1024 * 1024


@pytest.mark.skipif(not _VECTORS, reason=f"no sample {_SAMPLE.name} beside the project")
def test_add_then_cat_of_small_kubo_vectors_returns_the_content() -> None:
    for vector in _VECTORS:
        if vector["size_bytes"] > 6 * 1024 * 1024:
            continue
        store = MemoryBlockStore()
        root = unixfs.add(store, PeriodicContent(vector["size_bytes"]))
        content = b"".join(unixfs.cat(store, Cid.parse(vector["cid"])))
        assert str(root) == vector["cid"]
        assert content == _expected(vector["size_bytes"])


def _expected(size_bytes: int) -> bytes:
    return (_PERIOD * (size_bytes // 251 + 1))[:size_bytes]
