"""The composition root: every part of a node, made from its configuration, started and stopped together."""

import math
import os
import threading
from typing import Self

from fastapi import APIRouter, FastAPI

from ledger.endpoints import connect
from ledger.engine import ENGINES
from ledger.follow import Follower
from ledger.sender import Sender
from node.app import create_app
from node.background import Following, Housekeeping
from node.backups import Backups
from node.block_store import open_block_store
from node.config import NodeConfig
from node.database import Database, TakenOver
from node.errors import ConfigurationError, NotInTime, Unavailable
from node.follow_store import DatabaseFollowStore
from node.grants import Grants
from node.history import History
from node.initialise import open_identity, read_deployment
from node.keyrings import Keyrings
from node.ledger_view import LedgerView, require_advancing
from node.listener import Listener
from node.metrics import Metrics
from node.nonces import NonceMemory
from node.openings import Openings
from node.outbox import DatabaseOutbox
from node.patient_register import PatientRegister
from node.process_lock import take_lock
from node.record_services import RecordServices
from node.registration import Registrations
from node.relay import Relay
from node.request_auth import Authentication
from node.routes import audit, patients, public, staff
from node.sealing import CustodyPolicy
from node.staff import StaffRegister
from node.status import Holdings, Status
from node.stopwatch import NewStopwatch, Stopwatch
from node.unforeseen import UnforeseenFailures

PRUNE_SECONDS = 60.0
STORE_SECONDS = 10.0
RESUME_SECONDS = 10.0
CLAIM_SECONDS = 1.0


class Node:
    """One member's node. Made from its configuration it holds everything ready; ``start`` sets it going.

    ``failed`` holds, once it happened, why the node cannot go on (its chain was replaced): it then serves no more.
    """

    def __init__(self, config: NodeConfig, *, new_stopwatch: NewStopwatch = Stopwatch) -> None:
        """Opens keys, database and block store; ``new_stopwatch`` times the steps of each publication.

        Raises:
            ConfigurationError, crypto.KeyfileError, storage.StorageError: something of it cannot be used.
        """
        self.config = config
        self.failed: Exception | None = None
        self.ended = threading.Event()
        """Set when the node stopped serving, by ``stop`` or because it failed."""
        self._make_foundation()
        self._make_patient_services()
        self._make_record_services(new_stopwatch)
        self._make_edge()

    def _make_foundation(self) -> None:
        config = self.config
        self.deployment = read_deployment(config.path(config.deployment))
        self.identity = open_identity(config)
        self.database = Database(config.database)
        self.metrics = Metrics()
        self.unforeseen = UnforeseenFailures()
        self.chain = connect(
            config.chain_urls, ENGINES[config.engine], self.deployment, config.rpc_confirmations
        )
        self.outbox = DatabaseOutbox(self.database)
        self.sender = Sender(
            self.chain,
            self.identity.address,
            self.identity.account.sign_digest,
            self.outbox,
            chain_id=self.deployment.chain_id,
            require_ready=self._require_advancing,
        )
        follower = Follower(self.chain, self.deployment, DatabaseFollowStore(self.database))
        self.ledger = LedgerView(
            self.database, self.deployment.scope, self.chain.block, wake=lambda: self.following.wake()
        )
        self.following = Following(follower, self.ledger, self._fail)
        self.housekeeping = Housekeeping(self.ledger.wait_until_read)
        self.repairs = Housekeeping(self.ledger.wait_until_read)
        # By itself: who lost the database, or whose peer is down, must know in moments, whatever else is under way.
        self.watching = Housekeeping(lambda _: True)
        self.watching.every(CLAIM_SECONDS, "holding the database alone", self._keep_claim)

    def _make_patient_services(self) -> None:
        database, ledger, identity = self.database, self.ledger, self.identity
        self.keyrings = Keyrings(
            database,
            ledger,
            identity,
            lambda member, patient, epoch: self.records.peers.node(member).keyring(patient, epoch),
            self.unforeseen,
        )
        self.patients = PatientRegister(database, ledger, identity)
        self.registrations = Registrations(
            database, ledger, identity, self.sender, self.keyrings, self.patients
        )
        self.relay = Relay(ledger, self.sender)
        self.grants = Grants(database, ledger, identity)
        self.backups = Backups(database, self.config.backup_quota_bytes)
        self.openings = Openings(database, ledger, identity)
        self.history = History(database, ledger, identity)

    def _make_record_services(self, new_stopwatch: NewStopwatch) -> None:
        policy = CustodyPolicy(
            self.config.custodians or None, self.config.threshold or None, self.config.replicas
        )
        self._opened_store = open_block_store(self.config)
        self.records = RecordServices(
            self.identity,
            self.ledger,
            self.database,
            self._opened_store.store,
            self.sender,
            patients=self.patients,
            keyrings=self.keyrings,
            grants=self.grants,
            openings=self.openings,
            policy=policy,
            reserve_bytes=self.config.free_disk_bytes,
            largest_file_bytes=self.config.largest_file_bytes,
            free_bytes=self._opened_store.free_bytes,
            new_stopwatch=new_stopwatch,
            unforeseen=self.unforeseen,
        )

    def _make_edge(self) -> None:
        self.staff = StaffRegister(self.database)
        self.nonces = NonceMemory(self.database)
        self.authentication = Authentication(self.identity, self.ledger, self.nonces, self.staff)
        self.status = Status(
            self.config.name,
            self.database,
            self.ledger,
            self.identity,
            self.outbox,
            self._holdings,
            self._background_problems,
            self.chain.problems,
            self.chain.believed_alone,
        )
        self.metrics.watch("phr_final_block", "Number of the final block", lambda: self._final()[0])
        self.metrics.watch(
            "phr_final_age_seconds", "Seconds since the final head moved", lambda: self._final()[1]
        )
        self.status.watch(self.metrics)
        self.housekeeping.every(RESUME_SECONDS, "sending transactions again", self.sender.resume)
        # Whoever chooses custodians asks whether this node is ready, and it is not while its Kubo is down.
        self.housekeeping.every(
            STORE_SECONDS, "asking the block store for room", self._opened_store.free_bytes
        )
        self.housekeeping.every(PRUNE_SECONDS, "forgetting old nonces", self.nonces.prune)
        self.housekeeping.every(PRUNE_SECONDS, "dropping expired registrations", self.registrations.prune)
        self.records.register(self.housekeeping.every)
        self.records.register_repairs(self.repairs.every)
        self.records.register_probes(self.watching.every)
        self.records.watch(self.metrics)
        self.app: FastAPI = create_app(self.routers(), self.metrics)
        self._listener = Listener(self.app, self.config.host, self.config.port)
        self._lock: int | None = None

    def routers(self) -> tuple[APIRouter, ...]:
        """Every route of the node."""
        auth = self.authentication
        return (
            public.router(self.deployment, self.ledger, self.identity, self.status),
            patients.ledger_router(auth, self.ledger, self.history),
            patients.keyring_router(auth, self.keyrings),
            patients.message_router(auth, self.registrations, self.relay, self.grants),
            patients.backup_router(auth, self.backups),
            staff.router(auth, self.registrations, self.patients, self.grants, self.history, self.status),
            staff.metrics_router(auth, self.metrics),
            audit.router(auth, self.openings),
            *self.records.routers(auth, self.metrics),
        )

    def start(self) -> None:
        """Takes lock and database, follows the ledger and listens; returns when requests are answered.

        A node that could not start is stopped.

        Raises:
            ConfigurationError: another process runs this node, the database cannot be used, or the port is taken.
        """
        try:
            self._lock = take_lock(self.config.directory)
            # Before the schema is touched: another process may run the node, perhaps of an older version.
            self.database.take_over()
            self.watching.start()
            self.following.start()
            self._listener.start()
            self.housekeeping.start()
            self.repairs.start()
        except BaseException:
            self.stop()
            raise

    def wait_until_ready(self, timeout_seconds: float = 30.0) -> None:
        """Waits until the ledger was read once.

        Raises:
            NotInTime: it was not; the message says what is in the way.
        """
        try:
            self.ledger.wait_for_block(0, timeout_seconds)
        except NotInTime:
            raise NotInTime(f"the node did not get ready: {self.following.problem()}") from self.failed

    def stop(self) -> None:
        """Ends serving, then the threads behind it, and closes everything. Again is no error."""
        self._listener.stop()
        self.housekeeping.stop()
        self.repairs.stop()
        self.watching.stop()
        self.following.stop()
        self.records.close()
        self._opened_store.close()
        self.chain.close()
        self.database.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        self.ended.set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> bytes:
        """The member's address, 20 bytes."""
        return self.identity.address

    @property
    def port(self) -> int:
        """The TCP port on which the node listens."""
        return self._listener.port

    @property
    def url(self) -> str:
        """Where the node answers on this machine."""
        return f"http://{self.config.host}:{self.port}"

    def _fail(self, error: Exception) -> None:
        self.failed = error
        self._listener.end()
        self.ended.set()

    def _keep_claim(self) -> None:
        try:
            self.database.claim()
        except (ConfigurationError, TakenOver) as error:
            self._fail(error)

    def _require_advancing(self) -> None:
        require_advancing(self.ledger.snapshot().age_seconds)

    def _holdings(self) -> Holdings:
        held, not_on_ledger = self.records.deposits.count()
        return Holdings(
            records_held=held,
            deposits_without_record=not_on_ledger,
            publications_in_progress=self.records.journal.count_in_progress(),
            ciphertext_bytes=self.records.blocks.held_bytes(),
            replication=self.records.replication.report(),
            peers=self.records.peers.states(),
        )

    def _background_problems(self) -> tuple[str, ...]:
        problem, tasks = self.following.problem(), (self.housekeeping, self.repairs, self.watching)
        return (
            *(() if problem is None else (problem,)),
            *(each for task in tasks for each in task.problems()),
        )

    def _final(self) -> tuple[float, float]:
        try:
            snapshot = self.ledger.snapshot()
        except Unavailable:
            return math.nan, math.nan
        return float(snapshot.final.number), snapshot.age_seconds
