"""Reading an own record: whoever delivers it, what comes out is what its author signed, or an error."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from crypto import CryptoError, KeyfileError
from crypto.jws import JwsHeader, verify_detached
from crypto.opening import open_owner_wrap, open_with_owner_key
from crypto.payload import commitment, unpack
from crypto.private_file import new_private_file
from crypto.streamed_opening import StreamedContent
from crypto.streamed_payload import largest_ciphertext_bytes
from storage import Cid, StorageError, unixfs
from wallet.content import Relationship
from wallet.errors import RecordInvalid, RecordNeedsFile
from wallet.overview import OwnRecord
from wallet.own_copy import NodeBlocks, OwnCopyChecked, fetch_own_copy
from wallet.policy import own_record
from wallet.session import Session
from wire.patients import RecordView


@dataclass(frozen=True, slots=True)
class OpenedRecord:
    """An own record, opened and verified."""

    record: OwnRecord
    media_type: str
    content: bytes | None = field(repr=False)
    """The exact bytes that the author signed; None for a streamed content, which is in the file that was named."""
    content_bytes: int
    author: bytes
    signed_at: int
    """When, by the author's own clock; seconds since 1970."""
    seconds: float
    checks: tuple[str, ...]
    """What was verified, in words."""


def read_record(session: Session, record_id: bytes, save_to: Path | None = None) -> OpenedRecord:
    """Opens an own record with the pseudonym's owner key; ``save_to`` names a new file for its content.

    1. Two nodes agree on the record. 2. Its header has the ledger's digest and identity. 3. The ciphertext has the
    header's CID and digest. 4. It opens. 5. The payload is the one committed to. 6. The author signed its bytes.

    A streamed content goes into the file in pieces, and the file appears only when all six hold.

    Raises:
        UnknownName: this wallet has no such record.
        RecordNeedsFile: it is streamed, and no file was named.
        RecordInvalid: a check fails; the message says which, and who gave what.
        TooFewNodes, NodesDisagree: see ``wallet.agreement``.
        crypto.KeyfileError: the file is there already, or cannot be made.
    """
    started = time.perf_counter()
    relationship, view = own_record(session, record_id)  # 1
    name = f"record 0x{record_id.hex()}"
    if view.author != relationship.provider:
        raise RecordInvalid(f"{name}: its author is not the provider of its pseudonym")
    copy = fetch_own_copy(session, view)  # 2
    limit_bytes = largest_ciphertext_bytes(copy.header.streamed)
    if copy.header.ciphertext_size > limit_bytes:
        raise RecordInvalid(f"{name}: expected at most {limit_bytes} bytes of ciphertext; it has more")
    blocks = NodeBlocks(session.nodes(view.patient), session.request_key(view.patient))
    ciphertext = unixfs.cat(blocks, Cid.parse(view.cid), copy.header.ciphertext_size)  # 3
    try:
        if copy.header.streamed:
            signed, content_bytes = _save_streamed(relationship, view, copy, ciphertext, save_to)  # 4, 5, 6
            content = None
        else:
            signed, content = _open_whole(name, relationship, view, copy, b"".join(ciphertext))  # 4, 5, 6
            content_bytes = len(content)
            if save_to is not None:
                with new_private_file(save_to) as file:
                    file.write(content)
    except KeyfileError:
        raise
    except (StorageError, CryptoError) as error:
        raise RecordInvalid(f"{name}: {error}") from error
    return OpenedRecord(
        record=OwnRecord.of(view, relationship, session.directory()),
        media_type=signed.media_type,
        content=content,
        content_bytes=content_bytes,
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


def _open_whole(
    name: str, relationship: Relationship, view: RecordView, copy: OwnCopyChecked, ciphertext: bytes
) -> tuple[JwsHeader, bytes]:
    packed = open_with_owner_key(
        relationship.secrets.owner, copy.owner_wrap, copy.header, ciphertext, copy.identity
    )
    payload = unpack(packed)
    if commitment(payload) != view.payload_commitment:
        raise RecordInvalid(f"{name}: its payload is not the one that the ledger commits to")
    signed = verify_detached(payload.signature, payload.content, view.author)
    if signed.media_type != payload.media_type:
        raise RecordInvalid(
            f"{name}: its author signed it as {signed.media_type}, not as {payload.media_type}"
        )
    return signed, payload.content


def _save_streamed(
    relationship: Relationship,
    view: RecordView,
    copy: OwnCopyChecked,
    ciphertext: Iterator[bytes],
    save_to: Path | None,
) -> tuple[JwsHeader, int]:
    data_key = open_owner_wrap(relationship.secrets.owner, copy.owner_wrap, copy.header)
    content = StreamedContent(data_key, copy.header, view.payload_commitment, ciphertext)
    if save_to is None:
        raise RecordNeedsFile(content.signed.media_type, content.content_bytes)
    with new_private_file(save_to) as file:
        for piece in content:
            file.write(piece)
    return content.signed, content.content_bytes
