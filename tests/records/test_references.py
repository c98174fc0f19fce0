"""Which entry of a bundle a reference means."""

from records.reading import SourceEntry
from records.references import References


def references(*full_urls_and_ids: tuple[str | None, str]) -> References:
    return References(
        [
            SourceEntry({"fullUrl": url, "resource": {"resourceType": "Observation", "id": name}}, {})
            for url, name in full_urls_and_ids
        ]
    )


def test_resolve_relative_named_once_finds_the_entry() -> None:
    found = references((None, "a"), ("http://x/Observation/b", "b"))
    assert found.resolve("Observation/a", 1) == 0
    assert found.resolve("Observation/b#part", 0) == 1


def test_resolve_relative_named_two_or_three_times_finds_none() -> None:
    for count in (2, 3):
        assert references(*[(None, "a")] * count).resolve("Observation/a", 0) is None


def test_resolve_relative_under_two_bases_finds_the_entry_with_the_base_of_the_referrer() -> None:
    found = references(
        ("http://x/Observation/a", "a"),
        ("http://y/Observation/a", "a"),
        ("http://y/Observation/b", "b"),
        ("http://x/Observation/c", "c"),
        ("urn:uuid:7bd4bd04-3ec5-4a5d-a2ab-3fbbd9c2f2c4", "d"),
    )
    assert found.resolve("Observation/a", 2) == 1
    assert found.resolve("Observation/a", 3) == 0
    assert found.resolve("Observation/a", 4) is None
    assert found.resolve("Observation/a", 2) == 1
