"""Where an engine is looked for, and what is said where it is not."""

from pathlib import Path

import pytest

from engines import EnginesError, find_binary


def test_find_binary_not_built_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(EnginesError, match=r"phr-chain.*run \./scripts/network build"):
        find_binary(tmp_path, "phr-chain")


def test_find_binary_of_a_dangling_link_says_what_to_run(tmp_path: Path) -> None:
    (tmp_path / ".engines").mkdir()
    (tmp_path / ".engines" / "ipfs").symlink_to(tmp_path / "cleared-cache" / "ipfs")
    with pytest.raises(EnginesError, match=r"run \./scripts/network build"):
        find_binary(tmp_path, "ipfs")


def test_find_binary_not_executable_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".engines").mkdir()
    (tmp_path / ".engines" / "ipfs").write_bytes(b"text")
    with pytest.raises(EnginesError, match="cannot be executed"):
        find_binary(tmp_path, "ipfs")


def test_find_binary_linked_gives_the_cached_file(tmp_path: Path) -> None:
    cached = tmp_path / "cache" / "ipfs"
    cached.parent.mkdir()
    cached.write_bytes(b"#!/bin/sh\n")
    cached.chmod(0o755)
    (tmp_path / ".engines").mkdir()
    (tmp_path / ".engines" / "ipfs").symlink_to(cached)
    assert find_binary(tmp_path, "ipfs") == cached.resolve()
