"""Keyrings: the public documents whose digests the ledger holds, for providers to seal by and custodians to look up."""

from collections.abc import Callable

import structlog
from sqlalchemy import Connection, delete, func, select

from crypto.errors import CryptoError
from crypto.keyring import Keyring
from ledger.entities import Patient
from node.database import Database
from node.errors import Conflict, InvalidRequest, NodeError, NotFound, TooMany, Unavailable
from node.identity import Identity
from node.ledger_view import LedgerView
from node.tables import keyrings
from node.unforeseen import UnforeseenFailures
from wire.limits import KEYRING_BYTES

CANDIDATES = 8
"""How many different keyrings of the coming epoch are kept for one patient, until the ledger names one."""
FetchKeyring = Callable[[bytes, bytes, int], bytes]
"""Asks a member (address) for a patient's keyring of an epoch; raises NodeError."""
_log = structlog.get_logger("node.keyrings")


class Keyrings:
    """Keyrings of any patients, kept by the digest that the ledger has or is about to have."""

    def __init__(
        self,
        database: Database,
        ledger: LedgerView,
        identity: Identity,
        fetch: FetchKeyring,
        unforeseen: UnforeseenFailures | None = None,
    ) -> None:
        """``unforeseen``: where failures are noted that no member's answer should cause."""
        self._unforeseen = unforeseen or UnforeseenFailures()
        self._database = database
        self._ledger = ledger
        self._identity = identity
        self._fetch = fetch

    def store(self, patient: bytes, document: bytes) -> None:
        """Keeps a keyring that its patient sent: of the current epoch as on the ledger, or of the next one.

        Raises:
            InvalidRequest: it is of another ledger, patient or epoch.
            Conflict: the ledger has another keyring for the current epoch.
            TooMany: too many different keyrings of the next epoch wait.
        """
        keyring = self._parsed(patient, document)
        known = self._patient(patient)
        if keyring.epoch not in (known.epoch, known.epoch + 1):
            raise InvalidRequest(
                f"expected the keyring of epoch {known.epoch} or {known.epoch + 1}; came epoch {keyring.epoch}"
            )
        if keyring.epoch == known.epoch and keyring.digest != known.keyring_digest:
            raise Conflict("the ledger has another keyring for this epoch: send the one that was signed")
        with self._database.begin() as connection:
            self._drop_losers(connection, known)
            self._require_room(connection, keyring)
            self._insert(connection, keyring, document)

    def keep(self, patient: bytes, document: bytes) -> None:
        """Keeps a keyring that was checked against a signed registration."""
        keyring = self._parsed(patient, document)
        with self._database.begin() as connection:
            self._insert(connection, keyring, document)

    def document(self, patient: bytes, epoch: int) -> bytes:
        """The bytes of the keyring that the ledger names for an epoch, as far as this node has it.

        Raises:
            NotFound: the ledger has no such epoch, or the document is not here.
        """
        known = self._patient(patient)
        if not 1 <= epoch <= known.epoch:
            raise NotFound(f"expected an epoch of 1 to {known.epoch}; came {epoch}")
        wanted = known.keyring_digests[epoch - 1]
        statement = select(keyrings.c.document).where(
            keyrings.c.patient == patient, keyrings.c.epoch == epoch, keyrings.c.digest == wanted
        )
        with self._database.read() as connection:
            document = connection.execute(statement).scalar_one_or_none()
        if document is None:
            raise NotFound("this node does not have that keyring: ask the patient's provider")
        return bytes(document)

    def current_keyring(self, patient: bytes) -> Keyring:
        """The keyring in force, its digest the one on the ledger; asked of other members when it is not here.

        Raises:
            NotFound: the ledger does not know the patient.
            Unavailable: no member gave it; the patient's wallet can send it again.
        """
        epoch = self._patient(patient).epoch
        try:
            return Keyring.from_bytes(self.document(patient, epoch))
        except NotFound:
            return self._from_others(self._patient(patient))

    def _from_others(self, patient: Patient) -> Keyring:
        members = self._ledger.snapshot().state.members.values()
        others = [
            member.address for member in members if member.active and member.address != self._identity.address
        ]
        others.sort(key=lambda address: address != patient.provider)
        for member in others:
            try:
                document = self._fetch(member, patient.address, patient.epoch)
                keyring = self._parsed(patient.address, document)
            except (NodeError, CryptoError) as error:
                _log.info("keyring not obtained", member="0x" + member.hex(), reason=type(error).__name__)
                continue
            except Exception as error:  # noqa: BLE001 - whatever one member answers, the next one is asked
                self._unforeseen.note("keyrings", error, member="0x" + member.hex())
                continue
            if keyring.digest == patient.keyring_digest:
                with self._database.begin() as connection:
                    self._insert(connection, keyring, document)
                return keyring
            _log.warning("a member gave another keyring than the ledger names", member="0x" + member.hex())
        raise Unavailable(
            f"no member gave the patient's keyring of epoch {patient.epoch}: its wallet must send it again",
            code="keyring-missing",
        )

    def _parsed(self, patient: bytes, document: bytes) -> Keyring:
        if len(document) > KEYRING_BYTES:
            raise InvalidRequest(f"expected a keyring of at most {KEYRING_BYTES} bytes; came {len(document)}")
        keyring, scope = Keyring.from_bytes(document), self._ledger.scope
        if (keyring.chain_id, keyring.contract, keyring.patient) != (scope.chain_id, scope.contract, patient):
            raise InvalidRequest("expected a keyring of this patient on this ledger; came another's")
        return keyring

    def _patient(self, patient: bytes) -> Patient:
        known = self._ledger.snapshot().patient(patient)
        if known is None:
            raise NotFound("no patient of that pseudonym is on the ledger")
        return known

    @staticmethod
    def _drop_losers(connection: Connection, patient: Patient) -> None:
        """Deletes what waited for an epoch for which the ledger meanwhile names another keyring."""
        for position, digest in enumerate(patient.keyring_digests[-2:]):
            epoch = patient.epoch - len(patient.keyring_digests[-2:]) + 1 + position
            connection.execute(
                delete(keyrings).where(
                    keyrings.c.patient == patient.address,
                    keyrings.c.epoch == epoch,
                    keyrings.c.digest != digest,
                )
            )

    @staticmethod
    def _require_room(connection: Connection, keyring: Keyring) -> None:
        same_epoch = (keyrings.c.patient == keyring.patient, keyrings.c.epoch == keyring.epoch)
        waiting = connection.execute(
            select(func.count()).select_from(keyrings).where(*same_epoch, keyrings.c.digest != keyring.digest)
        ).scalar_one()
        if waiting >= CANDIDATES:
            raise TooMany(
                f"{waiting} keyrings wait for epoch {keyring.epoch}: put one of them on the ledger first"
            )

    @staticmethod
    def _insert(connection: Connection, keyring: Keyring, document: bytes) -> None:
        key = {"patient": keyring.patient, "epoch": keyring.epoch, "digest": keyring.digest}
        there = select(keyrings.c.epoch).where(*(keyrings.c[name] == value for name, value in key.items()))
        if connection.execute(there).one_or_none() is None:
            connection.execute(keyrings.insert().values(**key, document=document))
