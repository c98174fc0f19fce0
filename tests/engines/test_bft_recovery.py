"""What a validator without its memory may sign next: nothing that it may have signed, and what the others wait for."""

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import KeyfileError
from crypto.private_file import atomic_write_private
from engines.bft_recovery import (
    KEY_PATH,
    MARGIN_BLOCKS,
    PRECOMMITTED,
    PREVOTED,
    PROPOSED,
    STATE_PATH,
    ConsensusView,
    LastSigned,
    own_address,
    read_last_signed,
    read_view,
    recover,
    write_last_signed,
)
from engines.errors import EnginesError

ADDRESSES = [letter * 40 for letter in "ABCD"]
LOST = 2
NIL = "nil-Vote"


def vote(index: int, height: int, round_: int, kind: str = "PREVOTE(Prevote)") -> str:
    """As CometBFT writes one."""
    return (
        f"Vote{{{index}:{ADDRESSES[index][:12]} {height}/{round_:02d}/SIGNED_MSG_TYPE_{kind} BFECDE53AF89 "
        "63E29DFE42D0 000000000000 @ 2026-11-22T12:52:38.449629675Z}"
    )


def votes_of(voters: Sequence[int], height: int, round_: int) -> tuple[str, ...]:
    return tuple(vote(index, height, round_) if index in voters else NIL for index in range(4))


def view(
    index: int,
    height: int = 9,
    round_: int = 0,
    prevotes: dict[int, Sequence[int]] | None = None,
    precommits: dict[int, Sequence[int]] | None = None,
    **changes: Any,
) -> ConsensusView:
    """One of four validators of equal power; who voted, by round."""
    rounds = {*range(round_ + 1), *(prevotes or {}), *(precommits or {})}
    votes = {
        number: (
            votes_of((prevotes or {}).get(number, ()), height, number),
            votes_of((precommits or {}).get(number, ()), height, number),
        )
        for number in rounds
    }
    given = {
        "name": f"validator-{index}",
        "address": ADDRESSES[index],
        "chain_id": "phr-1",
        "height": height,
        "round": round_,
        "power": dict.fromkeys(ADDRESSES, 10),
        "votes": votes,
    }
    return ConsensusView(**(given | changes))


def document(seen: ConsensusView, *, catching_up: bool = False) -> list[dict[str, Any]]:
    """The answers that a view is read from."""
    status = {
        "node_info": {"moniker": seen.name, "network": seen.chain_id},
        "sync_info": {"catching_up": catching_up},
        "validator_info": {"address": seen.address},
    }
    state = {
        "height": str(seen.height),
        "round": seen.round,
        "validators": {
            "validators": [
                {"address": address, "voting_power": str(power)} for address, power in seen.power.items()
            ]
        },
        "votes": [
            {"round": number, "prevotes": list(prevotes), "precommits": list(precommits)}
            for number, (prevotes, precommits) in seen.votes.items()
        ],
    }
    return [
        {"jsonrpc": "2.0", "id": 2, "result": {"round_state": state}},
        {"jsonrpc": "2.0", "id": 1, "result": status},
    ]


def test_read_view_answers_in_any_order_gives_what_was_told(tmp_path: Path) -> None:
    told = view(0, 12, 1, prevotes={0: [0, 1, 2], 1: [0]}, precommits={0: [0, 1, 2]})
    path = tmp_path / "seen.json"
    path.write_bytes(orjson.dumps(document(told)))
    assert read_view(path) == told


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"[1,2]",
        b'{"jsonrpc":"2.0","error":{}}',
        b'[{"id":1,"error":"x"},{"id":2,"result":{}}]',
    ],
)
def test_read_view_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "seen.json"
    path.write_bytes(content)
    with pytest.raises(EnginesError, match="expected a running validator's answers"):
        read_view(path)


def test_read_view_of_one_that_catches_up_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "seen.json"
    path.write_bytes(orjson.dumps(document(view(0), catching_up=True)))
    with pytest.raises(EnginesError, match="catching up"):
        read_view(path)


def test_read_view_with_votes_of_fewer_validators_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "seen.json"
    told = view(0)
    path.write_bytes(orjson.dumps(document(view(0, votes={0: (told.votes[0][0][:3], told.votes[0][1])}))))
    with pytest.raises(EnginesError, match="expected the votes of 4 validators"):
        read_view(path)


def test_recover_chain_stands_and_nobody_saw_a_vote_both_votes_are_left_and_no_proposal() -> None:
    found = recover([view(0, prevotes={0: [0]}), view(1, prevotes={0: [0, 1]})], ADDRESSES[LOST])
    assert found.stands
    assert found.last_signed == LastSigned(9, 0, PROPOSED)


def test_recover_chain_stands_and_one_saw_the_prevote_the_precommit_is_left() -> None:
    found = recover([view(0, prevotes={0: [0]}), view(1, prevotes={0: [0, 1, LOST]})], ADDRESSES[LOST])
    assert found.last_signed == LastSigned(9, 0, PREVOTED)


def test_recover_chain_stands_and_one_saw_the_precommit_the_next_round_is_left() -> None:
    seen = [view(0, prevotes={0: [0]}), view(1, precommits={0: [LOST]})]
    assert recover(seen, ADDRESSES[LOST]).last_signed == LastSigned(9, 0, PRECOMMITTED)


def test_recover_votes_of_earlier_rounds_and_heights_do_not_hold_back_the_place_that_is_waited_for() -> None:
    seen = [view(0, 9, 2, precommits={0: [LOST], 1: [LOST]}), view(1, 8, 5, precommits={5: [LOST]})]
    assert recover(seen, ADDRESSES[LOST]).last_signed == LastSigned(9, 2, PROPOSED)


def test_recover_the_others_go_on_signs_a_margin_above_them() -> None:
    found = recover([view(0, 9), view(1, 11), view(3, 10)], ADDRESSES[LOST])
    assert not found.stands
    assert found.last_signed == LastSigned(11 + MARGIN_BLOCKS, 0, 0)


def test_recover_two_files_of_one_validator_count_its_power_once() -> None:
    assert recover([view(0), view(0), view(1)], ADDRESSES[LOST]).stands
    with pytest.raises(EnginesError, match="10 of 40 votes, and this validator 10: too few"):
        recover([view(0), view(0), view(0)], ADDRESSES[LOST])


def test_recover_one_with_more_than_a_third_of_the_votes_is_refused_where_the_chain_stands() -> None:
    heavy = dict(zip(ADDRESSES, (10, 10, 11, 1), strict=True))
    with pytest.raises(EnginesError, match="more than a third"):
        recover([view(0, power=heavy), view(1, power=heavy)], ADDRESSES[LOST])


@given(st.lists(st.integers(1, 20), min_size=4, max_size=4))
def test_recover_where_the_chain_stands_no_other_block_passes_without_one_that_is_locked(
    powers: list[int],
) -> None:
    """Whatever block the lost one decided with others: without those of them that run there are no two thirds."""
    power = dict(zip(ADDRESSES, powers, strict=True))
    try:
        found = recover([view(0, power=power), view(1, power=power)], ADDRESSES[LOST])
    except EnginesError:
        return
    if not found.stands:
        return
    total = sum(powers)
    for locked in ([], [0], [1], [0, 1]):
        decided = sum(powers[index] for index in (*locked, LOST, 3))
        another = sum(powers[index] for index in (0, 1, LOST) if index not in locked)
        assert not (3 * decided > 2 * total and 3 * another > 2 * total)


def test_recover_one_without_a_vote_adds_no_power() -> None:
    watcher = view(0, address="E" * 40)
    with pytest.raises(EnginesError, match="0 of 40"):
        recover([watcher], ADDRESSES[LOST])


@pytest.mark.parametrize(
    ("seen", "address", "message"),
    [
        ([], ADDRESSES[LOST], "came nothing"),
        ([view(0), view(1, chain_id="other-1")], ADDRESSES[LOST], "validators of one chain"),
        ([view(0), view(1), view(LOST)], ADDRESSES[LOST], "runs, with a memory of its own"),
        ([view(0), view(1)], "E" * 40, "has no vote on phr-1"),
    ],
    ids=["nothing", "two-chains", "it-runs", "no-validator"],
)
def test_recover_what_cannot_be_answered_is_refused(
    seen: list[ConsensusView], address: str, message: str
) -> None:
    with pytest.raises(EnginesError, match=message):
        recover(seen, address)


def test_recover_a_list_that_holds_anothers_vote_in_this_ones_place_is_refused() -> None:
    wrong = view(0, votes={0: ((NIL, NIL, vote(3, 9, 0), NIL), (NIL,) * 4)})
    with pytest.raises(EnginesError, match="expected a vote of the validator"):
        recover([wrong, view(1)], ADDRESSES[LOST])


rounds = st.dictionaries(st.integers(0, 4), st.sets(st.integers(0, 3)).map(sorted), max_size=4)
views = st.builds(
    view,
    st.sampled_from([0, 1]),
    st.integers(9, 11),
    st.integers(0, 4),
    rounds,
    rounds,
)


@given(st.lists(views, max_size=3))
def test_recover_any_views_never_lets_it_sign_what_was_seen_nor_leaves_out_what_is_waited_for(
    more: list[ConsensusView],
) -> None:
    seen = [view(0), view(1), *more]
    made = recover(seen, ADDRESSES[LOST]).last_signed
    furthest = max((one.height, one.round) for one in seen)
    assert (made.height, made.round) >= furthest
    signed = [
        LastSigned(one.height, round_, step)
        for one in seen
        for round_, steps in one.votes.items()
        for step, votes in zip((PREVOTED, PRECOMMITTED), steps, strict=True)
        if votes[LOST] != NIL
    ]
    assert all(place <= made for place in signed)
    # No further than that: whatever lies above is left to sign, or the chain would stand.
    assert made in (LastSigned(*furthest, PROPOSED), *signed)


places = st.builds(LastSigned, st.integers(0, 2**62), st.integers(0, 2**31 - 1), st.integers(0, 3))


@given(there=st.none() | places, wanted=places)
def test_write_last_signed_never_takes_a_memory_back(
    tmp_path_factory: pytest.TempPathFactory, there: LastSigned | None, wanted: LastSigned
) -> None:
    home = tmp_path_factory.mktemp("home")
    if there is not None:
        assert write_last_signed(home, there)
    written = write_last_signed(home, wanted)
    assert written == (there is None or wanted > there)
    assert read_last_signed(home) == max(wanted, there or wanted)
    assert (home / STATE_PATH).stat().st_mode & 0o777 == 0o600
    assert (home / STATE_PATH).parent.stat().st_mode & 0o777 == 0o700


def test_write_last_signed_as_far_leaves_the_signature_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / STATE_PATH
    path.parent.mkdir()
    signed = b'{"height":"9","round":0,"step":2,"signature":"AA==","signbytes":"00"}'
    path.write_bytes(signed)
    assert not write_last_signed(tmp_path, LastSigned(9, 0, PREVOTED))
    assert path.read_bytes() == signed


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"height":"x","round":0,"step":0}'])
def test_write_last_signed_over_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / STATE_PATH
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(EnginesError, match="expected the memory of a validator"):
        write_last_signed(tmp_path, LastSigned(9, 0, 0))
    assert path.read_bytes() == content


def test_own_address_is_the_digest_of_the_public_key_whatever_the_file_says(tmp_path: Path) -> None:
    public = bytes(range(32))
    (tmp_path / KEY_PATH).parent.mkdir()
    key = {"address": "FF" * 20, "pub_key": {"value": b64encode(public).decode()}, "priv_key": {"value": "x"}}
    atomic_write_private(tmp_path / KEY_PATH, orjson.dumps(key))
    assert own_address(tmp_path) == hashlib.sha256(public).digest()[:20].hex().upper()


def test_own_address_of_no_key_is_refused_without_quoting_it(tmp_path: Path) -> None:
    with pytest.raises(KeyfileError):
        own_address(tmp_path)
    (tmp_path / KEY_PATH).parent.mkdir()
    atomic_write_private(tmp_path / KEY_PATH, b'{"priv_key": "secret words"')
    with pytest.raises(EnginesError) as refused:
        own_address(tmp_path)
    assert "secret" not in str(refused.value)
