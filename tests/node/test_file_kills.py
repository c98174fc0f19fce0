"""kill -9 while a file is received and published: whole or not at all, and the same file ends published once."""

import signal
import time

import httpx
import pytest
from files_flow import Noise, announce, download, publish_file, send
from killed_provider import KilledProvider
from node_fixtures import Network
from records_flow import Case

from node.blocks import UNREFERENCED_SECONDS
from vocabulary import Reason
from wire.staff import FileUpload

CONTENT = b"".join(Noise(5 * 2**20 + 7))
MOMENTS = [
    ("seal", "after", 4),  # blocks of a part of the file, and nothing that knows of it
    ("journal", "before", 1),  # all blocks, and nothing that knows of it
    ("journal", "after", 1),  # sealed
    ("deposit", "after", 1),  # custodians hold it, the journal does not say so
    ("journal", "after", 3),  # about to be sent
    ("ledger", "after", 1),  # final, the journal does not say so
]


@pytest.mark.parametrize(("step", "moment", "count"), MOMENTS)
def test_file_killed_at_a_step_ends_whole_or_not_at_all(network: Network, monkeypatch, step, moment, count):
    case = Case.begin(network)
    reader = network.members[1]
    case.grant(reader)
    kept = set(case.provider.node.records.blocks.store.cids())
    killed = KilledProvider(case, step, moment, count)
    upload = FileUpload.model_validate_json(announce(case, CONTENT).content)
    assert upload.upload_id is not None
    with pytest.raises(httpx.HTTPError):
        send(case.provider, upload.upload_id, CONTENT)
    assert killed.wait() == -signal.SIGKILL

    case.provider.restart()
    records = case.provider.node.records
    deadline = time.monotonic() + 60
    while records.journal.in_progress():
        records.publisher.resume()
        assert time.monotonic() < deadline
    publication = publish_file(case, CONTENT)
    assert publication.state == "published"
    state = reader.node.ledger.snapshot().state
    mine = {key for key, record in state.records.items() if record.patient == case.patient.address}
    assert mine == {publication.records[0].record_id}
    (read,) = case.read(reader).records
    assert (read.reason, read.failure) == (Reason.PERMITTED, None)
    assert download(reader, read).content == CONTENT

    # What the killed upload left is swept when it is old: then nothing lies here that nothing needs.
    later = time.time() + UNREFERENCED_SECONDS + 60
    monkeypatch.setattr(records.blocks, "_clock", lambda: later)
    records.blocks.sweep()
    left = set(records.blocks.store.cids()) - kept
    assert len(left) == 7  # six leaves of ciphertext and their root
