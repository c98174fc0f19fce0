"""Contents too large for one answer, out: piece by piece, and whole only when all of it was verified."""

import re

from fastapi import APIRouter, Depends, Path
from fastapi.responses import StreamingResponse

from node.downloads import Downloads
from node.request_auth import Authentication, StaffRequest
from records import OCTETS
from wire.staff import DownloadOutcome

_PLAIN_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+")
_ID = Path(pattern="^[0-9a-f]{32}$")


def router(auth: Authentication, downloads: Downloads) -> APIRouter:
    """GET /staff/downloads/{download_id}, and its outcome."""
    routes = APIRouter(prefix="/staff/downloads/{download_id}", tags=["staff"])
    staff = auth.staff()

    @routes.get("", response_class=StreamingResponse)
    def content(download_id: str = _ID, request: StaffRequest = Depends(staff)) -> StreamingResponse:
        """The content, byte for byte. A body shorter than its Content-Length failed: discard it, and ask why."""
        found = downloads.content(request.staff.staff_id, download_id)
        # An author's word: a type that browsers run, or that splits a header, must not come from here.
        media_type = found.media_type if _PLAIN_MEDIA_TYPE.fullmatch(found.media_type) else OCTETS
        return StreamingResponse(
            found.pieces,
            media_type=OCTETS if media_type.startswith("text/html") else media_type,
            headers={
                "Content-Length": str(found.content_bytes),
                "Content-Disposition": "attachment",
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "no-store",
            },
        )

    @routes.get("/outcome")
    def outcome(download_id: str = _ID, request: StaffRequest = Depends(staff)) -> DownloadOutcome:
        """How the last fetching of it ended, and who caused it where it failed."""
        return downloads.outcome(request.staff.staff_id, download_id)

    return routes
