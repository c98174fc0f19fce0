"""What a provider's own staff and systems publish, correct and withdraw."""

from fastapi import APIRouter, Depends, Path

from ledger.entities import Record
from node.ledger_view import LedgerView
from node.openapi import binary_body
from node.publish import Publisher
from node.request_auth import Authentication, StaffRequest
from node.routes.identifiers import patient_identifier
from node.views import block_reference, record_view
from records import FHIR_JSON, PatientIdentifier
from wire.limits import BUNDLE_BYTES
from wire.patients import RecordsView, RecordView
from wire.staff import Publication
from wire.types import Bytes32


def router(auth: Authentication, ledger: LedgerView, publisher: Publisher) -> APIRouter:
    """Publications and the records that they made."""
    routes = APIRouter(prefix="/staff", tags=["staff"])
    staff = auth.staff()
    sending = auth.staff(limit_bytes=BUNDLE_BYTES)

    def views(records: tuple[Record, ...]) -> tuple[RecordView, ...]:
        times = ledger.block_times(record.published_block for record in records)
        return tuple(record_view(record, times) for record in records)

    @routes.post("/publications", openapi_extra=binary_body(FHIR_JSON))
    def publish(
        request: StaffRequest = Depends(sending), identifier: PatientIdentifier = Depends(patient_identifier)
    ) -> Publication:
        """Publishes a FHIR bundle of a patient, byte for byte; the same bundle again publishes nothing new."""
        return publisher.publish(identifier, request.body)

    @routes.get("/publications/{publication_id}")
    def publication(
        publication_id: str = Path(pattern="^[0-9a-f]{32}$"), _: StaffRequest = Depends(staff)
    ) -> Publication:
        """How far a publication is."""
        return publisher.publication(publication_id)

    @routes.get("/records")
    def records(
        _: StaffRequest = Depends(staff), identifier: PatientIdentifier = Depends(patient_identifier)
    ) -> RecordsView:
        """A patient's records on the ledger."""
        found = publisher.records_of(identifier)
        return RecordsView(final=block_reference(ledger.snapshot().final), records=views(found))

    @routes.post("/records/{record_id}/correction", openapi_extra=binary_body(FHIR_JSON))
    def correct(record_id: Bytes32, request: StaffRequest = Depends(sending)) -> Publication:
        """Publishes a correction, which supersedes the record; both stay readable."""
        return publisher.correct(record_id, request.body)

    @routes.post("/records/{record_id}/retraction")
    def retract(record_id: Bytes32, _: StaffRequest = Depends(staff)) -> RecordView:
        """Withdraws a record: from now on nobody is permitted to read it."""
        (view,) = views((publisher.retract(record_id),))
        return view

    return routes
