"""The wallet: one person's pseudonyms, keys, consents and records. Every operation in one screen; each is elsewhere.

Errors are those of ``wallet.errors``; ``TooFewNodes`` and ``NodesDisagree`` may come from every call that asks nodes.
"""

import ssl
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from crypto.passphrase import DEFAULT_COST, PassphraseCost
from crypto.recovery import RecoveryPhrase
from vocabulary import Category, Purpose
from wallet import closing, granting, overview, policy, reading, registration, revoking
from wallet.backup import store_backup
from wallet.beginning import create_session, recover_session, replace_phrase
from wallet.content import KnownNode, Relationship
from wallet.directory import Directory
from wallet.granting import GrantOutcome
from wallet.history import HistoryEntry, joined_history
from wallet.overview import ConsentSummary, OwnRecord, RecordsOverview
from wallet.policy import Direction
from wallet.previews import (
    ClosingPreview,
    GrantPreview,
    PolicyChange,
    PolicyPreview,
    RestrictionPreview,
    RevocationPreview,
)
from wallet.reading import OpenedRecord
from wallet.receipts import RevocationReceipt, build_receipt
from wallet.recovery import Recovery
from wallet.registration import RegistrationTicket
from wallet.resuming import ResumeReport, describe, resume
from wallet.rotation import renew_keys
from wallet.session import Progress, Session
from wallet.state_checks import require_no_rotation
from wallet.store import VaultStore
from wallet.terms import GrantWish
from wallet.transport import new_http_client


def _silent(step: str) -> None:
    """The progress of nobody who listens."""


class Wallet:
    """An open wallet; a context manager. One process at a time has it open, and not several threads."""

    def __init__(self, session: Session) -> None:
        self._session = session

    # ---- life of a wallet

    @classmethod
    def create(
        cls,
        path: Path,
        passphrase: str,
        node_urls: Sequence[str],
        *,
        cost: PassphraseCost = DEFAULT_COST,
        progress: Progress = _silent,
        tls: ssl.SSLContext | None = None,
    ) -> tuple["Wallet", RecoveryPhrase]:
        """A new wallet at ``path``, its first backup at two nodes, and the phrase to be written on paper.

        The phrase is nowhere in the vault. When this raises, nothing is left at ``path``.
        """
        http = new_http_client(tls)
        try:
            session, phrase = create_session(path, passphrase, node_urls, http, cost, progress)
        except BaseException:
            http.close()
            raise
        return cls(session), phrase

    @classmethod
    def open(
        cls,
        path: Path,
        passphrase: str,
        *,
        cost: PassphraseCost = DEFAULT_COST,
        progress: Progress = _silent,
        tls: ssl.SSLContext | None = None,
    ) -> "Wallet":
        """The wallet at ``path``; no node is asked. ``cost`` is that of the next saves."""
        return cls(Session(VaultStore.open(path, passphrase, cost), new_http_client(tls), progress))

    @classmethod
    def recover(
        cls,
        path: Path,
        passphrase: str,
        phrase: RecoveryPhrase,
        node_urls: Sequence[str],
        *,
        cost: PassphraseCost = DEFAULT_COST,
        progress: Progress = _silent,
        tls: ssl.SSLContext | None = None,
    ) -> tuple["Wallet", Recovery]:
        """The wallet of a phrase, from the newest backup of all members' nodes, compared with the ledger.

        When this raises, nothing is left at ``path``. Unfinished operations came back too: resume them.
        """
        http = new_http_client(tls)
        try:
            session, report = recover_session(path, passphrase, phrase, node_urls, http, cost, progress)
        except BaseException:
            http.close()
            raise
        return cls(session), report

    def close(self) -> None:
        """Ends connections and lets other processes open the vault."""
        self._session.close()

    def __enter__(self) -> "Wallet":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def backup(self) -> tuple[str, ...]:
        """Stores a backup now; returns the names of the nodes that have it."""
        return store_backup(self._session)

    def replace_phrase(self) -> RecoveryPhrase:
        """A new recovery phrase: for one that was lost or seen. The old one finds only old backups from here on."""
        return replace_phrase(self._session)

    def renew_keys(self, patient: bytes) -> Relationship:
        """Fresh keys for a pseudonym, above whatever epoch the ledger has: after a recovery that misses epochs."""
        require_no_rotation(self._session, patient)
        return renew_keys(self._session, patient)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """What a crash or an absent node left to do, in words; no node is asked."""
        return tuple(describe(self._session, entry) for entry in self._session.content.journal)

    def resume(self) -> ResumeReport:
        """Carries on with what is unfinished."""
        return resume(self._session)

    # ---- members and relationships

    def directory(self) -> Directory:
        """The members of the network, as two nodes agree on them."""
        return self._session.directory()

    @property
    def nodes(self) -> tuple[KnownNode, ...]:
        """The nodes that this wallet talks to."""
        return self._session.content.nodes

    @property
    def relationships(self) -> tuple[Relationship, ...]:
        """All relationships, as this wallet last knew them."""
        return self._session.content.relationships

    def find_relationship(self, text: str) -> Relationship:
        """The relationship of a provider's name, or of a pseudonym's address."""
        return self._session.find_relationship(text)

    def request_registration(self, provider: str) -> RegistrationTicket:
        """A new pseudonym for a provider, and the code to show at its desk."""
        return registration.request_registration(self._session, provider)

    def complete_registrations(self) -> tuple[Relationship, ...]:
        """Looks once which requests the providers have confirmed; returns those that became active."""
        return registration.complete_registrations(self._session)

    def preview_end(self, patient: bytes) -> ClosingPreview:
        """What ending a relationship concerns."""
        return closing.preview_closing(self._session, (patient,))

    def end(self, patient: bytes) -> Relationship:
        """Ends a relationship: its provider publishes no more."""
        return closing.end_relationship(self._session, patient)

    def preview_freeze(self, patients: Sequence[bytes] | None = None) -> ClosingPreview:
        """What a freeze concerns."""
        return closing.preview_closing(self._session, patients)

    def freeze(self, patients: Sequence[bytes] | None = None) -> tuple[Relationship, ...]:
        """Freezes pseudonyms, or all, for good."""
        return closing.freeze(self._session, patients)

    # ---- consents

    def preview_grant(self, wish: GrantWish) -> GrantPreview:
        """What granting would do."""
        return granting.preview_grant(self._session, wish)

    def grant(self, preview: GrantPreview) -> GrantOutcome:
        """Grants exactly what was previewed."""
        return granting.grant(self._session, preview)

    def consents(self) -> tuple[ConsentSummary, ...]:
        """Every consent of every pseudonym."""
        return overview.consents_overview(self._session)

    def preview_revocation(self, consent_id: bytes) -> RevocationPreview:
        """What revoking would change."""
        return revoking.preview_revocation(self._session, consent_id)

    def revoke(self, consent_id: bytes) -> RevocationReceipt:
        """Revokes a consent and rotates the keys of its categories."""
        return revoking.revoke(self._session, consent_id)

    def revocation_receipt(self, consent_id: bytes) -> RevocationReceipt:
        """The evidence of a revoked consent once more, without what only the act itself knew."""
        return build_receipt(self._session, consent_id, self._session.directory())

    # ---- the deny policy

    def preview_deny(
        self,
        categories: Sequence[Category] = (),
        purposes: Sequence[Purpose] = (),
        patients: Sequence[bytes] | None = None,
    ) -> PolicyPreview:
        """What denying would change."""
        return policy.preview_policy(self._session, Direction.DENY, categories, purposes, patients)

    def deny(
        self,
        categories: Sequence[Category] = (),
        purposes: Sequence[Purpose] = (),
        patients: Sequence[bytes] | None = None,
    ) -> tuple[PolicyChange, ...]:
        """Denies categories and purposes to everybody, whatever was granted."""
        return policy.change_policy(self._session, Direction.DENY, categories, purposes, patients)

    def preview_allow(
        self,
        categories: Sequence[Category] = (),
        purposes: Sequence[Purpose] = (),
        patients: Sequence[bytes] | None = None,
    ) -> PolicyPreview:
        """What allowing again would change."""
        return policy.preview_policy(self._session, Direction.ALLOW, categories, purposes, patients)

    def allow(
        self,
        categories: Sequence[Category] = (),
        purposes: Sequence[Purpose] = (),
        patients: Sequence[bytes] | None = None,
    ) -> tuple[PolicyChange, ...]:
        """Takes categories and purposes out of the deny policy."""
        return policy.change_policy(self._session, Direction.ALLOW, categories, purposes, patients)

    def preview_restrict(self, record_id: bytes) -> RestrictionPreview:
        """Who could no longer read a record."""
        return policy.preview_restriction(self._session, record_id)

    def restrict(self, record_id: bytes) -> None:
        """Restricts a record to consents that name it."""
        policy.set_restriction(self._session, record_id, True)

    def unrestrict(self, record_id: bytes) -> None:
        """Lifts a restriction."""
        policy.set_restriction(self._session, record_id, False)

    # ---- records and history

    def records(self) -> RecordsOverview:
        """All records of all pseudonyms."""
        return overview.records_overview(self._session)

    def find_record(self, text: str) -> OwnRecord:
        """The record of an id, or of its first digits."""
        return overview.find_record(self._session, text)

    def read(self, record_id: bytes, save_to: Path | None = None) -> OpenedRecord:
        """Opens an own record, verified to its author's signature; ``save_to`` names a new file for its content."""
        return reading.read_record(self._session, record_id, save_to)

    def history(self) -> tuple[HistoryEntry, ...]:
        """Who asked for what, and what was answered."""
        return joined_history(self._session)

    def __repr__(self) -> str:
        return f"Wallet({len(self.relationships)} relationships)"
