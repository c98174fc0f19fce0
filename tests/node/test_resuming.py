"""What is resumed and repaired behind the requests: a little at each turn, and everyone's in turn."""

from collections.abc import Callable

import pytest

from node import publication_steps
from node.publication_steps import REPAIR_WAIT_SECONDS, PublicationSteps

PUBLICATIONS = [f"{number:032x}" for number in range(5)]


class PlayedJournal:
    def in_progress(self) -> list[str]:
        return PUBLICATIONS

    def published_but_waiting(self) -> list[str]:
        return PUBLICATIONS


@pytest.fixture
def seconds() -> list[float]:
    return [0.0]


@pytest.fixture
def steps(seconds: list[float]) -> PublicationSteps:
    journal = PlayedJournal()
    return PublicationSteps(None, None, None, journal, None, None, monotonic=lambda: seconds[0])


def taking(seconds: list[float], each: float, found: list[str]) -> Callable[[str], None]:
    def work(publication_id: str) -> None:
        found.append(publication_id)
        seconds[0] += each

    return work


def test_turn_of_resuming_ends_in_time_and_the_next_goes_on_where_it_was(steps, seconds, monkeypatch):
    done: list[str] = []
    waited: set[float] = set()
    work = taking(seconds, publication_steps.TURN_SECONDS / 2, done)

    def advance(publication_id: str, wait_seconds: float) -> None:
        waited.add(wait_seconds)
        work(publication_id)

    monkeypatch.setattr(steps, "advance", advance)
    for turn in range(1, 6):
        steps.resume()
        assert len(done) == 2 * turn
    assert done == [*PUBLICATIONS, *PUBLICATIONS]
    assert waited == {REPAIR_WAIT_SECONDS}


def test_turn_that_has_time_for_all_resumes_each_once(steps, seconds, monkeypatch):
    done: list[str] = []
    monkeypatch.setattr(steps, "advance", lambda publication_id, _: done.append(publication_id))
    steps.resume()
    assert done == PUBLICATIONS
