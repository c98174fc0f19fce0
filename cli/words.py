"""Names, durations and dates as people say them, turned into what the rooms below understand, and back."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.texts import _
from vocabulary import FIRST_DAY, LAST_DAY, Category, DayPeriod, Purpose, day_text

_UNIT_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}


def parse_duration_days(text: str) -> int:
    """``90 days``, ``2 weeks``, ``6 months`` (30 days each), ``1 year`` (365 days), as days."""
    match = re.fullmatch(r"\s*(\d{1,5})\s*(day|week|month|year|d|w|m|y)s?\s*", text.casefold())
    if match is None or int(match[1]) == 0:
        raise CommandError(
            _('expected a duration such as "90 days", "2 weeks" or "1 year"; came: {text}').format(text=text),
            ExitCode.USAGE,
        )
    unit = next(name for name in _UNIT_DAYS if name.startswith(match[2]))
    return int(match[1]) * _UNIT_DAYS[unit]


def parse_day(text: str) -> int:
    """An ISO 8601 date as a day number."""
    try:
        return date.fromisoformat(text.strip()).toordinal()
    except ValueError:
        raise CommandError(
            _("expected a date such as 2024-03-31; came: {text}").format(text=text), ExitCode.USAGE
        ) from None


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
    """Categories by name; ``all`` is every one."""
    words = split_words(values)
    if any(word.casefold() == "all" for word in words):
        return tuple(Category)
    try:
        return tuple(dict.fromkeys(Category.from_label(word) for word in words))
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE) from None


def parse_purposes(values: Iterable[str]) -> tuple[Purpose, ...]:
    """Purposes by code or plain words."""
    try:
        return tuple(dict.fromkeys(Purpose.from_label(word) for word in split_words(values)))
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE) from None


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
    known = ", ".join(f'"{name}"' for name in names) or _("none")
    problem = _("no {kind} is called") if not found else _("more than one {kind} matches")
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
    """The first second of a UTC day given in ISO 8601, or its last, in seconds since 1970."""
    day = date.fromordinal(parse_day(text))
    start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    return start + 86_399 if end else start


def moment_text(seconds: int) -> str:
    """A moment of the chain in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S") + " UTC"


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
    """The first and last digits of an identifier, for tables."""
    return f"0x{value[:4].hex()}…{value[-2:].hex()}"


def midnight_after(days: int, now: datetime) -> int:
    """The UTC midnight that ends the ``days``-th day from ``now``, in seconds since 1970.

    Whole days, so that the minute at which a person acted does not link their pseudonyms.
    """
    end = (now.astimezone(UTC) + timedelta(days=days)).date() + timedelta(days=1)
    return int(datetime(end.year, end.month, end.day, tzinfo=UTC).timestamp())
