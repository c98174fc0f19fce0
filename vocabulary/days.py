"""Clinical days: proleptic Gregorian ordinals in 24 bits, as on the ledger."""

from dataclasses import dataclass
from datetime import date

FIRST_DAY = 0
"""Unbounded in the past."""
LAST_DAY = 2**24 - 1
"""Unbounded in the future."""


@dataclass(frozen=True, slots=True)
class DayPeriod:
    """An inclusive period of days, each a proleptic Gregorian ordinal (``date.toordinal()``).

    ``FIRST_DAY`` and ``LAST_DAY`` mean unbounded; an undated record has both.
    """

    start_day: int
    end_day: int

    def __post_init__(self) -> None:
        if not FIRST_DAY <= self.start_day <= self.end_day <= LAST_DAY:
            raise ValueError(
                f"expected 0 <= start_day <= end_day <= {LAST_DAY}; came {self.start_day} and {self.end_day}"
            )

    def __str__(self) -> str:
        if self.start_day == self.end_day:
            return day_text(self.start_day)
        return f"{day_text(self.start_day)} to {day_text(self.end_day)}"

    def covers(self, other: "DayPeriod") -> bool:
        """Whether the whole of ``other`` lies inside this period."""
        return self.start_day <= other.start_day and other.end_day <= self.end_day

    def calendar_years(self) -> "DayPeriod":
        """This period widened to whole calendar years; an unbounded side stays unbounded."""
        start, end = self.start_day, self.end_day
        if FIRST_DAY < start <= date.max.toordinal():
            start = date.fromordinal(start).replace(month=1, day=1).toordinal()
        if FIRST_DAY < end <= date.max.toordinal():
            end = date.fromordinal(end).replace(month=12, day=31).toordinal()
        return DayPeriod(start, end)


UNDATED = DayPeriod(FIRST_DAY, LAST_DAY)
"""The period of a record that carries no date: only an unbounded consent covers it."""


def day_text(day: int) -> str:
    """A day as people read it: ISO 8601, or ``unbounded``."""
    return date.fromordinal(day).isoformat() if FIRST_DAY < day <= date.max.toordinal() else "unbounded"
