"""Files of any size: announced, received in pieces, published, and fetched by who has consent."""

import json
import socket
import time
import zipfile
from contextlib import ExitStack
from io import BytesIO

import httpx
import pytest
from files_flow import DAY, Noise, announce, announcement, download, publish_file, send, staff_id_of
from node_fixtures import Member, Network
from node_processes import wait_until
from records_flow import Case, bundle, files_of, observation

from crypto.streamed_sealing import StreamSealer
from node import file_sealing
from node.blocks import UNREFERENCED_SECONDS
from node.request_stream import PIECE_BYTES
from storage import Cid, unixfs
from vocabulary import Category, DayPeriod, Reason
from wire.patients import RecordView
from wire.staff import DownloadOutcome, FileUpload, Publication

MIB = 2**20
CONTENT = b"".join(Noise(3 * MIB + 12_345))


@pytest.fixture
def case(network: Network) -> Case:
    return Case.begin(network)


@pytest.fixture(autouse=True)
def time_to_tidy_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the disk is: what is not tidied up in time is left to the sweep (tests/node/test_file_closing)."""
    monkeypatch.setattr(file_sealing, "CLOSE_SECONDS", 120.0)


def upload_of(case: Case, content: bytes | Noise, **changes: object) -> str:
    answer = announce(case, content, **changes)
    assert answer.status_code == 200, answer.text
    upload_id = FileUpload.model_validate_json(answer.content).upload_id
    assert upload_id is not None
    return upload_id


def blocks_of(member: Member) -> set[Cid]:
    return set(member.node.records.blocks.store.cids())


def fetch_into(received: bytearray, member: Member, record: object) -> None:
    """Keeps each piece as it comes, whatever happens after it."""
    headers = {"Authorization": f"Bearer {member.staff_token}", "Accept-Encoding": "identity"}
    path = f"{member.url}/staff/downloads/{record.download.download_id}"
    with member.http.stream("GET", path, headers=headers) as answer:
        for piece in answer.iter_raw():
            received += piece


def outcome_of(member: Member, record: object) -> DownloadOutcome:
    path = f"/staff/downloads/{record.download.download_id}/outcome"
    answer = member.call("GET", path, staff=True)
    assert answer.status_code == 200, answer.text
    return DownloadOutcome.model_validate_json(answer.content)


def test_publish_file_and_read_it_gives_the_exact_bytes(case):
    publication = publish_file(case, CONTENT)
    (published,) = publication.records
    assert publication.state == "published"
    assert (published.category, published.resource_count) == (Category.IMAGING, 1)
    assert (published.start_day, published.end_day) == (DAY, DAY)
    reader = case.network.members[1]
    case.grant(reader)
    (record,) = case.read(reader).records
    assert (record.reason, record.failure, record.content) == (Reason.PERMITTED, None, None)
    assert record.media_type == "application/octet-stream"
    assert record.download.content_bytes == len(CONTENT)
    assert outcome_of(reader, record).state == "open"
    for _ in range(2):
        answer = download(reader, record)
        assert answer.status_code == 200
        assert answer.headers["Content-Length"] == str(len(CONTENT))
        assert answer.content == CONTENT
    assert outcome_of(reader, record) == DownloadOutcome(state="complete", detail="")


@pytest.mark.parametrize("size_bytes", [1, 16_384, PIECE_BYTES, PIECE_BYTES + 1])
def test_publish_file_of_any_size_and_read_it_gives_the_exact_bytes(case, size_bytes):
    content = CONTENT[:size_bytes]
    publish_file(case, content)
    case.grant(case.network.members[1])
    (record,) = case.read(case.network.members[1]).records
    assert download(case.network.members[1], record).content == content


def test_publish_same_file_again_publishes_nothing_new_and_sends_nothing(case):
    first = publish_file(case, CONTENT)
    upload = FileUpload.model_validate_json(announce(case, CONTENT).content)
    assert upload.upload_id is None
    assert [one.record_id for one in upload.publication.records] == [one.record_id for one in first.records]
    assert all(one.already_published for one in upload.publication.records)


def test_publish_same_file_twice_at_once_publishes_it_once(case):
    uploads = [upload_of(case, CONTENT) for _ in range(2)]
    kept = blocks_of(case.provider)
    answers = [send(case.provider, upload_id, CONTENT) for upload_id in uploads]
    records = [Publication.model_validate_json(answer.content).records for answer in answers]
    assert records[0][0].record_id == records[1][0].record_id
    root = Cid.parse(view_of(case, records[0][0].record_id).cid)
    needed = set(unixfs.blocks_of(case.provider.node.records.blocks.store, root))
    assert blocks_of(case.provider) == kept | needed


def view_of(case: Case, record_id: bytes) -> RecordView:
    case.network.wait_for_all()
    answer = case.provider.call("GET", "/staff/records", staff=True, about=case.about)
    views = [RecordView.model_validate(each) for each in answer.json()["records"]]
    return next(view for view in views if view.record_id == record_id)


def test_publish_same_bytes_described_otherwise_are_another_record(case):
    first, second = publish_file(case, CONTENT), publish_file(case, CONTENT, category=Category.DOCUMENT)
    assert first.records[0].record_id != second.records[0].record_id


def test_publish_sensitive_file_shows_only_its_calendar_year(case):
    (record,) = publish_file(case, CONTENT, category=Category.GENOMICS).records
    assert DayPeriod(record.start_day, record.end_day) == DayPeriod(DAY, DAY).calendar_years()


def test_publish_file_leaves_no_plaintext_in_any_nodes_directory(case):
    mark = b"Xyzzyphobia-in-a-file"
    publish_file(case, mark * 100_000)
    for member in case.network.members:
        for path, stored in files_of(member.directory):
            assert mark not in stored, path


def test_correct_a_record_by_a_file_supersedes_it(case):
    (first,) = publish_file(case, CONTENT).records
    (second,) = publish_file(case, CONTENT[:-1], supersedes=first.record_id).records
    assert view_of(case, first.record_id).superseded
    assert not view_of(case, second.record_id).superseded
    other = announce(case, CONTENT[:-2], supersedes=first.record_id, category=Category.DOCUMENT)
    assert other.status_code == 422
    assert announce(case, CONTENT[:-2], supersedes=bytes(32)).status_code == 404


def test_retracted_file_can_be_published_again(case):
    (first,) = publish_file(case, CONTENT).records
    path = f"/staff/records/0x{first.record_id.hex()}/retraction"
    assert case.provider.call("POST", path, staff=True).status_code == 200
    (second,) = publish_file(case, CONTENT).records
    assert second.record_id != first.record_id


# What is refused, and leaves nothing behind.


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"media_type": "application/fhir+json"}, 422),
        ({"media_type": "text/html\r\nX: y"}, 422),
        ({"content_bytes": 2 * 1024**3 + 1}, 422),
        ({"start_day": DAY, "end_day": DAY - 1}, 400),
    ],
)
def test_announce_what_can_be_no_record_is_refused(case, changes, status):
    body = announcement(5, bytes(32)).model_copy(update=changes)
    answer = case.provider.call("POST", "/staff/files", body, staff=True, about=case.about)
    assert answer.status_code == status, answer.text


def test_announce_for_an_unknown_patient_is_not_found(case):
    answer = case.provider.call(
        "POST", "/staff/files", announcement(5, bytes(32)), staff=True, about=("urn:x", "1")
    )
    assert answer.status_code == 404


def test_announce_beyond_the_free_disk_is_refused(case, monkeypatch):
    blocks = case.provider.node.records.blocks
    monkeypatch.setattr(blocks, "_free_bytes", lambda: blocks._reserve_bytes + len(CONTENT) - 1)
    assert announce(case, CONTENT).status_code == 507


def test_send_other_bytes_than_announced_is_refused_and_leaves_nothing(case):
    kept = blocks_of(case.provider)
    upload_id = upload_of(case, CONTENT)
    other = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    answer = send(case.provider, upload_id, other)
    assert (answer.status_code, answer.json()["code"]) == (400, "digest-mismatch")
    assert blocks_of(case.provider) == kept
    assert send(case.provider, upload_id, CONTENT).status_code == 200  # and the right bytes are still welcome


@pytest.mark.parametrize("sent_bytes", [0, 100, 2 * MIB, len(CONTENT) - 1])
def test_send_less_than_announced_is_refused_and_leaves_nothing(case, sent_bytes):
    kept = blocks_of(case.provider)
    answer = send(case.provider, upload_of(case, CONTENT), CONTENT[:sent_bytes])
    assert answer.status_code == 400
    assert blocks_of(case.provider) == kept


@pytest.mark.parametrize("declared", [True, False])
def test_send_more_than_announced_is_refused_and_leaves_nothing(case, declared):
    kept = blocks_of(case.provider)
    more = CONTENT + b"x"
    answer = send(case.provider, upload_of(case, CONTENT), more if declared else iter([CONTENT, b"x"]))
    assert answer.status_code == 413
    assert blocks_of(case.provider) == kept


def test_send_that_breaks_off_leaves_nothing(case):
    kept = blocks_of(case.provider)
    content = b"".join(Noise(6 * MIB))
    upload_id = upload_of(case, content)
    host, port = case.provider.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = (
            f"PUT /staff/files/{upload_id} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n"
            f"Authorization: Bearer {case.provider.staff_token}\r\n\r\n"
        )
        connection.sendall(head.encode() + content[:-1])
        wait_until(lambda: blocks_of(case.provider) > kept, "the node stored what came so far")
    wait_until(lambda: blocks_of(case.provider) == kept, "the node let go of it")
    assert case.provider.node.records.journal.in_progress() == []


def test_send_to_a_full_disk_is_refused_and_leaves_nothing(case, monkeypatch):
    upload_id = upload_of(case, CONTENT)
    blocks = case.provider.node.records.blocks
    kept = blocks_of(case.provider)
    monkeypatch.setattr(blocks, "_free_bytes", lambda: 0)
    assert send(case.provider, upload_id, CONTENT).status_code == 507
    assert blocks_of(case.provider) == kept


def test_send_without_an_announcement_or_by_somebody_else_is_not_found(case):
    assert send(case.provider, "0" * 32, CONTENT).status_code == 404
    upload_id = upload_of(case, CONTENT)
    other = case.provider.node.staff.add(f"dr-{case.number}", "physician")
    answer = case.provider.http.put(
        f"{case.provider.url}/staff/files/{upload_id}",
        content=CONTENT,
        headers={"Authorization": f"Bearer {other}"},
    )
    assert answer.status_code == 404
    bare = case.provider.http.put(f"{case.provider.url}/staff/files/{upload_id}", content=CONTENT)
    assert bare.status_code == 401


def test_attack_publish_anothers_image_is_refused_and_leaves_nothing(case):
    image = bytes(128) + b"DICM" + b"\x10\x00\x20\x00LO" + (6).to_bytes(2, "little") + b"OTHER1"
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("1.dcm", image)
        made.writestr("2.bin", CONTENT)
    kept = blocks_of(case.provider)
    for content in (image + CONTENT, archive.getvalue()):
        answer = send(case.provider, upload_of(case, content), content)
        assert answer.status_code == 422, answer.text
        assert "OTHER1" not in answer.text
    assert blocks_of(case.provider) == kept


def test_unneeded_blocks_of_a_killed_upload_are_swept_when_old(case, monkeypatch):
    files, blocks = case.provider.node.records.files, case.provider.node.records.blocks
    kept = blocks_of(case.provider)
    upload_id = upload_of(case, CONTENT)
    received = files.receive(staff_id_of(case.provider), upload_id)
    for start in range(0, 3 * MIB, MIB):
        received.write(CONTENT[start : start + MIB])
    received._sealing._arriving.flush()  # and then the process was gone, without close
    assert blocks_of(case.provider) > kept
    blocks.sweep()
    assert blocks_of(case.provider) > kept
    later = time.time() + UNREFERENCED_SECONDS + 60
    monkeypatch.setattr(blocks, "_clock", lambda: later)
    blocks.sweep()
    assert blocks_of(case.provider) == kept


# What readers must notice.


def test_fetch_by_somebody_else_or_without_a_token_is_refused(case):
    publish_file(case, CONTENT)
    reader = case.network.members[1]
    case.grant(reader)
    (record,) = case.read(reader).records
    path = f"/staff/downloads/{record.download.download_id}"
    other = reader.node.staff.add(f"nurse-{case.number}", "nurse")
    assert reader.http.get(reader.url + path, headers={"Authorization": f"Bearer {other}"}).status_code == 404
    assert reader.http.get(reader.url + path).status_code == 401
    assert reader.call("GET", "/staff/downloads/" + "0" * 32, staff=True).status_code == 404


def test_fetch_after_the_permits_time_is_refused(case, monkeypatch):
    publish_file(case, CONTENT)
    reader = case.network.members[1]
    case.grant(reader)
    (record,) = case.read(reader).records
    later = record.download.expires_at + 1
    monkeypatch.setattr(reader.node.records.downloads._opened, "_clock", lambda: later)
    assert download(reader, record).status_code == 404


def test_fetch_when_blocks_vanish_on_the_way_breaks_off_and_says_why(case, monkeypatch):
    publish_file(case, CONTENT)
    reader = case.network.members[1]
    case.grant(reader)
    (record,) = case.read(reader).records
    cids = list(
        unixfs.blocks_of(
            case.provider.node.records.blocks.store, Cid.parse(view_of(case, record.record_id).cid)
        )
    )
    lost, bodies = cids[2], {}
    with ExitStack() as held:
        for member in case.network.members:
            # Between two turns of its repairs: in one, it would get back what another member still has.
            held.enter_context(member.node.records.replication._turning)
        for member in case.network.members:
            bodies[member.name] = member.node.records.blocks.store.get(lost)
            member.node.records.blocks.store.delete(lost)
    received = bytearray()
    with pytest.raises(httpx.RemoteProtocolError):
        fetch_into(received, reader, record)
    assert len(received) < len(CONTENT)
    assert CONTENT.startswith(bytes(received))
    outcome = outcome_of(reader, record)
    assert outcome.state == "failed"
    assert str(lost) in outcome.detail
    for member in case.network.members:
        member.node.records.blocks.store.put(bodies[member.name])
    assert download(reader, record).content == CONTENT  # back up, without asking the ledger again


def test_attack_author_commits_to_another_file_is_named_and_the_last_piece_never_sent(case, monkeypatch):
    monkeypatch.setattr(StreamSealer, "payload_commitment", property(lambda _: bytes(32)))
    publish_file(case, CONTENT)
    reader = case.network.members[1]
    case.grant(reader)
    (record,) = case.read(reader).records
    with pytest.raises(httpx.RemoteProtocolError):
        download(reader, record)
    outcome = outcome_of(reader, record)
    assert outcome.state == "failed"
    assert case.provider.address.hex() in outcome.detail
    assert "commits to" in outcome.detail


def test_read_files_and_bundles_together_gives_each_in_its_way(case):
    publish_file(case, CONTENT)
    assert case.post_bundle(bundle(case.number, observation(5.4))).status_code == 200
    case.network.wait_for_all()
    case.grant(case.network.members[1])
    records = {record.category: record for record in case.read(case.network.members[1]).records}
    assert records[Category.IMAGING].download is not None
    assert json.loads(records[Category.LABORATORY].content)["resourceType"] == "Bundle"


def test_revoked_file_is_neither_read_again_nor_fetched_by_an_older_permit(case):
    publish_file(case, CONTENT)
    reader = case.network.members[1]
    terms = case.grant(reader)
    (record,) = case.read(reader).records
    assert download(reader, record).content == CONTENT
    case.revoke(terms)
    answer = download(reader, record)
    assert (answer.status_code, answer.json()["code"]) == (403, "denied-now")
    (denied,) = case.read(reader).records
    assert (denied.reason, denied.download) == (Reason.CONSENT_REVOKED, None)


def test_attack_permitted_file_of_a_node_cut_off_from_the_ledger_is_not_served(case, monkeypatch):
    """A revocation would not be seen: what was permitted before is stale."""
    publish_file(case, CONTENT)
    reader = case.network.members[1]
    case.grant(reader)
    (record,) = case.read(reader).records
    with monkeypatch.context() as cut_off:
        cut_off.setattr("node.reading.HEAD_AGE_SECONDS", -1.0)
        answer = download(reader, record)
        assert (answer.status_code, CONTENT in answer.content) == (503, False)
    assert download(reader, record).content == CONTENT
