"""Reading other members' records: no log entry, no key.

choose consents → ask the ledger → collect shares → fetch ciphertext → open → compare with the ledger → check the
author's signature. What fails, fails for its record alone, and says who caused it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from crypto.envelope import Header, open_consent_wrap
from crypto.errors import CryptoError
from crypto.grant import OpenedGrant
from crypto.jws import verify_detached
from crypto.opening import combine_shares, open_ciphertext
from crypto.payload import Payload, commitment, unpack
from crypto.streamed_payload import largest_ciphertext_bytes
from ledger.decide import AccessQuery, decide
from ledger.entities import Record
from ledger.messages import NO_RECORD
from node.asking import AccessAsker, Asked
from node.collaborators import Grants, Ledger, OwnKeys, StaffPerson
from node.consent_choice import ChosenConsent, choose_consents, select_records
from node.downloads import Downloads
from node.errors import InvalidRequest, NodeError, NotFound, Unavailable
from node.release import HEAD_AGE_SECONDS, identity_of
from node.shares import Collected, ShareCollector
from node.stopwatch import Stopwatch
from node.unforeseen import UnforeseenFailures
from storage import BlockSource, Cid, StorageError, unixfs
from vocabulary import Category, Reason
from wire.limits import RECORDS_PER_REQUEST
from wire.staff import ReadRecord, ReadRequest, ReadResponse


class ReadingService:
    """Asks for and opens records for this member's staff; ``pool`` fetches and opens several at a time."""

    def __init__(
        self,
        keys: OwnKeys,
        ledger: Ledger,
        grants: Grants,
        asker: AccessAsker,
        collector: ShareCollector,
        source_of: Callable[[Header], BlockSource],
        downloads: Downloads,
        pool: Executor,
        unforeseen: UnforeseenFailures | None = None,
    ) -> None:
        """``source_of`` tells where the blocks of a header's ciphertext are."""
        self._unforeseen = unforeseen or UnforeseenFailures()
        self._keys = keys
        self._ledger = ledger
        self._grants = grants
        self._asker = asker
        self._collector = collector
        self._source_of = source_of
        self._downloads = downloads
        self._pool = pool

    def read(self, person: StaffPerson, request: ReadRequest) -> ReadResponse:
        """Logs the access of each record on the ledger and opens those that it permits.

        Raises:
            NotFound: the patient or a record is not on the ledger.
            InvalidRequest: a record is another patient's, or there are too many at once.
            ledger.LedgerError: the ledger did not take the request; nothing was read.
        """
        watch = Stopwatch()
        grants = () if request.decide_only else self._grants.for_patient(request.patient)
        with watch.step("choose"):
            chosen = self._choose(request, grants)
        if not chosen:
            return ReadResponse(
                patient=request.patient,
                purpose=request.purpose,
                transaction_hashes=(),
                records=(),
                seconds_by_step=watch.seconds_by_step,
            )
        asked = self._asker.ask(chosen, request.purpose, person, watch)
        answers = {one.record.record_id: _decision(one.record, asked) for one in chosen}
        if not request.decide_only:
            answers |= self._open_permitted(chosen, asked, grants, person, watch)
        return ReadResponse(
            patient=request.patient,
            purpose=request.purpose,
            transaction_hashes=(asked.transaction_hash,),
            records=tuple(answers[one.record.record_id] for one in chosen),
            seconds_by_step=watch.seconds_by_step,
        )

    def _choose(self, request: ReadRequest, grants: Sequence[OpenedGrant]) -> list[ChosenConsent]:
        snapshot = self._ledger.snapshot()
        state = snapshot.state
        if request.patient not in state.patients:
            raise NotFound(f"no patient 0x{request.patient.hex()} is on the ledger")
        named = list(dict.fromkeys(request.record_ids))
        for record_id in named:
            record = state.records.get(record_id)
            if record is None:
                raise NotFound(f"no record 0x{record_id.hex()} is on the ledger")
            if record.patient != request.patient:
                raise InvalidRequest(
                    f"record 0x{record_id.hex()} is another patient's: ask for each patient apart"
                )
        records = select_records(state, request.patient, named, request.categories)
        if len(records) > RECORDS_PER_REQUEST:
            raise InvalidRequest(
                f"expected at most {RECORDS_PER_REQUEST} records at once; these are {len(records)}: name categories "
                "or records"
            )
        openable = {grant.scope.consent_id for grant in grants}
        return choose_consents(
            state, self._keys.address, records, request.purpose, snapshot.final.time, openable
        )

    def _open_permitted(
        self,
        chosen: Sequence[ChosenConsent],
        asked: Asked,
        grants: Sequence[OpenedGrant],
        person: StaffPerson,
        watch: Stopwatch,
    ) -> dict[bytes, ReadRecord]:
        permitted = [
            (asked.accesses[one.record.record_id], one.record)
            for one in chosen
            if asked.accesses[one.record.record_id].access.reason == Reason.PERMITTED
        ]
        if not permitted:
            return {}
        with watch.step("shares"):
            collected = self._collector.collect(permitted[0][1].patient, permitted, asked.response_key)
        with watch.step("open"):
            opened = self._pool.map(lambda one: self._answer(one, asked, grants, person), collected.values())
            return {answer.record_id: answer for answer in opened}

    def _answer(
        self, one: Collected, asked: Asked, grants: Sequence[OpenedGrant], person: StaffPerson
    ) -> ReadRecord:
        decision = _decision(one.record, asked)
        try:
            header, data_key = self._data_key(one, grants)
            if header.streamed:
                download, media_type = self._downloads.offer(
                    person.staff_id, one.record, header, data_key, lambda: self._denied_now(one)
                )
                opened: dict[str, object] = {"media_type": media_type, "download": download}
            else:
                payload = self._open(one.record, header, data_key)
                opened = {"media_type": payload.media_type, "content": payload.content}
        except (CryptoError, StorageError, NodeError) as error:
            return decision.model_copy(update={"failure": str(error)})
        except Exception as error:  # noqa: BLE001 - what one author sealed must not fail the others' records
            self._unforeseen.note("reading", error, author="0x" + one.record.author.hex())
            words = (
                f"this node stumbled over what author 0x{one.record.author.hex()} sealed; its log tells where"
            )
            return decision.model_copy(update={"failure": words})
        return decision.model_copy(update=opened)

    def _denied_now(self, one: Collected) -> str | None:
        """Why the same access would be denied at this moment: the permit's own use is not counted again."""
        access, snapshot = one.access.access, self._ledger.snapshot()
        if snapshot.age_seconds > HEAD_AGE_SECONDS:
            raise Unavailable(
                f"expected a ledger that advanced in the last {HEAD_AGE_SECONDS:.0f} seconds, to know that nothing was "
                "revoked; this node saw none: fetch again when it follows the chain",
                code="stale-head",
            )
        consent = snapshot.state.consents.get(access.consent_id)
        if consent is None:
            return Reason.NO_CONSENT.label
        query = AccessQuery(
            self._keys.address,
            one.record.record_id,
            consent.nonce,
            consent.record_id != NO_RECORD,
            access.purpose,
        )
        decision = decide(snapshot.state, query, snapshot.final.time, check_uses=False)
        return None if decision.permitted else decision.reason.label

    def _data_key(self, one: Collected, grants: Sequence[OpenedGrant]) -> tuple[Header, bytes]:
        """Both locks of a record, opened."""
        header, wrap = one.header, one.consent_wrap
        if header is None or wrap is None or not one.enough:
            needed = "enough" if header is None else str(header.threshold)
            raise CustodiansFailed(
                f"{len(one.shares)} good shares came, {needed} are needed: {'; '.join(one.failures) or 'no answers'}"
            )
        limit_bytes = largest_ciphertext_bytes(header.streamed)
        if header.ciphertext_size > limit_bytes:
            author = f"author 0x{header.identity.author.hex()}"
            raise ContentDiffers(
                f"{author} named a ciphertext of {header.ciphertext_size} bytes, of at most {limit_bytes}"
            )
        consent_share = self._consent_share(one, header, wrap, grants)
        identity = identity_of(self._ledger.scope, one.record)
        shares = dict(sorted(one.shares.items())[: header.threshold])
        return header, combine_shares(consent_share, shares, header, identity)

    def _open(self, record: Record, header: Header, data_key: bytes) -> Payload:
        root = Cid.parse(header.ciphertext_cid)
        ciphertext = b"".join(unixfs.cat(self._source_of(header), root, limit_bytes=header.ciphertext_size))
        payload = unpack(open_ciphertext(data_key, header, ciphertext))
        author = f"author 0x{record.author.hex()}"
        if commitment(payload) != record.payload_commitment:
            raise ContentDiffers(f"{author} sealed other content than it committed to on the ledger")
        signed = verify_detached(payload.signature, payload.content, record.author)
        if signed.media_type != payload.media_type:
            raise ContentDiffers(f"{author} signed the content as another media type")
        return payload

    @staticmethod
    def _consent_share(one: Collected, header: Header, wrap: bytes, grants: Sequence[OpenedGrant]) -> bytes:
        """Lock 1: by the keys that came with this very consent, else with another of the same patient."""
        consent_id = one.access.access.consent_id
        for grant in sorted(grants, key=lambda grant: grant.scope.consent_id != consent_id):
            if grant.record is not None and grant.record.record_id == one.record.record_id:
                return grant.record.consent_share
            if (key := grant.key_of(header.category_key_digest)) is not None:
                return open_consent_wrap(key, wrap, header)
        raise KeysNotDelivered(
            f"the access was permitted, and the patient's wallet has not delivered the key of "
            f"{Category(one.record.category).label} at epoch {header.epoch}: ask the patient to share again"
        )


class CustodiansFailed(NodeError):
    """Too few good shares came."""

    default_code, status, title = "too-few-shares", 502, "Too few custodians answered well"


class KeysNotDelivered(NodeError):
    """Lock 1 stays closed: no key came for it."""

    default_code, status, title = "keys-not-delivered", 409, "The patient's keys are not here"


class ContentDiffers(NodeError):
    """What opened is not what the ledger or its signature says."""

    default_code, status, title = "content-differs", 502, "The content is not what was published"


def _decision(record: Record, asked: Asked) -> ReadRecord:
    access = asked.accesses[record.record_id].access
    return ReadRecord(
        record_id=record.record_id,
        sequence=access.sequence,
        reason=Reason(access.reason),
        category=Category(record.category),
        start_day=record.start_day,
        end_day=record.end_day,
        author=record.author,
    )
