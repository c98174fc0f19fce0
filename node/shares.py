"""Collecting shares from custodians, in parallel, until every record has enough good ones.

No custodian is trusted: headers are compared with the ledger, each share with the header's commitment, the consent
wrap with its digest, the receipt with the release. Whoever answers wrongly is named, and the others are used.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from functools import partial

import structlog

from crypto.envelope import Header, read_header, wrong_shares
from crypto.errors import CryptoError
from crypto.header import require_digest
from crypto.hpke import EncryptionKey
from crypto.release import ReleaseBinding, ReleaseReceipt, open_release, verify_receipt
from ledger.entities import Record
from ledger.events import LoggedAccess
from node.collaborators import Ledger
from node.errors import NodeError
from node.peers import Custodian, Peers
from node.release import identity_of
from vocabulary import Role
from wire.custody import Release, ReleaseItem, ReleaseRequest, ReleaseResponse

COLLECT_SECONDS = 25.0
_log = structlog.get_logger("node.shares")
FIRST_ASKED = 5
"""How many custodians are asked before any header has told who the custodians of these records are."""


@dataclass(slots=True)
class Collected:
    """What came for one permitted record."""

    access: LoggedAccess
    record: Record
    header: Header | None = None
    consent_wrap: bytes | None = field(default=None, repr=False)
    shares: dict[int, bytes] = field(default_factory=dict, repr=False)
    failures: list[str] = field(default_factory=list)

    @property
    def enough(self) -> bool:
        """Whether lock 2 opens."""
        return self.header is not None and len(self.shares) >= self.header.threshold


class ShareCollector:
    """Asks custodians for releases: one call for each, in the threads that are kept for it."""

    def __init__(
        self,
        ledger: Ledger,
        peers: Peers,
        *,
        collect_seconds: float = COLLECT_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._peers = peers
        self._collect_seconds = collect_seconds
        self._monotonic = monotonic

    def collect(
        self, patient: bytes, permitted: Sequence[tuple[LoggedAccess, Record]], response_key: EncryptionKey
    ) -> dict[bytes, Collected]:
        """Shares by record id; a record without enough of them says in ``failures`` who did what."""
        collected = {record.record_id: Collected(access, record) for access, record in permitted}
        asked: set[bytes] = set()
        pending: dict[Future[ReleaseResponse], bytes] = {}
        deadline = self._monotonic() + self._collect_seconds
        self._ask(self._first_asked(permitted), patient, collected, response_key, asked, pending)
        while self._monotonic() < deadline:
            if not pending:
                self._ask(self._not_asked(asked), patient, collected, response_key, asked, pending)
            if not pending:
                # Who failed lately is asked when the others are not enough.
                resting = sorted((_named(collected) or self._custodians()) - asked)
                self._ask(resting, patient, collected, response_key, asked, pending, insist=True)
            if not pending:
                break
            done, _ = wait(
                pending, timeout=max(0.0, deadline - self._monotonic()), return_when=FIRST_COMPLETED
            )
            for future in done:
                self._take(future, pending.pop(future), collected, response_key)
            if all(one.enough for one in collected.values()):
                break
            # Once headers are known, whoever holds a share and was not asked yet is asked as well.
            self._ask(sorted(_named(collected) - asked), patient, collected, response_key, asked, pending)
        for future, custodian in pending.items():
            future.cancel()
            for one in collected.values():
                if not one.enough:
                    one.failures.append(f"{self._peers.called(custodian)} did not answer in time")
        return collected

    def _custodians(self) -> set[bytes]:
        members = self._ledger.snapshot().state.members
        return {address for address, each in members.items() if each.roles & Role.CUSTODIAN.bit}

    def _first_asked(self, permitted: Sequence[tuple[LoggedAccess, Record]]) -> list[bytes]:
        """This node, the authors, and other custodians, up to ``FIRST_ASKED``; nobody who failed lately."""
        custodians = sorted(self._custodians())
        first = [self._peers.own.address, *(record.author for _, record in permitted)]
        ordered = dict.fromkeys([address for address in first if address in custodians] + custodians)
        return [address for address in ordered if not self._peers.is_resting(address)][:FIRST_ASKED]

    def _not_asked(self, asked: set[bytes]) -> list[bytes]:
        rest = sorted(self._custodians() - asked)
        return [address for address in rest if not self._peers.is_resting(address)][:FIRST_ASKED]

    def _ask(
        self,
        custodians: Sequence[bytes],
        patient: bytes,
        collected: Mapping[bytes, Collected],
        response_key: EncryptionKey,
        asked: set[bytes],
        pending: dict[Future[ReleaseResponse], bytes],
        *,
        insist: bool = False,
    ) -> None:
        items = tuple(
            ReleaseItem(sequence=one.access.access.sequence, record_id=record_id)
            for record_id, one in collected.items()
            if not one.enough
        )
        request = ReleaseRequest(patient=patient, response_public_key=response_key.public, items=items)
        for address in custodians:
            if not insist and self._peers.is_resting(address):
                continue
            asked.add(address)
            try:
                future = self._peers.start(address, partial(self._release, address, request, insist))
            except NodeError as error:
                _log.warning("a custodian is not asked", custodian="0x" + address.hex(), code=error.code)
                for one in collected.values():
                    one.failures.append(f"{self._peers.called(address)}: {error.detail}")
                continue
            pending[future] = address

    def _release(self, address: bytes, request: ReleaseRequest, insist: bool) -> ReleaseResponse:
        return self._peers.custodian(address, insist=insist).release(request)

    def _take(
        self,
        future: Future[ReleaseResponse],
        custodian: bytes,
        collected: Mapping[bytes, Collected],
        response_key: EncryptionKey,
    ) -> None:
        try:
            response = future.result()
        except NodeError as error:
            _log.warning("a custodian did not answer", custodian="0x" + custodian.hex(), code=error.code)
            for one in collected.values():
                one.failures.append(error.detail)
            return
        except Exception as error:  # noqa: BLE001 - whatever one custodian brings about, the others are used
            words = self._stumbled(custodian, error)
            for one in collected.values():
                one.failures.append(words)
            return
        answered: set[bytes] = set()
        for release in response.releases:
            found = collected.get(release.record_id)
            if found is None or release.sequence != found.access.access.sequence:
                continue
            # The first answer counts: each costs this node work, and an answer may hold thousands.
            if release.record_id in answered:
                continue
            answered.add(release.record_id)
            try:
                self._take_release(release, response, custodian, found, response_key)
            except CryptoError as error:
                self._blame(custodian, found, f": {error}", "not as agreed")
            except Exception as error:  # noqa: BLE001 - as above
                found.failures.append(self._stumbled(custodian, error))
        for record_id, one in collected.items():
            if record_id not in answered and not one.enough:
                self._blame(custodian, one, " answered nothing for this permit", "answered something else")

    def _stumbled(self, custodian: bytes, error: Exception) -> str:
        """What nobody foresaw, over a custodian's answer, is its failure; and written down, since it may be ours."""
        self._peers.unforeseen.note("shares", error, custodian="0x" + custodian.hex())
        return f"{self._peers.called(custodian)}: this node stumbled over its answer: {type(error).__name__}"

    def _blame(self, custodian: bytes, one: Collected, words: str, kind: str) -> None:
        """Names a custodian in what the reader is told, and in the log, whether or not the others suffice."""
        one.failures.append(self._peers.called(custodian) + words)
        _log.warning("a custodian gave no good share", custodian="0x" + custodian.hex(), kind=kind)

    def _take_release(
        self,
        release: Release,
        response: ReleaseResponse,
        custodian: bytes,
        one: Collected,
        response_key: EncryptionKey,
    ) -> None:
        if release.sealed is None:
            words = (release.refusal or "it gave no reason")[:300]
            self._blame(custodian, one, f" released nothing: {words}", "refused")
            return
        header = one.header
        if header is None:
            data = response.header_by_record.get("0x" + one.record.record_id.hex(), b"")
            identity = identity_of(self._ledger.scope, one.record)
            header = read_header(data, one.record.header_digest, identity)
            one.header = header
        index = header.share_index_of(custodian)
        binding = ReleaseBinding(
            chain_id=self._ledger.scope.chain_id,
            contract=self._ledger.scope.contract,
            patient=one.record.patient,
            sequence=release.sequence,
            record_id=one.record.record_id,
            share_index=index,
            generation=header.generation,
            custodian=custodian,
        )
        opened = open_release(release.sealed, response_key, binding)
        if wrong_shares(header, {index: opened.share}):
            self._blame(custodian, one, f" released a wrong share (share {index})", "wrong share")
            return
        require_digest("consent_wrap", opened.consent_wrap, header.consent_wrap_digest)
        _check_release_receipt(release, binding, one)
        one.shares[index] = opened.share
        one.consent_wrap = opened.consent_wrap


def _check_release_receipt(release: Release, binding: ReleaseBinding, one: Collected) -> None:
    receipt = ReleaseReceipt.from_bytes(release.receipt or b"")
    verify_receipt(receipt, release.receipt_signature or b"")
    access = one.access
    expected = (
        binding,
        access.requester,
        access.access.consent_id,
        access.access.response_key_digest,
        one.record.header_digest,
        hashlib.sha256(release.sealed or b"").digest(),
    )
    found = (
        receipt.binding,
        receipt.requester,
        receipt.consent_id,
        receipt.response_key_digest,
        receipt.header_digest,
        receipt.sealed_digest,
    )
    if found != expected:
        raise CryptoError("its receipt is for another release")


def _named(collected: Mapping[bytes, Collected]) -> set[bytes]:
    """The custodians that the headers known so far name."""
    return {entry.address for one in collected.values() if one.header for entry in one.header.custodians}


def custodians_of(header: Header, peers: Peers, own: bytes) -> tuple[Custodian, ...]:
    """A record's custodians as sources of its blocks: this node, the author, the others; who failed lately last."""
    author = header.identity.author
    addresses = dict.fromkeys([own, author, *(entry.address for entry in header.custodians)])
    ordered = sorted(addresses, key=peers.is_resting)
    return tuple(peers.custodian(address, insist=peers.is_resting(address)) for address in ordered)
