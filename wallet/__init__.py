"""The patient's side: pseudonyms, keys, consents, reading.

It talks to members' nodes over HTTP only, and believes no single one.
"""

from crypto.recovery import RecoveryPhrase
from wallet.content import KnownNode, Relationship, RelationshipStatus
from wallet.directory import Directory
from wallet.errors import (
    InvalidTerms,
    LedgerRefused,
    NodeAnswerInvalid,
    NodeError,
    NodeRefused,
    NodesDisagree,
    NodeUnreachable,
    NotFinalYet,
    NothingToDo,
    RecordInvalid,
    RecordNeedsFile,
    RecoveryError,
    TooFewNodes,
    UnfinishedOperation,
    UnknownName,
    VaultBusy,
    VaultError,
    WalletBehind,
    WalletError,
)
from wallet.granting import GrantedConsent, GrantOutcome
from wallet.history import HistoryEntry, HistoryKind
from wallet.overview import ConsentState, ConsentSummary, OwnRecord, RecordsOverview
from wallet.previews import (
    ClosingPreview,
    ClosingPseudonym,
    GrantPreview,
    LinkedPseudonyms,
    PlannedGrant,
    PolicyChange,
    PolicyPreview,
    RestrictionPreview,
    RevocationPreview,
)
from wallet.reading import OpenedRecord
from wallet.receipts import PermitEvidence, RevocationReceipt
from wallet.recovery import Recovery
from wallet.registration import RegistrationTicket
from wallet.resuming import ResumeReport
from wallet.terms import GrantWish, Terms
from wallet.wallet import Wallet

__all__ = [
    "ClosingPreview",
    "ClosingPseudonym",
    "ConsentState",
    "ConsentSummary",
    "Directory",
    "GrantOutcome",
    "GrantPreview",
    "GrantWish",
    "GrantedConsent",
    "HistoryEntry",
    "HistoryKind",
    "InvalidTerms",
    "KnownNode",
    "LedgerRefused",
    "LinkedPseudonyms",
    "NodeAnswerInvalid",
    "NodeError",
    "NodeRefused",
    "NodeUnreachable",
    "NodesDisagree",
    "NotFinalYet",
    "NothingToDo",
    "OpenedRecord",
    "OwnRecord",
    "PermitEvidence",
    "PlannedGrant",
    "PolicyChange",
    "PolicyPreview",
    "RecordInvalid",
    "RecordNeedsFile",
    "RecordsOverview",
    "Recovery",
    "RecoveryError",
    "RecoveryPhrase",
    "RegistrationTicket",
    "Relationship",
    "RelationshipStatus",
    "RestrictionPreview",
    "ResumeReport",
    "RevocationPreview",
    "RevocationReceipt",
    "Terms",
    "TooFewNodes",
    "UnfinishedOperation",
    "UnknownName",
    "VaultBusy",
    "VaultError",
    "Wallet",
    "WalletBehind",
    "WalletError",
]
