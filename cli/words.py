"""Names, durations and dates as people say them, turned into what the rooms below understand, and back."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.texts import _
from vocabulary import FIRST_DAY, LAST_DAY, Category, DayPeriod, Purpose, day_text

_EPOCH_DAY = date(1970, 1, 1).toordinal()
MAX_DURATION_DAYS = 3660
"""The longest consent that a wallet signs."""
_UNITS = {
    word: days
    for words, days in (("d day days 일", 1), ("w week weeks 주", 7), ("m month months 개월", 30))
    for word in words.split()
} | dict.fromkeys(("y", "year", "years", "년"), 365)


def parse_duration_days(text: str) -> int:
    """``90 days``, ``2 weeks``, ``6 months`` (30 days each), ``1 year`` (365 days), ``90일``, as days.

    Raises:
        CommandError: it is no duration, or longer than ``MAX_DURATION_DAYS``.
    """
    # ASCII digits only: \d would take those of every script.
    match = re.fullmatch(r"\s*([0-9]{1,5})\s*([a-z]+|[일주년]|개월)\s*", text.casefold())
    unit = _UNITS.get(match[2]) if match else None
    if match is None or unit is None or int(match[1]) == 0:
        raise CommandError(
            _('expected a duration such as "90 days", "2 weeks" or "1 year"; came: {text}').format(text=text),
            ExitCode.USAGE,
        )
    days = int(match[1]) * unit
    if days > MAX_DURATION_DAYS:
        raise CommandError(
            _("expected at most {limit} days (ten years); came: {text}").format(
                limit=MAX_DURATION_DAYS, text=text
            ),
            ExitCode.USAGE,
        )
    return days


def parse_day(text: str) -> int:
    """An ISO 8601 date, ``2024-03-31``, as a day number."""
    try:
        # Python would also take 20240331 and 2024-W13-7, which people mistype sooner than they mean them.
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text.strip()):
            return date.fromisoformat(text.strip()).toordinal()
    except ValueError:
        pass
    raise CommandError(
        _("expected a date such as 2024-03-31; came: {text}").format(text=text), ExitCode.USAGE
    )


def parse_data_period(since: str | None, until: str | None) -> DayPeriod:
    """The period of records, either side open when not given."""
    start = FIRST_DAY if since is None else parse_day(since)
    end = LAST_DAY if until is None else parse_day(until)
    if start > end:
        raise CommandError(
            _("expected a period that ends after it begins; came {since} to {until}").format(
                since=since, until=until
            ),
            ExitCode.USAGE,
        )
    return DayPeriod(start, end)


def split_words(values: Iterable[str]) -> list[str]:
    """``["laboratory,medication", "imaging"]`` as three words."""
    return [word.strip() for value in values for word in value.split(",") if word.strip()]


def parse_categories(values: Iterable[str]) -> tuple[Category, ...]:
    """Categories by name, or the beginning of only one name: ``lab``; ``all`` is every one."""
    words = split_words(values)
    if any(word.casefold() == "all" for word in words):
        return tuple(Category)
    labels = [category.label for category in Category]
    return tuple(
        dict.fromkeys(Category.from_label(_known_word(word, labels, _("category"))) for word in words)
    )


def parse_purposes(values: Iterable[str]) -> tuple[Purpose, ...]:
    """Purposes by code (``TREAT``) or plain words (``treatment``).

    Raises:
        CommandError: one is no purpose.
    """
    codes = {purpose.name.casefold(): purpose.label for purpose in Purpose}
    labels = [purpose.label for purpose in Purpose]
    given = list(values)
    words = [codes.get(word.casefold(), word) for word in split_words(given)]
    if given and not words:
        raise CommandError(_("expected a purpose: {known}").format(known=", ".join(labels)), ExitCode.USAGE)
    return tuple(dict.fromkeys(Purpose.from_label(_known_word(word, labels, _("purpose"))) for word in words))


def _known_word(typed: str, labels: Sequence[str], kind: str) -> str:
    """The label that was meant: written otherwise, in the plural, or its beginning (three letters at least)."""
    plain = {re.sub(r"[-_ ]+", " ", label): label for label in labels}
    word = re.sub(r"[-_ ]+", " ", fold(typed))
    if word in plain:
        return plain[word]
    singular = word[:-3] + "y" if word.endswith("ies") else word.removesuffix("s")
    found = [label for text, label in plain.items() if text == singular]
    found = found or [label for text, label in plain.items() if len(word) >= 3 and text.startswith(word)]
    if len(found) == 1:
        return found[0]
    # Imported here: only a typing error needs it.
    from difflib import get_close_matches

    near = found or [plain[text] for text in get_close_matches(word, plain, n=1)]
    hint = _(" Did you mean {near}?").format(near=_(" or ").join(near)) if near else ""
    raise CommandError(
        _('no {kind} is called "{typed}".{hint} There are: {known}').format(
            kind=kind, typed=typed, hint=hint, known=", ".join(labels)
        ),
        ExitCode.USAGE,
    )


def fold(name: str) -> str:
    """A name without case, accents' composition and spacing, to compare with what was typed."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def match_name(typed: str, names: Sequence[str], kind: str) -> int:
    """The position of the one name that was meant: the whole name, or a part of only one of them.

    Raises:
        CommandError: none or several match; the message lists what there is.
    """
    wanted = fold(typed)
    exact = [i for i, name in enumerate(names) if fold(name) == wanted]
    found = exact or [i for i, name in enumerate(names) if wanted and wanted in fold(name)]
    if len(found) == 1:
        return found[0]
    if not names:
        raise CommandError(
            _('no {kind} is called "{typed}": there is none').format(kind=kind, typed=typed),
            ExitCode.NOT_FOUND,
        )
    problem = _("no {kind} is called") if not found else _("more than one {kind} matches")
    known = ", ".join(f'"{names[i]}"' for i in found or range(len(names)))
    raise CommandError(
        (problem + ' "{typed}"; ' + _("there are: {known}")).format(kind=kind, typed=typed, known=known),
        ExitCode.NOT_FOUND,
    )


def slug(name: str) -> str:
    """A name as a folder's name: letters and digits of any script, joined by hyphens."""
    text = re.sub(r"[^\w]+", "-", unicodedata.normalize("NFKC", name).casefold()).strip("-_")
    if not text:
        raise CommandError(_("expected a name with letters; came: {name}").format(name=name), ExitCode.USAGE)
    return text


def moment_of_day(text: str, *, end: bool = False) -> int:
    """The first second of a UTC day given in ISO 8601, or the first one after it, in seconds since 1970."""
    return (parse_day(text) - _EPOCH_DAY + end) * 86_400


def moment_text(seconds: int) -> str:
    """A moment of the chain in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S") + " UTC"


def minute_text(seconds: int) -> str:
    """A moment of the chain to the minute, for tables whose column says that it is UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def day_of_moment_text(seconds: int) -> str:
    """The UTC day of a moment."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def period_text(start_day: int, end_day: int) -> str:
    """A period of days as people read it; ``any time`` when unbounded."""
    if start_day == FIRST_DAY and end_day == LAST_DAY:
        return _("any time")
    if start_day == end_day:
        return day_text(start_day)
    return f"{day_text(start_day)} – {day_text(end_day)}"


def short_hex(value: bytes) -> str:
    """The first digits of an identifier, for tables: enough to name it in a command."""
    return f"0x{value[:4].hex()}"
