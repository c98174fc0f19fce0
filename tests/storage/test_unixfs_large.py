"""Files of many chunks through every store that outlives its process: memory stays flat, both ways."""

import hashlib
import tracemalloc

import pytest

from storage import BlockStore, unixfs

_MIB = 1024 * 1024
_FILE_BYTES = 64 * _MIB
_PEAK_BYTES = 16 * _MIB
"""Some chunks of a mebibyte: what is read, what is sent, and what comes back; far from the whole."""


class Numbers:
    """A stream of bytes that never repeats a chunk, made as it is read."""

    def __init__(self, size_bytes: int) -> None:
        self._left = size_bytes
        self._count = 0
        self.digest = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        size = min(size, self._left, 64 * 1024)
        self._left -= size
        self._count += 1
        part = (self._count.to_bytes(8, "big") * (64 * 1024 // 8))[:size]
        self.digest.update(part)
        return part


@pytest.mark.parametrize("kind", ["embedded_store", pytest.param("kubo_store", marks=pytest.mark.network)])
def test_add_and_cat_of_a_large_file_take_flat_memory(request: pytest.FixtureRequest, kind: str) -> None:
    store: BlockStore = request.getfixturevalue(kind)
    content = Numbers(_FILE_BYTES)
    tracemalloc.start()
    try:
        root = unixfs.add(store, content)
        read_bytes, digest = 0, hashlib.sha256()
        for chunk in unixfs.cat(store, root):
            read_bytes += len(chunk)
            digest.update(chunk)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read_bytes == _FILE_BYTES
    assert digest.digest() == content.digest.digest()
    assert peak_bytes < _PEAK_BYTES
    assert unixfs.size_of(store, root) == _FILE_BYTES
    assert len(list(unixfs.blocks_of(store, root))) == 65
