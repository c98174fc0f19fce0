"""How large a file may be: nothing is taken from staff that no custodian could take from this node."""

from pathlib import Path

import pytest

from crypto.streamed_payload import MAX_CONTENT_BYTES, MAX_STREAMED_CIPHERTEXT_BYTES
from node.blocks import UNREFERENCED_BYTES_PER_MEMBER
from node.config import MOST_FILE_BYTES, NodeConfig
from node.errors import ConfigurationError

SETTINGS = 'name = "Clinic"\nendpoint = "http://127.0.0.1:1"\nport = 0\nrpc_url = "http://127.0.0.1:2"\n'


def load(directory: Path, largest_file_bytes: int) -> NodeConfig:
    (directory / "node.toml").write_text(f"{SETTINGS}largest_file_bytes = {largest_file_bytes}\n")
    return NodeConfig.load(directory)


def test_largest_file_that_can_be_set_fits_sealed_into_what_a_custodian_lets_wait(tmp_path: Path) -> None:
    assert load(tmp_path, MOST_FILE_BYTES).largest_file_bytes == MOST_FILE_BYTES
    sealed_at_most = MOST_FILE_BYTES * MAX_STREAMED_CIPHERTEXT_BYTES // MAX_CONTENT_BYTES
    assert sealed_at_most < UNREFERENCED_BYTES_PER_MEMBER


def test_larger_file_than_can_be_deposited_cannot_be_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="largest_file_bytes"):
        load(tmp_path, MOST_FILE_BYTES + 1)
