"""Publishing a file of any size and fetching it, over HTTP, the way that a hospital's systems do it."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import httpx
import pytest
from node_fixtures import Member
from records_flow import Case

from node.lanes import Ticket
from vocabulary import Category
from wire.staff import FileAnnouncement, FileUpload, Publication, ReadRecord

SEND_SECONDS = 300
DAY = 739676
"""2026-03-01."""


class Noise:
    """Bytes that no compressor shortens, the same in every run, made as they are read."""

    def __init__(self, size_bytes: int, name: str = "noise", piece_bytes: int = 2**20) -> None:
        self.size_bytes = size_bytes
        self._piece = hashlib.shake_256(name.encode()).digest(piece_bytes)

    def __iter__(self) -> Iterator[bytes]:
        left_bytes, number = self.size_bytes, 0
        while left_bytes:
            piece = (number.to_bytes(8) + self._piece)[: min(left_bytes, len(self._piece))]
            yield piece
            left_bytes, number = left_bytes - len(piece), number + 1

    @property
    def digest(self) -> bytes:
        hashed = hashlib.sha256()
        for piece in self:
            hashed.update(piece)
        return hashed.digest()


def announcement(size_bytes: int, digest: bytes, **changes: Any) -> FileAnnouncement:
    return FileAnnouncement(
        **{
            "media_type": "application/octet-stream",
            "category": Category.IMAGING,
            "start_day": DAY,
            "end_day": DAY,
            "content_bytes": size_bytes,
            "content_digest": digest,
        }
        | changes
    )


def announce(case: Case, content: bytes | Noise, **changes: Any) -> httpx.Response:
    size_bytes, digest = (
        (content.size_bytes, content.digest)
        if isinstance(content, Noise)
        else (len(content), hashlib.sha256(content).digest())
    )
    body = announcement(size_bytes, digest, **changes)
    return case.provider.call("POST", "/staff/files", body, staff=True, about=case.about)


def send(member: Member, upload_id: str, content: Iterable[bytes] | bytes) -> httpx.Response:
    headers = {"Authorization": f"Bearer {member.staff_token}"}
    path = f"{member.url}/staff/files/{upload_id}"
    return member.http.put(path, content=content, headers=headers, timeout=SEND_SECONDS)


def publish_file(case: Case, content: bytes | Noise, **changes: Any) -> Publication:
    """The publication of a file, final on the ledger and seen by all nodes."""
    answer = announce(case, content, **changes)
    assert answer.status_code == 200, answer.text
    upload = FileUpload.model_validate_json(answer.content)
    publication = upload.publication
    if upload.upload_id is not None:
        answer = send(
            case.provider, upload.upload_id, content if isinstance(content, bytes) else iter(content)
        )
        assert answer.status_code == 200, answer.text
        publication = Publication.model_validate_json(answer.content)
    assert publication is not None
    while publication.state not in ("published", "abandoned"):
        case.provider.node.records.publisher.resume()
        publication = case.provider.node.records.publisher.publication(publication.publication_id)
    case.network.wait_for_all()
    return publication


def download(member: Member, record: ReadRecord) -> httpx.Response:
    assert record.download is not None, record
    return member.call("GET", f"/staff/downloads/{record.download.download_id}", staff=True)


def staff_id_of(member: Member) -> str:
    person = member.node.staff.by_token(member.staff_token)
    assert person is not None
    return person.staff_id


def note_counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The staff whose requests are counted from now on, each when it is: what comes later is counted after them."""
    counted: list[str] = []
    count_for_person = Ticket.count_for_person

    def noting(ticket: Ticket, staff_id: str) -> None:
        count_for_person(ticket, staff_id)
        counted.append(staff_id)

    monkeypatch.setattr(Ticket, "count_for_person", noting)
    return counted
