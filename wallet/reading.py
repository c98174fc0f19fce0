"""Reading an own record: whoever delivers it, what comes out is what its author signed, or an error."""

import time
from dataclasses import dataclass, field

from crypto import CryptoError
from crypto.jws import verify_detached
from crypto.opening import open_with_owner_key
from crypto.payload import MAX_CIPHERTEXT_BYTES, commitment, unpack
from storage import Cid, StorageError, unixfs
from wallet.errors import RecordInvalid
from wallet.overview import OwnRecord
from wallet.own_copy import NodeBlocks, fetch_own_copy
from wallet.policy import own_record
from wallet.session import Session


@dataclass(frozen=True, slots=True)
class OpenedRecord:
    """An own record, opened and verified."""

    record: OwnRecord
    media_type: str
    content: bytes = field(repr=False)
    """The exact bytes that the author signed."""
    author: bytes
    signed_at: int
    """When, by the author's own clock; seconds since 1970."""
    seconds: float
    checks: tuple[str, ...]
    """What was verified, in words."""


def read_record(session: Session, record_id: bytes) -> OpenedRecord:
    """Opens an own record with the pseudonym's owner key.

    1. Two nodes agree on the record. 2. Its header has the ledger's digest and identity. 3. The ciphertext has the
    header's CID and digest. 4. It opens. 5. The payload is the one committed to. 6. The author signed its bytes.

    Raises:
        UnknownName: this wallet has no such record.
        RecordInvalid: a check fails; the message says which, and who gave what.
        TooFewNodes, NodesDisagree: see ``wallet.agreement``.
    """
    started = time.perf_counter()
    relationship, view = own_record(session, record_id)  # 1
    name = f"record 0x{record_id.hex()}"
    if view.author != relationship.provider:
        raise RecordInvalid(f"{name}: its author is not the provider of its pseudonym")
    copy = fetch_own_copy(session, view)  # 2
    if copy.header.ciphertext_size > MAX_CIPHERTEXT_BYTES:
        raise RecordInvalid(
            f"{name}: expected at most {MAX_CIPHERTEXT_BYTES} bytes of ciphertext; it has more"
        )
    blocks = NodeBlocks(session.nodes(view.patient), session.request_key(view.patient))
    try:
        ciphertext = b"".join(unixfs.cat(blocks, Cid.parse(view.cid), copy.header.ciphertext_size))  # 3
        packed = open_with_owner_key(
            relationship.secrets.owner, copy.owner_wrap, copy.header, ciphertext, copy.identity
        )  # 4
        payload = unpack(packed)
        if commitment(payload) != view.payload_commitment:  # 5
            raise RecordInvalid(f"{name}: its payload is not the one that the ledger commits to")
        signed = verify_detached(payload.signature, payload.content, view.author)  # 6
    except (StorageError, CryptoError) as error:
        raise RecordInvalid(f"{name}: {error}") from error
    if signed.media_type != payload.media_type:
        raise RecordInvalid(
            f"{name}: its author signed it as {signed.media_type}, not as {payload.media_type}"
        )
    return OpenedRecord(
        record=OwnRecord.of(view, relationship, session.directory()),
        media_type=payload.media_type,
        content=payload.content,
        author=view.author,
        signed_at=signed.signed_at_seconds,
        seconds=time.perf_counter() - started,
        checks=(
            "two members' nodes agree on the record",
            "the header is the ledger's",
            "every block has its CID",
            "the payload is the one committed to",
            "the provider signed these bytes",
        ),
    )
