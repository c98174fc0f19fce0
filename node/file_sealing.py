"""A large file on its way into the block store: sealed as it comes, never on disk or whole in memory unsealed.

Whatever ends this before the journal knows of it leaves blocks of ciphertext that nothing refers to, under a key that
is gone: ``close`` drops them, and after a kill the sweep does.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import SQLAlchemyError

from crypto.binding import RecordIdentity
from crypto.envelope import Recipients, SealedWraps
from crypto.keyring import Keyring
from crypto.signer import Signer
from crypto.streamed_sealing import StreamSealer
from node.blocks import BlockService
from node.errors import NodeError
from node.sealing import CustodyPlan
from records import FilePayload
from storage import Cid, Codec, StorageError, unixfs

_log = structlog.get_logger("node.file_sealing")
BLOCKS_AT_ONCE = 4
"""How many blocks are stored together: their arrival is one transaction."""
CLOSE_SECONDS = 5.0
"""How long what was in vain is tidied up, with a turn that others wait for."""
FILE_RESOURCES = 1
"""A file counts as one resource."""


@dataclass(frozen=True, slots=True)
class SealedFile:
    """One file, sealed and in the own block store, with what journal and ledger need."""

    payload: FilePayload
    nonce: int
    payload_commitment: bytes
    content_digest: bytes
    sealed: SealedWraps
    cids: tuple[Cid, ...]

    @property
    def resource_count(self) -> int:
        """As ``SealedPayload.resource_count``."""
        return FILE_RESOURCES


class FileSealing:
    """Seals one file. ``write`` its content in pieces, then ``finish``; ``close`` in any case."""

    def __init__(
        self,
        payload: FilePayload,
        nonce: int,
        identity: RecordIdentity,
        author: Signer,
        blocks: BlockService,
        signed_at_seconds: int,
    ) -> None:
        self._payload, self._nonce = payload, nonce
        self._blocks = blocks
        self._sealer = StreamSealer(
            identity,
            author,
            media_type=payload.media_type,
            content_bytes=payload.content_bytes,
            signed_at_seconds=signed_at_seconds,
        )
        self._arriving = _ArrivingBlocks(blocks, author.address)
        self._dag = unixfs.DagWriter(self._arriving)

    @property
    def content_digest(self) -> bytes:
        """SHA-256 of the content so far, 32 bytes."""
        return self._sealer.content_digest

    def write(self, piece: bytes) -> None:
        """Takes the next piece of the content.

        Raises:
            crypto.FormatError: more came than was announced.
            StoreIsFull, storage.StorageError: the store cannot take it.
        """
        self._dag.write(self._sealer.update(piece))

    def finish(self, keyring: Keyring, plan: CustodyPlan, journal_public: bytes) -> SealedFile:
        """Signs and wraps; all blocks are durable when it returns.

        Raises:
            crypto.CryptoError: less came than was announced, or a recipient's key is none.
            StoreIsFull, storage.StorageError: as ``write``.
        """
        self._dag.write(self._sealer.finalize())
        root = self._dag.finish()
        self._arriving.flush()
        recipients = Recipients(
            keyring.epoch,
            keyring.owner_public,
            keyring.category_public(self._payload.category),
            plan.custodians,
            plan.threshold,
            journal_public=journal_public,
        )
        return SealedFile(
            payload=self._payload,
            nonce=self._nonce,
            payload_commitment=self._sealer.payload_commitment,
            content_digest=self._sealer.content_digest,
            sealed=self._sealer.wrap(str(root), recipients),
            cids=tuple(self._arriving.cids),
        )

    def close(self) -> None:
        """Drops the blocks that nothing came to need, as far as that is quickly done; the sweep does the rest.

        It raises nothing of the store's: it is done when something else went wrong, and that is to be told.
        """
        deadline = time.monotonic() + CLOSE_SECONDS
        try:
            for cid in self._arriving.cids:
                if time.monotonic() > deadline:
                    break
                self._blocks.drop_unneeded([cid])
        except (StorageError, NodeError, SQLAlchemyError) as error:
            _log.warning("blocks left to the sweep", kind=type(error).__name__)


class _ArrivingBlocks:
    """Brings blocks into the store, several at a time, each counted against the free room of the disk."""

    def __init__(self, blocks: BlockService, uploader: bytes) -> None:
        self._blocks, self._uploader = blocks, uploader
        self._waiting: list[tuple[Cid, bytes]] = []
        self.cids: list[Cid] = []

    def put(self, block: bytes, codec: Codec = Codec.RAW) -> Cid:
        """Durable after the next ``flush``."""
        cid = Cid.of(block, codec)
        self._waiting.append((cid, block))
        if len(self._waiting) == BLOCKS_AT_ONCE:
            self.flush()
        return cid

    def flush(self) -> None:
        """All blocks so far are durable when it returns."""
        waiting, self._waiting = self._waiting, []
        self._keep(waiting)

    def _keep(self, blocks: Sequence[tuple[Cid, bytes]]) -> None:
        self._blocks.require_room(sum(len(block) for _, block in blocks))
        # Named before they are stored: what a failure in the middle left is dropped too.
        self.cids += [cid for cid, _ in blocks]
        self._blocks.put_many(self._uploader, blocks)
