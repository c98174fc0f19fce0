"""Files of any size, in: announced, then sent as they are."""

import anyio
from fastapi import APIRouter, Depends, Path, Request
from starlette.concurrency import run_in_threadpool

from node.openapi import binary_body, json_body
from node.publish_files import FilePublisher
from node.request_auth import Authentication, StaffRequest
from node.request_stream import pieces
from node.routes.identifiers import patient_identifier
from node.staff import StaffMember
from records import PatientIdentifier
from wire.staff import FileAnnouncement, FileUpload, Publication


def router(auth: Authentication, files: FilePublisher) -> APIRouter:
    """POST /staff/files, PUT /staff/files/{upload_id}."""
    routes = APIRouter(prefix="/staff/files", tags=["staff"])
    staff = auth.staff()
    sending = auth.staff_member()

    @routes.post("", openapi_extra=json_body(FileAnnouncement))
    def announce(
        request: StaffRequest = Depends(staff), identifier: PatientIdentifier = Depends(patient_identifier)
    ) -> FileUpload:
        """Says that a file of a patient is to be published; what became of it, when the same file was before."""
        return files.announce(request.staff.staff_id, identifier, request.parse(FileAnnouncement))

    @routes.put("/{upload_id}", openapi_extra=binary_body("*/*"))
    async def receive(
        request: Request,
        upload_id: str = Path(pattern="^[0-9a-f]{32}$"),
        person: StaffMember = Depends(sending),
    ) -> Publication:
        """Publishes the announced file, byte for byte, as it comes."""
        file = await run_in_threadpool(files.receive, person.staff_id, upload_id)
        try:
            async for piece in pieces(request, file.content_bytes):
                await run_in_threadpool(file.write, piece)
            return await run_in_threadpool(file.finish)
        finally:
            # Also when the server ends: blocks that nothing came to need are dropped.
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(file.close)

    return routes
