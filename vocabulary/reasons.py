"""Reasons of a decision on an access, in the order in which they are found."""

from enum import IntEnum


class Reason(IntEnum):
    """Why an access was decided as it was. PERMITTED is the only one that opens anything.

    The other values are in the order in which the rules are tried: the first that applies is the reason.
    The order is part of the specification, the same in the contract and in ``ledger.decide``.
    """

    PERMITTED = 0
    MEMBER_SUSPENDED = 1
    ROLE_LACKING = 2
    PATIENT_FROZEN = 3
    RECORD_RETRACTED = 4
    RECORD_RESTRICTED = 5
    CATEGORY_DENIED = 6
    PURPOSE_DENIED = 7
    NO_CONSENT = 8
    CONSENT_REVOKED = 9
    CONSENT_NOT_YET_VALID = 10
    CONSENT_EXPIRED = 11
    CATEGORY_NOT_COVERED = 12
    PURPOSE_NOT_COVERED = 13
    DATA_PERIOD_NOT_COVERED = 14
    USES_EXHAUSTED = 15

    @property
    def label(self) -> str:
        """The reason in words for tables: ``consent revoked``."""
        return self.name.lower().replace("_", " ")
