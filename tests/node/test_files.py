"""Files of any size: announced, received in pieces, published, and fetched by who has consent."""

import hashlib

import pytest
from files_flow import Noise, announce, download, publish_file, send
from node_fixtures import Network
from records_flow import Case

from vocabulary import Category, DayPeriod, Reason
from wire.staff import DownloadOutcome, FileUpload, Publication

MIB = 2**20
CONTENT = b"".join(Noise(3 * MIB + 12_345))


@pytest.fixture
def case(network: Network) -> Case:
    return Case.begin(network)


def test_publish_file_and_read_it_gives_the_exact_bytes(case):
    publication = publish_file(case, CONTENT)
    (published,) = publication.records
    assert publication.state == "published"
    assert (published.category, published.resource_count) == (Category.IMAGING, 1)
    reader = case.network.members[1]
    case.grant(reader)
    (record,) = case.read(reader).records
    assert (record.reason, record.failure, record.content) == (Reason.PERMITTED, None, None)
    assert record.media_type == "application/octet-stream"
    assert record.download.content_bytes == len(CONTENT)
    answer = download(reader, record)
    assert answer.status_code == 200
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.content == CONTENT
    path = f"/staff/downloads/{record.download.download_id}/outcome"
    outcome = DownloadOutcome.model_validate_json(reader.call("GET", path, staff=True).content)
    assert outcome == DownloadOutcome(state="complete", detail="")
