"""Categories of health records, as bits of a 32-bit mask on the ledger."""

from collections.abc import Iterable
from enum import IntEnum


class Category(IntEnum):
    """A category of record; the value is its bit position in a category mask and never changes."""

    PATIENT_SUMMARY = 0
    ENCOUNTER = 1
    CONDITION = 2
    ALLERGY = 3
    MEDICATION = 4
    IMMUNIZATION = 5
    LABORATORY = 6
    IMAGING = 7
    PROCEDURE = 8
    VITAL_SIGNS = 9
    CARE_PLAN = 10
    DOCUMENT = 11
    FAMILY_HISTORY = 12
    HEALTH_CHECKUP = 13
    LIFELOG = 14
    GENOMICS = 15
    DENTAL = 16
    MENTAL_HEALTH = 17
    REPRODUCTIVE_HEALTH = 18
    SUBSTANCE_USE = 19
    COVERAGE_AND_CLAIMS = 20
    DEVICE = 21

    @property
    def label(self) -> str:
        """The name as people write it: ``vital-signs``."""
        return self.name.lower().replace("_", "-")

    @property
    def bit(self) -> int:
        """This category alone, as a mask."""
        return 1 << self.value

    @classmethod
    def from_label(cls, label: str) -> "Category":
        """The category of a label, whatever its case and separators.

        Raises:
            ValueError: the label names no category; the message lists those there are.
        """
        try:
            return cls[label.strip().upper().replace("-", "_").replace(" ", "_")]
        except KeyError:
            known = ", ".join(category.label for category in cls)
            raise ValueError(f"expected a category of {known}; came: {label!r}") from None

    @classmethod
    def in_mask(cls, mask: int) -> tuple["Category", ...]:
        """The categories whose bits are set in ``mask``, in order of their value."""
        return tuple(category for category in cls if mask & category.bit)


SENSITIVE_CATEGORIES = frozenset(
    {
        Category.GENOMICS,
        Category.MENTAL_HEALTH,
        Category.REPRODUCTIVE_HEALTH,
        Category.SUBSTANCE_USE,
    }
)
"""Categories whose records show only the calendar year as their period."""


def category_mask(categories: Iterable[Category]) -> int:
    """The bits of several categories together."""
    mask = 0
    for category in categories:
        mask |= category.bit
    return mask
