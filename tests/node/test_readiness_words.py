"""What `/ready` says is in the way: one cause once, however many threads of the node meet it."""

from node_processes import wait_until

from node.background import Housekeeping
from node.database_errors import DatabaseUnavailable
from node.status import distinct

AWAY = "this node's database does not answer (OperationalError): ask again shortly"


def test_distinct_says_each_problem_once_and_none_that_only_repeats_another() -> None:
    problems = [
        f"what the ledger says cannot be kept: {AWAY}",
        "the final head stands",
        AWAY,
        AWAY,
        "orphans fails: KeyError",
    ]
    assert distinct(problems) == ("the final head stands", AWAY, "orphans fails: KeyError")
    assert distinct([]) == ()


def test_tasks_without_a_database_tell_it_in_its_own_words_and_others_by_their_name() -> None:
    def away() -> None:
        raise DatabaseUnavailable(AWAY)

    def faulty() -> None:
        raise KeyError("x")

    tasks = Housekeeping(lambda _seconds: True)
    for name, action in (("nonces", away), ("deposits", away), ("orphans", faulty)):
        tasks.every(60.0, name, action)
    tasks.start()
    try:
        wait_until(lambda: len(tasks.problems()) == 3, "each task has had its turn")
        assert tasks.problems() == (AWAY, AWAY, "orphans fails: KeyError")
    finally:
        tasks.stop()
