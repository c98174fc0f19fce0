"""Grant bundles that patients delivered to this member, and what their consents open now."""

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable

from sqlalchemy import Connection, and_, delete, select

from crypto.grant import GrantBundle, OpenedGrant, open_grant_bundle
from ledger.decide import AccessQuery, decide
from ledger.entities import Consent, ConsentStatus, Record
from ledger.messages import NO_RECORD
from node.database import Database
from node.errors import Conflict, InvalidRequest, NotAllowed, TooMany
from node.identity import Identity
from node.ledger_view import LedgerView, Snapshot
from node.tables import grants
from node.views import consent_view, record_view
from vocabulary import Purpose
from wire.limits import GRANT_BYTES
from wire.patients import GrantAcknowledgement, GrantDelivery
from wire.staff import ConsentedPatient

KEPT_BUNDLES = 4
"""How many bundles of one consent are kept, the newest by epoch and arrival."""
EARLY_CONSENTS = 50
"""For how many consents that are not on the ledger (yet) a patient may deliver bundles."""


class Grants:
    """Bundles as they came, sealed to this member's key, and opened only when they are used."""

    def __init__(
        self,
        database: Database,
        ledger: LedgerView,
        identity: Identity,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._identity = identity
        self._clock = clock

    def deliver(self, patient: bytes, delivery: GrantDelivery) -> GrantAcknowledgement:
        """Keeps a bundle, before or after its grant is on the ledger; durable, and sure to open, when it returns.

        Raises:
            InvalidRequest: too large.
            NotAllowed: the bundle, or the consent that it names, is another patient's or another member's.
            Conflict: it is sealed to a key that is not this member's.
            crypto.CryptoError: it is for another ledger or member, or does not open.
            TooMany: too many bundles wait for their consents.
        """
        if len(delivery.bundle) > GRANT_BYTES:
            raise InvalidRequest(f"expected a bundle of at most {GRANT_BYTES} bytes")
        if not delivery.introduction.isprintable():
            raise InvalidRequest("expected an introduction of printable characters")
        bundle = GrantBundle.from_bytes(delivery.bundle)
        if bundle.scope.patient != patient:
            raise NotAllowed("expected a bundle of the patient who asks", code="other-patient")
        self._require_own_consent(bundle)
        self._open(bundle)
        row = {
            "consent_id": bundle.scope.consent_id,
            "bundle_digest": hashlib.sha256(delivery.bundle).digest(),
            "patient": patient,
            "epoch": bundle.scope.epoch,
            "bundle": delivery.bundle,
            "introduction": delivery.introduction,
            "received": int(self._clock()),
        }
        with self._database.begin() as connection:
            self._require_room(connection, patient, bundle.scope.consent_id)
            connection.execute(
                delete(grants).where(
                    grants.c.consent_id == row["consent_id"], grants.c.bundle_digest == row["bundle_digest"]
                )
            )
            connection.execute(grants.insert().values(**row))
            self._drop_oldest(connection, patient, bundle.scope.consent_id)
        return GrantAcknowledgement(consent_id=bundle.scope.consent_id, member=self._identity.address)

    def for_patient(self, patient: bytes) -> tuple[OpenedGrant, ...]:
        """What a patient handed over to this member, opened, the newest last. It holds secrets: do not keep it."""
        statement = select(grants.c.bundle).where(grants.c.patient == patient)
        with self._database.read() as connection:
            bundles = connection.execute(statement.order_by(grants.c.epoch, grants.c.number)).scalars().all()
        return tuple(self._open(GrantBundle.from_bytes(bundle)) for bundle in bundles)

    def consented(self) -> tuple[ConsentedPatient, ...]:
        """The patients who granted this member something that is not revoked, with the records it opens now."""
        snapshot = self._ledger.snapshot()
        by_patient: dict[bytes, list[Consent]] = defaultdict(list)
        for consent in snapshot.consents_for(self._identity.address):
            if consent.status is ConsentStatus.GRANTED:
                by_patient[consent.patient].append(consent)
        return tuple(
            self._consented_patient(snapshot, patient, consents) for patient, consents in by_patient.items()
        )

    def _consented_patient(
        self, snapshot: Snapshot, patient: bytes, consents: list[Consent]
    ) -> ConsentedPatient:
        opened = [
            record
            for record in snapshot.records_of(patient)
            if any(self._opens(snapshot, consent, record) for consent in consents)
        ]
        times = self._ledger.block_times(record.published_block for record in opened)
        return ConsentedPatient(
            patient=patient,
            introduction=self._introduction(patient),
            provider=snapshot.state.patients[patient].provider,
            consents=tuple(consent_view(consent) for consent in consents),
            records=tuple(record_view(record, times) for record in opened),
        )

    def _opens(self, snapshot: Snapshot, consent: Consent, record: Record) -> bool:
        scoped = consent.record_id != NO_RECORD
        if scoped and consent.record_id != record.record_id:
            return False
        queries = (
            AccessQuery(self._identity.address, record.record_id, consent.nonce, scoped, purpose)
            for purpose in Purpose.in_mask(consent.purposes)
        )
        return any(decide(snapshot.state, query, snapshot.final.time).permitted for query in queries)

    def _introduction(self, patient: bytes) -> str:
        statement = select(grants.c.introduction).where(
            grants.c.patient == patient, grants.c.introduction != ""
        )
        with self._database.read() as connection:
            newest = connection.execute(
                statement.order_by(grants.c.number.desc()).limit(1)
            ).scalar_one_or_none()
        return newest or ""

    def _open(self, bundle: GrantBundle) -> OpenedGrant:
        key = self._identity.encryption_key(bundle.recipient)
        if key is None:
            raise Conflict(
                "the bundle is sealed to a key that is not this member's: read the member's key anew",
                code="unknown-key",
            )
        scope = self._ledger.scope
        return open_grant_bundle(
            bundle, key, chain_id=scope.chain_id, contract=scope.contract, grantee=self._identity.address
        )

    def _require_own_consent(self, bundle: GrantBundle) -> None:
        """Refuses a bundle under a consent that the ledger knows as somebody else's; one to come cannot be told."""
        consent = self._ledger.snapshot().state.consents.get(bundle.scope.consent_id)
        if consent is None:
            return
        if (consent.patient, consent.grantee) != (bundle.scope.patient, self._identity.address):
            raise NotAllowed(
                "expected a bundle of a consent by the patient who asks, for this member; the ledger has that "
                "consent as another's",
                code="other-consent",
            )

    def _require_room(self, connection: Connection, patient: bytes, consent_id: bytes) -> None:
        known = self._ledger.snapshot().state.consents
        statement = select(grants.c.consent_id).where(grants.c.patient == patient).distinct()
        early = {
            other
            for other in connection.execute(statement).scalars()
            if other not in known and other != consent_id
        }
        if consent_id not in known and len(early) >= EARLY_CONSENTS:
            raise TooMany(f"{len(early)} bundles of this patient wait for their consents on the ledger")

    @staticmethod
    def _drop_oldest(connection: Connection, patient: bytes, consent_id: bytes) -> None:
        # The patient too: anyone may name any id before its consent is on the ledger, and must push out only their own.
        of_consent = and_(grants.c.patient == patient, grants.c.consent_id == consent_id)
        numbers = (
            connection.execute(
                select(grants.c.number)
                .where(of_consent)
                .order_by(grants.c.epoch.desc(), grants.c.number.desc())
                .limit(KEPT_BUNDLES)
            )
            .scalars()
            .all()
        )
        connection.execute(delete(grants).where(of_consent, grants.c.number.not_in(numbers)))
