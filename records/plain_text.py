"""Text of strangers made safe to print on a terminal."""

import unicodedata

MAXIMUM_CHARACTERS = 300
"""How much of one text is shown."""
_JOINERS = "\u200c\u200d"
"""Zero-width (non-)joiner: invisible, harmless, and needed to write Persian and the scripts of India."""


def plain(text: str) -> str:
    """One line of printable text.

    Control and format characters go (escape sequences, bidirectional overrides, invisible characters), line
    ends and other spaces become single spaces, and what is too long ends in an ellipsis. Markup of a
    terminal library is left alone: whoever prints with one escapes it.
    """
    text = text[: MAXIMUM_CHARACTERS * 4]
    shown = "".join(character if _is_printable(character) else " " for character in text)
    shown = " ".join(shown.split())
    return shown if len(shown) <= MAXIMUM_CHARACTERS else shown[: MAXIMUM_CHARACTERS - 1] + "…"


def _is_printable(character: str) -> bool:
    return (character.isprintable() and unicodedata.category(character) != "Co") or character in _JOINERS
