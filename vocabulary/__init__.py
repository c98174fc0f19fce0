"""The words and codes that contract, Python, CLI and documents share: one name, one number each.

The lowest layer: it imports nothing of this project, and every room may import it.
"""

from vocabulary.categories import SENSITIVE_CATEGORIES, Category, category_mask
from vocabulary.days import FIRST_DAY, LAST_DAY, UNDATED, DayPeriod, day_text
from vocabulary.members import Role, role_mask
from vocabulary.purposes import Purpose, purpose_mask
from vocabulary.reasons import Reason

__all__ = [
    "FIRST_DAY",
    "LAST_DAY",
    "SENSITIVE_CATEGORIES",
    "UNDATED",
    "Category",
    "DayPeriod",
    "Purpose",
    "Reason",
    "Role",
    "category_mask",
    "day_text",
    "purpose_mask",
    "role_mask",
]
