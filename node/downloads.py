"""Contents too large for one answer: opened once by consent, then fetched piece by piece by who asked for them.

The keys of a permitted record are kept in memory alone, for as long as its permit counts. A content is never kept:
each time, its blocks are fetched, opened and checked again on their way out, and its last piece leaves only when all
of it was verified. So a body as long as its Content-Length says is the author's, and any other must not be used.
"""

import hmac
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from crypto.errors import CryptoError
from crypto.header import Header
from crypto.streamed_opening import StreamedContent
from ledger.entities import Record
from node.collaborators import SYSTEM_CLOCK, Clock
from node.errors import NodeError, NotAllowed, NotFound, TooMany
from storage import BlockSource, Cid, StorageError, unixfs
from wire.staff import Download, DownloadOutcome

OPEN_SECONDS = 600
"""How long a download may be begun: as long as a permit counts (``node.release``)."""
MOST_DOWNLOADS = 256


@dataclass(slots=True)
class _Opened:
    staff_id: str
    record: Record
    header: Header
    data_key: bytes = field(repr=False)
    denied_now: Callable[[], str | None]
    expires_at: float
    outcome: DownloadOutcome


@dataclass(frozen=True, slots=True)
class DownloadContent:
    """A content on its way: ``pieces`` ends by itself only when everything of it was verified."""

    media_type: str
    content_bytes: int
    pieces: Iterator[bytes]


class Downloads:
    """Keeps what may be fetched; ``source_of`` tells where the blocks of a header's ciphertext are."""

    def __init__(self, source_of: Callable[[Header], BlockSource], *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._source_of = source_of
        self._clock = clock
        self._lock = threading.Lock()
        self._opened: dict[str, _Opened] = {}

    def offer(
        self,
        staff_id: str,
        record: Record,
        header: Header,
        data_key: bytes,
        denied_now: Callable[[], str | None],
    ) -> tuple[Download, str]:
        """What a person may now fetch, and its media type; the content's start was opened to tell.

        Args:
            denied_now: why the ledger's rules would deny the same access at this moment, in words; or None.

        Raises:
            crypto.CryptoError, storage.StorageError, NodeError: it does not open, or its blocks cannot be had.
            TooMany: too many contents are open.
        """
        content = self._content(record, header, data_key)
        download_id, now = secrets.token_hex(16), self._clock()
        opened = _Opened(
            staff_id,
            record,
            header,
            data_key,
            denied_now,
            now + OPEN_SECONDS,
            DownloadOutcome(state="open", detail=""),
        )
        with self._lock:
            self._opened = {key: each for key, each in self._opened.items() if each.expires_at > now}
            if len(self._opened) >= MOST_DOWNLOADS:
                raise TooMany(f"expected at most {MOST_DOWNLOADS} contents to be fetched; so many are open")
            self._opened[download_id] = opened
        download = Download(
            download_id=download_id,
            content_bytes=content.content_bytes,
            expires_at=int(opened.expires_at),
        )
        return download, content.signed.media_type

    def content(self, staff_id: str, download_id: str) -> DownloadContent:
        """The content, opened anew.

        Raises:
            NotFound: nothing of this id is open to this person.
            NotAllowed: it was permitted, and the patient revoked it or the like since.
            crypto.CryptoError, storage.StorageError, NodeError: as ``offer``.
        """
        opened = self._of(staff_id, download_id)
        if (reason := opened.denied_now()) is not None:
            with self._lock:
                self._opened.pop(download_id, None)
            raise NotAllowed(f"this was permitted and would be denied now: {reason}", code="denied-now")
        content = self._content(opened.record, opened.header, opened.data_key)
        return DownloadContent(
            content.signed.media_type, content.content_bytes, self._noting(opened, iter(content))
        )

    def outcome(self, staff_id: str, download_id: str) -> DownloadOutcome:
        """How the last fetching ended; raises NotFound."""
        return self._of(staff_id, download_id).outcome

    def _content(self, record: Record, header: Header, data_key: bytes) -> StreamedContent:
        blocks = unixfs.cat(
            self._source_of(header), Cid.parse(header.ciphertext_cid), limit_bytes=header.ciphertext_size
        )
        return StreamedContent(data_key, header, record.payload_commitment, blocks)

    @staticmethod
    def _noting(opened: _Opened, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same pieces; how they end is kept, since an answer that has begun cannot say it."""
        try:
            yield from pieces
        except (CryptoError, StorageError, NodeError) as error:
            author = f"author 0x{opened.record.author.hex()}"
            opened.outcome = DownloadOutcome(state="failed", detail=f"{author}: {error}")
            raise
        opened.outcome = DownloadOutcome(state="complete", detail="")

    def _of(self, staff_id: str, download_id: str) -> _Opened:
        with self._lock:
            opened = self._opened.get(download_id)
        if (
            opened is None
            or opened.expires_at <= self._clock()
            or not hmac.compare_digest(opened.staff_id.encode(), staff_id.encode())
        ):
            raise NotFound("nothing of this id is open to you, or it was too long ago: ask to read it again")
        return opened
