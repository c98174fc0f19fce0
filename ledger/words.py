"""The packed words of the contract's views, field by field: to say which part of two words differs.

The layouts are the contract's, from the least significant bit up, named as in ``ledger.entities``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

WordLayout = tuple[tuple[str, int], ...]
"""The fields of a word, each with its width in bits."""

MEMBER: WordLayout = (("roles", 16), ("active", 1), ("key version", 64))
PATIENT: WordLayout = (
    ("provider", 160),
    ("denied categories", 32),
    ("denied purposes", 16),
    ("epoch", 16),
    ("status", 8),
    ("policy nonce", 24),
)
RECORD: WordLayout = (
    ("patient", 160),
    ("category", 8),
    ("status", 8),
    ("start day", 24),
    ("end day", 24),
    ("epoch", 16),
    ("status nonce", 16),
)
CONSENT: WordLayout = (
    ("categories", 32),
    ("purposes", 16),
    ("valid from", 40),
    ("valid until", 40),
    ("data from", 24),
    ("data until", 24),
    ("maximum uses", 24),
    ("uses", 24),
    ("flags", 24),
    ("status", 8),
)
CHAIN_HEAD: WordLayout = (("links", 32), ("head", 224))


@dataclass(frozen=True, slots=True)
class Difference:
    """The first field in which two words differ, and both its values as text."""

    field: str
    expected: str
    found: str


def first_difference(layout: WordLayout, expected: int, found: int) -> Difference | None:
    """The first field, from the least significant bit up, in which two words of a layout differ; None if none does.

    Bits above the layout's are a field of their own, ``unused bits``.
    """
    ours, theirs = fields_of_word(layout, expected), fields_of_word(layout, found)
    widths = dict(layout)
    for name, value in ours.items():
        if theirs[name] != value:
            width = widths.get(name, 0)
            return Difference(name, _text(value, width), _text(theirs[name], width))
    return None


def _text(value: int, width_bits: int) -> str:
    """Small fields as numbers, addresses and hashes in hexadecimal."""
    return f"0x{value:0{width_bits // 4}x}" if width_bits > 64 else str(value)


def fields_of_word(layout: WordLayout, word: int) -> Mapping[str, int]:
    """The fields of a word by name, with ``unused bits`` for what is above them."""
    found = {}
    for name, width in layout:
        found[name] = word & ((1 << width) - 1)
        word >>= width
    found["unused bits"] = word
    return found
