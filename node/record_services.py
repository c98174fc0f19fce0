"""The services of records, put together: custody, publishing, reading, and what keeps them clean and complete."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from fastapi import APIRouter

from crypto.header import Header
from crypto.hpke import EncryptionKey
from ledger.sender import Sender
from node.asking import AccessAsker
from node.block_sources import FirstGood
from node.blocks import BlockService
from node.breaker import BreakerState
from node.collaborators import Grants, Keyrings, Openings, Patients
from node.config import LARGEST_FILE_BYTES
from node.custody import CustodyService
from node.database import Database
from node.deposits import DepositStore
from node.distribution import Distributor
from node.downloads import Downloads
from node.identity import Identity
from node.ledger_view import LedgerView
from node.metrics import Metrics
from node.orphans import OrphanSweeper
from node.own_copies import OwnCopies
from node.peers import OwnCustodian, Peers
from node.publication_book import PublicationBook
from node.publication_steps import PublicationSteps
from node.publish import Publisher
from node.publish_files import FilePublisher
from node.publish_journal import PublishJournal
from node.reading import ReadingService
from node.release import ReleaseService
from node.replica_store import ReplicaStore
from node.replication import Replication
from node.request_auth import Authentication
from node.routes import blocks as block_routes
from node.routes import custody as custody_routes
from node.routes import downloads as download_routes
from node.routes import files as file_routes
from node.routes import publications as publication_routes
from node.routes import reads as read_routes
from node.sealing import CustodyPolicy
from node.shares import ShareCollector, custodians_of
from node.stopwatch import NewStopwatch, Stopwatch
from node.unforeseen import UnforeseenFailures
from storage import BlockStore

RESUME_SECONDS = 5.0
REPAIR_SECONDS = 15.0
SWEEP_SECONDS = 60.0
PROBE_EVERY_SECONDS = 2.0
PROBE_WAIT_SECONDS = 0.2
REPLICATION_SECONDS = 5.0
THREADS = 16
"""How many records are opened at a time."""
_CONTENT_LABEL = b"phr/v1/publication-content-key"


class RecordServices:
    """Everything of a node that handles records. ``close`` ends its threads and connections."""

    def __init__(
        self,
        identity: Identity,
        ledger: LedgerView,
        database: Database,
        store: BlockStore,
        sender: Sender,
        *,
        patients: Patients,
        keyrings: Keyrings,
        grants: Grants,
        openings: Openings,
        policy: CustodyPolicy,
        reserve_bytes: int = 0,
        free_bytes: Callable[[], int] | None = None,
        largest_file_bytes: int = LARGEST_FILE_BYTES,
        new_stopwatch: NewStopwatch = Stopwatch,
        unforeseen: UnforeseenFailures | None = None,
    ) -> None:
        """``store`` is the node's own block store; for ``reserve_bytes`` see ``BlockService``."""
        self._ledger = ledger
        self._opening = ThreadPoolExecutor(THREADS, thread_name_prefix="opening")
        self.blocks = BlockService(
            store, database, ledger, reserve_bytes=reserve_bytes, free_bytes=free_bytes
        )
        self.deposits = DepositStore(database)
        self.custody = CustodyService(identity, ledger, self.blocks, self.deposits)
        self.release = ReleaseService(identity, ledger, self.custody, self.deposits, database)
        own = OwnCustodian(identity, self.blocks, self.custody, self.release)
        self.unforeseen = unforeseen or UnforeseenFailures()
        self.peers = Peers(ledger, identity.request_key, own, unforeseen=self.unforeseen)
        self.journal = PublishJournal(database)
        distributor = Distributor(identity, self.peers, self.blocks, self.journal)
        self.steps = PublicationSteps(
            identity,
            ledger,
            keyrings,
            self.journal,
            distributor,
            sender,
            new_stopwatch=new_stopwatch,
            replicas=policy.replicas,
        )
        book = PublicationBook(
            identity,
            ledger,
            self.blocks,
            self.journal,
            self.steps,
            policy,
            content_key(identity.encryption_keys[-1]),
            is_healthy=self.peers.is_healthy,
        )
        self.publisher = Publisher(
            identity,
            ledger,
            patients,
            keyrings,
            self.blocks,
            self.journal,
            self.steps,
            sender,
            book,
            new_stopwatch=new_stopwatch,
        )
        self.files = FilePublisher(
            identity,
            ledger,
            patients,
            keyrings,
            self.blocks,
            book,
            self.steps,
            limit_bytes=largest_file_bytes,
            new_stopwatch=new_stopwatch,
        )
        asker = AccessAsker(identity, ledger, openings, sender)
        collector = ShareCollector(ledger, self.peers)

        def source_of(header: Header) -> FirstGood:
            return FirstGood(custodians_of(header, self.peers, identity.address), self.unforeseen)

        self.downloads = Downloads(source_of)
        self.reading = ReadingService(
            identity,
            ledger,
            grants,
            asker,
            collector,
            source_of,
            self.downloads,
            self._opening,
            self.unforeseen,
        )
        self.own_copies = OwnCopies(identity, ledger, self.deposits, database)
        self.sweeper = OrphanSweeper(ledger, self.deposits, self.blocks)
        self.replication = Replication(identity, ledger, self.blocks, ReplicaStore(database), self.peers)

    def routers(self, auth: Authentication, metrics: Metrics) -> tuple[APIRouter, ...]:
        """The routes of all of it."""
        return (
            block_routes.router(auth, self.blocks),
            custody_routes.router(auth, self.custody, self.release, self.replication, metrics),
            publication_routes.router(auth, self._ledger, self.publisher),
            file_routes.router(auth, self.files),
            read_routes.router(auth, self.reading, self.own_copies),
            download_routes.router(auth, self.downloads),
        )

    def register(self, every: Callable[[float, str, Callable[[], object]], object]) -> None:
        """Names the work that is done at start and at intervals: ``every(seconds, name, action)``."""
        every(SWEEP_SECONDS, "orphans", self.sweeper.sweep)

    def register_repairs(self, every: Callable[[float, str, Callable[[], object]], object]) -> None:
        """As ``register``, for work that may take long: in a thread of its own."""
        every(RESUME_SECONDS, "publications", self.publisher.resume)
        every(REPAIR_SECONDS, "deposits", self.steps.repair)
        every(REPLICATION_SECONDS, "replication", self.replication.turn)

    def register_probes(self, every: Callable[[float, str, Callable[[], object]], object]) -> None:
        """As ``register``, for what must wait for nothing else."""
        every(PROBE_EVERY_SECONDS, "peers", lambda: self.peers.probe(PROBE_WAIT_SECONDS))

    def watch(self, metrics: Metrics) -> None:
        """Adds the figures of replicas and of peers."""
        metrics.watch_each(
            "phr_replicas",
            "Records on the ledger by what this node holds of them",
            "state",
            lambda: {state.value: count for state, count in self.replication.report().by_state.items()},
        )
        metrics.watch(
            "phr_replicas_to_check",
            "Records whose replica should have been looked at again",
            lambda: self.replication.report().to_check,
        )
        metrics.watch(
            "phr_published_under_replicated",
            "Own records that some custodian does not hold",
            lambda: self.replication.report().published_under_replicated,
        )
        metrics.watch_each(
            "phr_deposits_asked_again",
            "Deposits that another custodian said to have lost, and gets again, since the start",
            "member",
            lambda: {
                "0x" + member.hex(): count for member, count in self.replication.report().asked_again.items()
            },
        )
        metrics.watch_each(
            "phr_unforeseen_failures",
            "Failures that nobody foresaw and that were worked around, since the start",
            "place",
            lambda: {place: float(count) for place, count in self.unforeseen.by_place().items()},
        )
        metrics.watch_each(
            "phr_peer_healthy",
            "1 when another custodian answers and says that it can do its work",
            "member",
            lambda: {"0x" + peer.member.address.hex(): float(peer.healthy) for peer in self.peers.states()},
        )
        metrics.watch_each(
            "phr_peer_breaker_open",
            "1 when another custodian is not called, since it failed lately",
            "member",
            lambda: {
                "0x" + peer.member.address.hex(): float(peer.breaker is not BreakerState.CLOSED)
                for peer in self.peers.states()
            },
        )

    def close(self) -> None:
        """Waits for the calls that are under way, and starts no new ones."""
        self._opening.shutdown(wait=True, cancel_futures=True)
        self.peers.close()


def content_key(oldest: EncryptionKey) -> bytes:
    """The key (32 bytes) of the digests that find duplicates, from the member's oldest key, which stays for ever."""
    return HKDF(SHA256(), 32, None, _CONTENT_LABEL).derive(oldest.seed)
