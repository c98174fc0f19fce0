"""Fetching what opens an own record, from whichever node has it, checked against the ledger."""

from dataclasses import dataclass, field

from crypto import CryptoError
from crypto.binding import RecordIdentity
from crypto.header import Header, read_header, require_digest
from storage import BlockCorruptError, BlockNotFoundError, BlockTooLargeError, Cid
from wallet.errors import NodeError, RecordInvalid
from wallet.nodes import NodeClient
from wallet.session import Session
from wire.patients import RecordView
from wire.signing import RequestKey


@dataclass(frozen=True, slots=True)
class OwnCopyChecked:
    """A header that the ledger's digest confirms, and wraps that go with it."""

    header: Header
    identity: RecordIdentity
    owner_wrap: bytes = field(repr=False)
    consent_wrap: bytes = field(repr=False)


def identity_of(session: Session, record: RecordView) -> RecordIdentity:
    """The record as the ledger has it."""
    return RecordIdentity(
        chain_id=session.content.chain_id,
        contract=session.content.contract,
        record_id=record.record_id,
        patient=record.patient,
        author=record.author,
        category=record.category,
    )


def fetch_own_copy(session: Session, record: RecordView) -> OwnCopyChecked:
    """Header and wraps of an own record, from the first node whose answer the ledger confirms.

    Raises:
        RecordInvalid: no node has it, or none as the ledger says; the message has each node's reason.
    """
    key = session.request_key(record.patient)
    identity = identity_of(session, record)
    reasons = []
    for client in session.nodes(record.patient):
        try:
            copy = client.own_copy(key, record.record_id)
            header = read_header(copy.header, record.header_digest, identity)
            if header.ciphertext_cid != record.cid:
                reasons.append(f"{client.name}: its header names another ciphertext than the ledger")
                continue
            require_digest("owner wrap", copy.owner_wrap, header.owner_wrap_digest)
            require_digest("consent wrap", copy.consent_wrap, header.consent_wrap_digest)
            return OwnCopyChecked(header, identity, copy.owner_wrap, copy.consent_wrap)
        except NodeError as error:
            reasons.append(str(error))
        except CryptoError as error:
            reasons.append(f"{client.name}: {error}")
    raise RecordInvalid(f"record 0x{record.record_id.hex()}: no node gave its header: {'; '.join(reasons)}")


class NodeBlocks:
    """Blocks of one pseudonym's records, from whichever node has them; ``storage`` hashes each one."""

    def __init__(self, clients: list[NodeClient], key: RequestKey) -> None:
        self._clients, self._key = clients, key

    def get(self, cid: Cid) -> bytes:
        """The block of a CID.

        Raises:
            BlockNotFoundError: no node gave it; the message has each node's reason.
        """
        reasons = []
        for position, client in enumerate(self._clients):
            try:
                block = client.block(self._key, cid)
            except NodeError as error:
                reasons.append(str(error))
            except (BlockCorruptError, BlockTooLargeError) as error:
                reasons.append(f"{client.name}: {error}")
            else:
                self._clients.insert(0, self._clients.pop(position))
                return block
        raise BlockNotFoundError(f"no node gave block {cid}: {'; '.join(reasons)}")
