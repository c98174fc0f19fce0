"""A file of 96 MiB over Kubo: the same bytes come out, and no node, daemon or wallet takes memory of its size."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from file_memory import check_flat_memory
from files_flow import Noise, download, publish_file
from node_fixtures import Network, start_network
from records_flow import Case

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Three members, a Kubo each."""
    running = start_network(tmp_path_factory.mktemp("network"), store="kubo")
    yield running
    running.stop()


def test_publish_file_over_kubo_and_read_it_gives_the_exact_bytes(network: Network) -> None:
    case = Case.begin(network)
    content = b"".join(Noise(5 * 2**20 + 1))
    publish_file(case, content)
    reader = network.members[1]
    case.grant(reader)
    (record,) = case.read(reader).records
    assert record.failure is None
    assert download(reader, record).content == content


def test_publish_and_read_a_large_file_over_kubo_takes_no_memory_of_its_size(
    network: Network, tmp_path: Path
) -> None:
    check_flat_memory(network, tmp_path)
