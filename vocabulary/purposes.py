"""Purposes of use: codes of HL7 v3-ActReason, as bits of a 16-bit mask on the ledger."""

from collections.abc import Iterable
from enum import IntEnum


class Purpose(IntEnum):
    """Why a record is asked for; the value is its bit position in a purpose mask and never changes.

    Source: HL7 Terminology, v3-ActReason, PurposeOfUse.
    """

    TREAT = 0
    ETREAT = 1
    BTG = 2
    HPAYMT = 3
    HOPERAT = 4
    PUBHLTH = 5
    HRESCH = 6
    PATRQT = 7

    @property
    def label(self) -> str:
        """The purpose in plain words: ``treatment``."""
        return _LABELS[self]

    @property
    def bit(self) -> int:
        """This purpose alone, as a mask."""
        return 1 << self.value

    @classmethod
    def from_label(cls, label: str) -> "Purpose":
        """The purpose of a code (``TREAT``) or its plain words (``treatment``), whatever the case.

        Raises:
            ValueError: the label names no purpose; the message lists those there are.
        """
        wanted = label.strip().casefold().replace("-", " ")
        for purpose in cls:
            if wanted in (purpose.name.casefold(), purpose.label):
                return purpose
        known = ", ".join(f"{purpose.label} ({purpose.name})" for purpose in cls)
        raise ValueError(f"expected a purpose of {known}; came: {label!r}")

    @classmethod
    def in_mask(cls, mask: int) -> tuple["Purpose", ...]:
        """The purposes whose bits are set in ``mask``, in order of their value."""
        return tuple(purpose for purpose in cls if mask & purpose.bit)


_LABELS = {
    Purpose.TREAT: "treatment",
    Purpose.ETREAT: "emergency treatment",
    Purpose.BTG: "break the glass",
    Purpose.HPAYMT: "payment",
    Purpose.HOPERAT: "operations",
    Purpose.PUBHLTH: "public health",
    Purpose.HRESCH: "research",
    Purpose.PATRQT: "patient request",
}


def purpose_mask(purposes: Iterable[Purpose]) -> int:
    """The bits of several purposes together."""
    mask = 0
    for purpose in purposes:
        mask |= purpose.bit
    return mask
