"""The circuit breaker of a peer: closed, open, half-open, and back."""

import threading

import pytest

from node.breaker import (
    FAILURES,
    LONGEST_OPEN_SECONDS,
    OPEN_SECONDS,
    BreakerOpen,
    BreakerState,
    CircuitBreaker,
    Failed,
)


class Broken(Exception):
    """What a peer's failure is to the caller."""


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(clock)


def fail(breaker: CircuitBreaker, *, even_if_open: bool = False) -> None:
    with pytest.raises(Broken), breaker.call(even_if_open=even_if_open):
        raise Failed(Broken("no answer"))


def succeed(breaker: CircuitBreaker) -> None:
    with breaker.call():
        pass


def trip(breaker: CircuitBreaker) -> None:
    for _ in range(FAILURES):
        fail(breaker)


def test_breaker_opens_after_failures_in_a_row_and_refuses_without_a_call(breaker):
    trip(breaker)
    assert breaker.state is BreakerState.OPEN
    with pytest.raises(BreakerOpen), breaker.call():
        pytest.fail("the peer was called")


def test_breaker_counts_only_failures_in_a_row(breaker):
    for _ in range(3):
        for _ in range(FAILURES - 1):
            fail(breaker)
        succeed(breaker)
    assert breaker.state is BreakerState.CLOSED


def test_refusal_of_a_peer_is_a_sign_of_life(breaker):
    for _ in range(FAILURES + 1):
        with pytest.raises(ValueError), breaker.call():
            raise ValueError("not allowed")
    assert breaker.state is BreakerState.CLOSED


def test_breaker_lets_one_call_try_after_its_time_and_closes_when_it_succeeds(breaker, clock):
    trip(breaker)
    clock.seconds += OPEN_SECONDS
    assert breaker.state is BreakerState.HALF_OPEN
    with breaker.call(), pytest.raises(BreakerOpen), breaker.call():
        pytest.fail("a second call while one tries")
    assert breaker.state is BreakerState.CLOSED


def test_breaker_whose_trial_fails_stays_open_for_longer_up_to_a_bound(breaker, clock):
    trip(breaker)
    for _ in range(12):
        clock.seconds += LONGEST_OPEN_SECONDS
        assert breaker.state is BreakerState.HALF_OPEN
        fail(breaker)
        assert breaker.state is BreakerState.OPEN
    clock.seconds += LONGEST_OPEN_SECONDS
    assert breaker.state is BreakerState.HALF_OPEN
    clock.seconds -= LONGEST_OPEN_SECONDS * 0.6
    assert breaker.state is BreakerState.OPEN


def test_open_breaker_is_tried_by_a_caller_that_insists_one_at_a_time(breaker):
    trip(breaker)
    with breaker.call(even_if_open=True), pytest.raises(BreakerOpen), breaker.call(even_if_open=True):
        pytest.fail("two at once")
    assert breaker.state is BreakerState.CLOSED


def test_failures_of_calls_that_began_before_it_opened_do_not_prolong_it(breaker, clock):
    inside, go, done = threading.Barrier(9), threading.Event(), []

    def slow() -> None:
        try:
            with breaker.call():
                inside.wait(60)
                go.wait(60)
                raise Failed(Broken("no answer"))
        except Broken as error:
            done.append(error)

    threads = [threading.Thread(target=slow) for _ in range(8)]
    for thread in threads:
        thread.start()
    inside.wait(60)
    go.set()
    for thread in threads:
        thread.join(60)
    assert len(done) == 8
    clock.seconds += OPEN_SECONDS
    assert breaker.state is BreakerState.HALF_OPEN


def test_attack_peer_that_says_it_is_well_while_its_calls_fail_is_left_alone_all_the_same(breaker, clock):
    trip(breaker)
    breaker.note_probe(answered=True)
    assert breaker.state is BreakerState.OPEN
    clock.seconds += OPEN_SECONDS
    fail(breaker)
    breaker.note_probe(answered=True)
    assert breaker.state is BreakerState.OPEN


def test_peer_that_was_silent_and_answers_its_probe_is_called_again_at_once(breaker):
    for _ in range(FAILURES):
        breaker.note_probe(answered=False)
    assert breaker.state is BreakerState.OPEN
    breaker.note_probe(answered=True)
    assert breaker.state is BreakerState.CLOSED
