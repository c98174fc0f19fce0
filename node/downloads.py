"""Contents too large for one answer: opened once by consent, then fetched piece by piece by who asked for them.

The keys of a permitted record are kept in memory alone, for as long as its permit counts. A content is never kept:
each time, its blocks are fetched, opened and checked again on their way out, and its last piece leaves only when all
of it was verified. So a body as long as its Content-Length says is the author's, and any other must not be used.
Consent is asked again before each fetching and, however long it takes, all the way through it.
"""

import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from crypto.errors import CryptoError
from crypto.header import Header
from crypto.streamed_opening import StreamedContent
from ledger.entities import Record
from node.collaborators import SYSTEM_CLOCK, Clock
from node.errors import NodeError, NotAllowed, NotFound
from node.personal_entries import PersonalEntries
from storage import BlockSource, Cid, StorageError, unixfs
from wire.staff import Download, DownloadOutcome

OPEN_SECONDS = 600
"""How long a download may be begun: as long as a permit counts (``node.release``)."""
OUTCOME_SECONDS = 600
"""How long it may be asked how a fetching ended, after its end."""
CONSENT_SECONDS = 10.0
"""How often consent is asked again while a content is fetched."""
DOWNLOADS_A_PERSON = 256
"""More than one request for access can open."""
MOST_DOWNLOADS = 4096


@dataclass(frozen=True, slots=True)
class _Opened:
    staff_id: str
    download_id: str
    record: Record
    header: Header
    data_key: bytes = field(repr=False)
    denied_now: Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class _Told:
    """How the last fetching ended; ``at``: how many had begun or failed before."""

    outcome: DownloadOutcome
    at: int


@dataclass(frozen=True, slots=True)
class DownloadContent:
    """A content on its way: ``pieces`` ends by itself only when everything of it was verified."""

    media_type: str
    content_bytes: int
    pieces: Iterator[bytes]


class NoLongerPermitted(NotAllowed):
    """What was permitted would be denied now, or nobody can tell."""

    default_code = "denied-now"


class Downloads:
    """Keeps what may be fetched; ``source_of`` tells where the blocks of a header's ciphertext are."""

    def __init__(self, source_of: Callable[[Header], BlockSource], *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._source_of = source_of
        self._clock = clock
        self._lock = threading.Lock()
        self._count = itertools.count()
        bounds = {"most_a_person": DOWNLOADS_A_PERSON, "most": MOST_DOWNLOADS}
        self._opened: PersonalEntries[_Opened] = PersonalEntries(clock, **bounds)
        self._told: PersonalEntries[_Told] = PersonalEntries(clock, **bounds)

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
        """
        content = self._content(record, header, data_key)
        download_id, expires_at = secrets.token_hex(16), self._clock() + OPEN_SECONDS
        opened = _Opened(staff_id, download_id, record, header, data_key, denied_now)
        # Never refused for want of room: the access is on the ledger by now, and its use is spent.
        self._opened.put(staff_id, download_id, opened, expires_at)
        self._tell(opened, "open", "", begun_at=next(self._count))
        download = Download(
            download_id=download_id, content_bytes=content.content_bytes, expires_at=int(expires_at)
        )
        return download, content.signed.media_type

    def content(self, staff_id: str, download_id: str) -> DownloadContent:
        """The content, opened anew.

        Raises:
            NotFound: nothing of this id is open to this person.
            NoLongerPermitted: it was permitted, and the patient revoked it or the like since.
            crypto.CryptoError, storage.StorageError, NodeError: as ``offer``.
        """
        opened = self._opened.get(staff_id, download_id)
        if opened is None:
            raise _not_open()
        try:
            self._require_consent(opened)
        except NoLongerPermitted:
            self._opened.remove(staff_id, download_id)
            raise
        content = self._content(opened.record, opened.header, opened.data_key)
        return DownloadContent(
            content.signed.media_type, content.content_bytes, self._noting(opened, iter(content))
        )

    def outcome(self, staff_id: str, download_id: str) -> DownloadOutcome:
        """How the last fetching ended; of several at once, the failed one. Raises NotFound."""
        told = self._told.get(staff_id, download_id)
        if told is None:
            raise _not_open()
        return told.outcome

    def _content(self, record: Record, header: Header, data_key: bytes) -> StreamedContent:
        blocks = unixfs.cat(
            self._source_of(header), Cid.parse(header.ciphertext_cid), limit_bytes=header.ciphertext_size
        )
        return StreamedContent(data_key, header, record.payload_commitment, blocks)

    def _noting(self, opened: _Opened, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same pieces; how they end is kept, since an answer that has begun cannot say it."""
        begun_at, asked_at = next(self._count), time.monotonic()
        try:
            for piece in pieces:
                if time.monotonic() - asked_at >= CONSENT_SECONDS:
                    self._ask_again(opened, begun_at)
                    asked_at = time.monotonic()
                yield piece
        except (CryptoError, StorageError, NodeError) as error:
            if not isinstance(error, NoLongerPermitted):
                author = f"author 0x{opened.record.author.hex()}"
                self._tell(opened, "failed", f"{author}: {error}", begun_at)
            raise
        except GeneratorExit:
            self._tell(opened, "failed", "whoever fetched it went away, or took it too slowly", begun_at)
            raise
        self._tell(opened, "complete", "", begun_at)

    def _ask_again(self, opened: _Opened, begun_at: int) -> None:
        """Asks while a content is sent; what is found out of it so far is not forgotten meanwhile."""
        try:
            self._require_consent(opened)
        except NodeError as error:
            self._tell(opened, "failed", f"ended while it was sent: {error}", begun_at)
            raise NoLongerPermitted(error.detail) from error
        with self._lock:
            told = self._told.get(opened.staff_id, opened.download_id)
            if told is not None:
                self._told.put(opened.staff_id, opened.download_id, told, self._clock() + OUTCOME_SECONDS)

    @staticmethod
    def _require_consent(opened: _Opened) -> None:
        if (reason := opened.denied_now()) is not None:
            raise NoLongerPermitted(f"this was permitted and would be denied now: {reason}")

    def _tell(
        self, opened: _Opened, state: Literal["open", "complete", "failed"], detail: str, begun_at: int
    ) -> None:
        """Keeps how it ended, unless another fetching failed after this one began: who asks is the one that failed."""
        with self._lock:
            before = self._told.get(opened.staff_id, opened.download_id)
            if before is not None and before.at > begun_at and state == "complete":
                return
            told = _Told(DownloadOutcome(state=state, detail=detail), next(self._count))
            self._told.put(opened.staff_id, opened.download_id, told, self._clock() + OUTCOME_SECONDS)


def _not_open() -> NotFound:
    return NotFound("nothing of this id is open to you, or it was too long ago: ask to read it again")
