"""Names, durations and dates as people say them."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.words import (
    MAX_DURATION_DAYS,
    fold,
    match_name,
    moment_of_day,
    moment_text,
    parse_categories,
    parse_data_period,
    parse_day,
    parse_duration_days,
    parse_purposes,
    period_text,
    short_hex,
    slug,
    split_words,
)
from vocabulary import FIRST_DAY, LAST_DAY, Category, DayPeriod, Purpose


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("90 days", 90),
        ("1 day", 1),
        ("2weeks", 14),
        ("6 Months", 180),
        ("1y", 365),
        ("90일", 90),
        ("3개월", 90),
    ],
)
def test_parse_duration_as_people_say_it_gives_days(text: str, days: int) -> None:
    assert parse_duration_days(text) == days


@pytest.mark.parametrize(
    "text",
    ["", "0 days", "-1 day", "ninety days", "1.5 years", "90", "90 dayss", "1e2 days", "٩٠ days", "1 d d"],
)
def test_parse_duration_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(CommandError) as refused:
        parse_duration_days(text)
    assert refused.value.exit_code is ExitCode.USAGE


def test_parse_duration_beyond_ten_years_is_refused() -> None:
    assert parse_duration_days(f"{MAX_DURATION_DAYS} days") == MAX_DURATION_DAYS
    with pytest.raises(CommandError, match="at most"):
        parse_duration_days(f"{MAX_DURATION_DAYS + 1} days")


@given(st.text(max_size=30))
def test_parse_duration_of_any_text_gives_days_or_is_refused(text: str) -> None:
    try:
        days = parse_duration_days(text)
    except CommandError:
        return
    assert 1 <= days <= MAX_DURATION_DAYS


@given(st.dates())
def test_parse_day_of_an_iso_date_gives_its_ordinal(day: date) -> None:
    assert parse_day(day.isoformat()) == day.toordinal()


@pytest.mark.parametrize(
    "text", ["2024-13-01", "2023-02-29", "31.3.2024", "20240331", "2024-W13-7", "yesterday", ""]
)
def test_parse_day_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="2024-03-31"):
        parse_day(text)


@given(st.none() | st.dates(), st.none() | st.dates())
def test_parse_data_period_is_open_where_nothing_is_given_and_refused_when_it_ends_first(
    since: date | None, until: date | None
) -> None:
    texts = [day and day.isoformat() for day in (since, until)]
    if since and until and since > until:
        with pytest.raises(CommandError):
            parse_data_period(*texts)
        return
    expected = DayPeriod(since.toordinal() if since else FIRST_DAY, until.toordinal() if until else LAST_DAY)
    assert parse_data_period(*texts) == expected


def test_moment_of_day_at_its_end_is_the_next_day_for_a_bound_that_is_excluded() -> None:
    assert moment_text(moment_of_day("2026-01-31")) == "2026-01-31 00:00:00 UTC"
    assert moment_text(moment_of_day("2026-01-31", end=True)) == "2026-02-01 00:00:00 UTC"


@given(st.sampled_from(Category), st.sampled_from(["{}", " {} ", "{}s"]), st.booleans())
def test_parse_categories_by_label_in_any_case_or_plural_finds_it(
    category: Category, form: str, upper: bool
) -> None:
    text = form.format(category.label)
    assert parse_categories([text.upper() if upper else text]) == (category,)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (["lab"], (Category.LABORATORY,)),
        (["vital signs,Mental_Health"], (Category.VITAL_SIGNS, Category.MENTAL_HEALTH)),
        (["allergies", "allergy"], (Category.ALLERGY,)),
        ([], ()),
        ([" , "], ()),
    ],
)
def test_parse_categories_as_people_write_them(typed: list[str], found: tuple[Category, ...]) -> None:
    assert parse_categories(typed) == found


def test_parse_categories_all_is_every_one() -> None:
    assert parse_categories(["laboratory", "ALL"]) == tuple(Category)


def test_parse_categories_with_a_typing_error_proposes_what_was_meant() -> None:
    with pytest.raises(CommandError, match="Did you mean laboratory"):
        parse_categories(["labratory"])


@pytest.mark.parametrize("typed", ["co", "m", "x"])
def test_parse_categories_by_less_than_three_letters_is_not_guessed(typed: str) -> None:
    with pytest.raises(CommandError, match="There are: patient-summary"):
        parse_categories([typed])


@pytest.mark.parametrize("typed", ["TREAT", "treatment", "Treatments", "treat"])
def test_parse_purposes_by_code_or_words_finds_it(typed: str) -> None:
    assert parse_purposes([typed]) == (Purpose.TREAT,)


@pytest.mark.parametrize("typed", ["", " ", "fun", "p"])
def test_parse_purposes_of_nothing_or_something_else_is_refused(typed: str) -> None:
    with pytest.raises(CommandError) as refused:
        parse_purposes([typed])
    assert refused.value.exit_code is ExitCode.USAGE


def test_match_name_by_part_case_or_composition_finds_the_one() -> None:
    names = ["서울병원", "Hôpital d'Évian", "Seoul Hospital"]
    assert match_name("서울병원", names, "member") == 0
    assert match_name("évian", names, "member") == 1
    assert match_name("HOSPITAL", names, "member") == 2
    assert match_name("서울", names, "member") == 0


@pytest.mark.parametrize(
    ("typed", "said"), [("os", "more than one"), ("x", "no member is called"), ("", "no member")]
)
def test_match_name_of_none_or_several_is_refused_and_names_them(typed: str, said: str) -> None:
    with pytest.raises(CommandError, match=said) as refused:
        match_name(typed, ["Seoul Hospital", "Busan Hospital"], "member")
    assert refused.value.exit_code is ExitCode.NOT_FOUND
    assert "Busan Hospital" in str(refused.value)


def test_match_name_whole_wins_over_part() -> None:
    assert match_name("Seoul", ["Seoul East", "Seoul"], "member") == 1


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5, unique_by=fold), st.data())
def test_match_name_of_a_whole_name_always_finds_it(names: list[str], data: st.DataObject) -> None:
    wanted = data.draw(st.integers(0, len(names) - 1))
    if fold(names[wanted]):
        assert match_name(names[wanted], names, "member") == wanted


@given(st.text(max_size=20))
def test_slug_of_any_name_is_one_safe_folder_or_refused(name: str) -> None:
    try:
        made = slug(name)
    except CommandError:
        return
    assert made
    assert "/" not in made
    assert made not in (".", "..")
    assert slug(made) == made


@given(st.lists(st.text(alphabet="ab ,", max_size=6)))
def test_split_words_leaves_no_commas_and_no_blanks(values: list[str]) -> None:
    assert all(word and "," not in word and word == word.strip() for word in split_words(values))


def test_period_text_of_an_unbounded_period_says_any_time() -> None:
    day = date(2024, 3, 2).toordinal()
    assert period_text(FIRST_DAY, LAST_DAY) == "any time"
    assert period_text(day, day) == "2024-03-02"
    assert period_text(day, day + 1) == "2024-03-02 – 2024-03-03"


def test_short_hex_is_what_commands_take() -> None:
    assert short_hex(bytes.fromhex("1a2b3c4d5e")) == "0x1a2b3c4d"
