"""A file of 96 MiB goes through nodes and a wallet in pieces: memory stays flat in each of their processes."""

import sys
from pathlib import Path

import pytest
from file_memory import check_flat_memory
from node_fixtures import Network


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_publish_and_read_a_large_file_takes_no_memory_of_its_size(network: Network, tmp_path: Path):
    check_flat_memory(network, tmp_path)
