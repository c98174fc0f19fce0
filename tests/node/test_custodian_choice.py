"""Who becomes custodian of a record, and how many must hold it before the ledger is told."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from custody_world import CustodyWorld, new_identity
from hypothesis import given
from hypothesis import strategies as st

from node.errors import Unavailable
from node.identity import Identity
from node.sealing import CustodyPlan, CustodyPolicy, enough_of, plan_custody
from vocabulary import Role


class Choice:
    """A network of custodians of which some are down; ``members[0]`` chooses."""

    def __init__(self, world: CustodyWorld, count: int) -> None:
        self.state = world.state
        self.state.members.clear()
        self.members: list[Identity] = [new_identity() for _ in range(count)]
        for member in self.members:
            world.enrol(member, Role.PROVIDER, Role.CUSTODIAN)
        self.down: set[bytes] = set()

    def plan(self, patient: bytes = bytes(20), **policy: int) -> CustodyPlan:
        return plan_custody(
            self.state,
            self.members[0].address,
            CustodyPolicy(**policy),
            patient=patient,
            is_healthy=lambda address: address not in self.down,
        )

    def stop(self, *numbers: int) -> None:
        self.down |= {self.members[number].address for number in numbers}


def chosen(plan: CustodyPlan) -> list[bytes]:
    return [custodian.address for custodian in plan.custodians]


@pytest.fixture
def choice_of(tmp_path: Path):
    worlds = []

    def make(count: int) -> Choice:
        place = tmp_path / str(len(worlds))
        place.mkdir()
        worlds.append(CustodyWorld(place))
        return Choice(worlds[-1], count)

    yield make
    for world in worlds:
        world.close()


def test_choose_with_one_down_takes_the_healthy_ones_of_the_number_that_is_configured(choice_of):
    choice = choice_of(4)
    for number in (1, 2, 3):
        choice.down.clear()
        choice.stop(number)
        plan = choice.plan(custodians=3, threshold=2)
        assert len(plan.custodians) == 3
        assert choice.members[number].address not in chosen(plan)


def test_choose_with_too_few_healthy_fills_up_with_those_that_are_down_last(choice_of):
    choice = choice_of(4)
    choice.stop(1, 2)
    plan = choice.plan(custodians=3, threshold=2)
    assert chosen(plan)[:2] == [choice.members[0].address, choice.members[3].address]
    assert len(plan.custodians) == 3


def test_choose_of_an_open_number_leaves_out_who_is_down_while_one_more_may_be_lost(choice_of):
    choice = choice_of(4)
    choice.stop(2)
    plan = choice.plan()
    assert (len(plan.custodians), plan.threshold) == (3, 2)
    assert choice.members[2].address not in chosen(plan)


def test_choose_of_an_open_number_never_falls_below_the_replicas(choice_of):
    choice = choice_of(4)
    choice.stop(2)
    assert len(choice.plan(replicas=4).custodians) == 4
    assert len(choice.plan(replicas=0).custodians) == 4


def test_choose_with_three_custodians_of_whom_one_is_down_keeps_all_three(choice_of):
    choice = choice_of(3)
    choice.stop(2)
    assert len(choice.plan().custodians) == 3


def test_choose_is_the_same_for_all_records_of_a_patient_and_even_over_patients(choice_of):
    choice = choice_of(6)
    taken: Counter[bytes] = Counter()
    for number in range(300):
        patient = number.to_bytes(20, "big")
        plan = choice.plan(patient, custodians=3, threshold=2)
        assert chosen(plan) == chosen(choice.plan(patient, custodians=3, threshold=2))
        assert chosen(plan)[0] == choice.members[0].address
        taken.update(chosen(plan)[1:])
    assert len(taken) == 5
    assert max(taken.values()) < 2 * min(taken.values())


def test_choose_leaves_out_members_that_are_suspended(choice_of):
    choice = choice_of(4)
    gone = choice.members[1].address
    choice.state.members[gone] = replace(choice.state.members[gone], active=False)
    assert gone not in chosen(choice.plan())


def test_choose_with_fewer_custodians_than_the_threshold_is_refused(choice_of):
    with pytest.raises(Unavailable, match="custodians"):
        choice_of(1).plan()


@given(st.integers(2, 32), st.integers(0, 32), st.data())
def test_enough_is_one_more_than_opens_and_at_least_the_replicas(count, replicas, data):
    threshold = data.draw(st.integers(2, count))
    enough = enough_of(threshold, count, replicas)
    assert threshold <= enough <= count
    assert enough == count or (enough > threshold and enough >= replicas > 0)
