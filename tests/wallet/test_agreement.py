"""Agreement: two members' nodes must say the same of one block, or nothing is signed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wallet_parts import block, member

from wallet.agreement import Answer, agree, find_agreement
from wallet.directory import Directory, comparable_members
from wallet.errors import NodesDisagree, NodeUnreachable, TooFewNodes, UnknownName
from wallet.nodes import NodeClient
from wire.ledger import BlockReference


@dataclass(frozen=True)
class Said:
    """A view of a block, with one value."""

    final: BlockReference
    value: str


@dataclass
class Scripted:
    """Stands for a node: its answers one after the other, the last one for ever."""

    name: str
    member: bytes
    script: Sequence[Said | NodeUnreachable]
    asked: int = field(default=0)

    def say(self) -> Said:
        answer = self.script[min(self.asked, len(self.script) - 1)]
        self.asked += 1
        if isinstance(answer, NodeUnreachable):
            raise answer
        return answer


def said(number: int, value: str = "truth", branch: str = "main") -> Said:
    return Said(block(number, branch), value)


def node(name: str, *script: Said | NodeUnreachable) -> Scripted:
    return Scripted(name, member(name).address, script)


def ask(*nodes: Scripted, patience_seconds: float = 60.0):  # type: ignore[no-untyped-def]
    def fetch(client: NodeClient) -> Said:
        assert isinstance(client, Scripted)
        return client.say()

    return agree(list(nodes), fetch, lambda view: view.value, "the state", patience_seconds)  # type: ignore[arg-type]


DOWN = NodeUnreachable("C", "down")


def test_agree_when_two_say_the_same_returns_it() -> None:
    agreed = ask(node("A", said(5)), node("B", said(5)))
    assert agreed.view.value == "truth"
    assert agreed.nodes == ("A", "B")


def test_agree_when_one_is_a_block_behind_waits_for_the_same_block() -> None:
    agreed = ask(node("A", said(5, "old"), said(6)), node("B", said(6)))
    assert (agreed.view.final.number, agreed.view.value) == (6, "truth")


def test_agree_with_nodes_that_alternate_uses_answers_of_earlier_rounds() -> None:
    agreed = ask(node("A", said(5), said(7)), node("B", said(4), said(5), said(7)))
    assert agreed.view.final.number == 5


def test_agree_when_two_differ_names_both_and_asks_a_third_to_show_who_stands_alone() -> None:
    with pytest.raises(NodesDisagree, match="the state") as raised:
        ask(node("A", said(5)), node("B", said(5, "lie")), node("C", said(5)))
    assert set(raised.value.sides) == {("A", "C"), ("B",)}


def test_agree_when_two_differ_and_a_third_makes_a_majority_still_refuses() -> None:
    with pytest.raises(NodesDisagree):
        ask(node("A", said(5, "lie")), node("B", said(5)), node("C", said(5)))


def test_agree_on_one_number_with_two_hashes_names_the_fork() -> None:
    with pytest.raises(NodesDisagree, match="block of number 5"):
        ask(node("A", said(5)), node("B", said(5, branch="fork")))


def test_agree_when_a_node_is_down_asks_the_next() -> None:
    assert ask(node("C", DOWN), node("A", said(5)), node("B", said(5))).nodes == ("A", "B")


def test_agree_with_one_reachable_member_refuses_and_says_so() -> None:
    with pytest.raises(TooFewNodes, match="A single node could show a false ledger"):
        ask(node("A", said(5)), node("C", DOWN))


def test_agree_with_two_nodes_of_one_member_counts_them_as_one() -> None:
    first = node("A", said(5))
    second = Scripted("A again", first.member, (said(5),))
    with pytest.raises(TooFewNodes):
        ask(first, second)


def test_agree_with_nodes_never_at_one_block_gives_up_in_time() -> None:
    with pytest.raises(TooFewNodes, match="never at the same"):
        ask(node("A", said(5)), node("B", said(6)), patience_seconds=0.3)


@given(
    st.lists(
        st.tuples(st.sampled_from("ABC"), st.integers(1, 2), st.sampled_from(["truth", "lie"])), max_size=6
    )
)
def test_find_agreement_never_returns_what_only_one_member_said(answers: list[tuple[str, int, str]]) -> None:
    given_answers = [
        Answer(member(name).address, name, said(number, value)) for name, number, value in answers
    ]
    try:
        agreed = find_agreement(given_answers, lambda view: view.value, "the state")
    except NodesDisagree:
        assert len({(number, value) for _, number, value in answers}) > len(
            {number for _, number, _ in answers}
        )
        return
    if agreed is not None:
        sayers = {
            name
            for name, number, value in answers
            if (number, value) == (agreed.view.final.number, agreed.view.value)
        }
        assert len(sayers) >= 2


def test_directory_find_by_name_ignores_case_and_spaces() -> None:
    hospital = member("Seoul Hospital")
    directory = Directory(block(), (hospital,))
    assert directory.find("  seoul   HOSPITAL ") == hospital
    assert directory.find("0x" + hospital.address.hex()) == hospital


def test_directory_find_when_another_member_took_the_same_name_asks_for_the_address() -> None:
    hospital = member("Seoul Hospital")
    impostor = member("seoul hospital").model_copy(update={"name": "Seoul Hospital"})
    with pytest.raises(UnknownName, match="several members"):
        Directory(block(), (hospital, impostor)).find("Seoul Hospital")


def test_comparable_members_with_another_key_differ() -> None:
    from wire.ledger import MembersView

    hospital = member("Seoul Hospital")
    honest = MembersView(final=block(), members=(hospital,))
    forged = hospital.model_copy(update={"encryption_key": b"x" * 1216})
    lying = MembersView(final=block(), members=(forged,))
    assert comparable_members(honest) != comparable_members(lying)
