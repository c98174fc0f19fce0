"""Shares: any t of n rebuild, fewer tell nothing, impossible ones are refused."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import FormatError
from crypto.shamir import combine, split

SECRET = bytes(range(32))


@given(secret=st.binary(min_size=32, max_size=32), data=st.data())
def test_combine_any_threshold_of_shares_gives_the_secret(secret, data):
    count = data.draw(st.integers(2, 8))
    threshold = data.draw(st.integers(2, count))
    shares = dict(enumerate(split(secret, threshold, count), start=1))
    chosen = data.draw(st.sets(st.sampled_from(sorted(shares)), min_size=threshold))
    assert combine({index: shares[index] for index in chosen}, threshold) == secret


def test_combine_every_three_of_five_gives_the_secret():
    shares = dict(enumerate(split(SECRET, 3, 5), start=1))
    for chosen in combinations(shares.items(), 3):
        assert combine(dict(chosen), 3) == SECRET


def test_combine_fewer_than_threshold_gives_an_unrelated_value():
    shares = dict(enumerate(split(SECRET, 3, 5), start=1))
    assert combine({1: shares[1], 2: shares[2]}, 2) != SECRET
    with pytest.raises(FormatError, match="at least 3; came 2"):
        combine({1: shares[1], 2: shares[2]}, 3)


def test_combine_one_known_share_fits_every_secret():
    # With one share of a 2-of-3 known, each value of the second gives another secret: none is excluded.
    known = split(SECRET, 2, 3)[0]
    secrets = {combine({1: known, 2: bytes([value]) * 32}, 2) for value in range(256)}
    assert len(secrets) == 256


def test_split_is_randomised():
    assert split(SECRET, 2, 3) != split(SECRET, 2, 3)


def test_combine_altered_share_gives_another_value():
    shares = dict(enumerate(split(SECRET, 2, 3), start=1))
    assert combine({1: shares[1], 2: bytes(32)}, 2) != SECRET
    assert combine({1: shares[1], 3: shares[2]}, 2) != SECRET


@pytest.mark.parametrize(("threshold", "count"), [(1, 3), (4, 3), (0, 0), (2, 33), (-1, 5)])
def test_split_impossible_threshold_is_refused(threshold, count):
    with pytest.raises(FormatError, match="threshold"):
        split(SECRET, threshold, count)


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(33), "text"])
def test_split_secret_of_another_size_is_refused(secret):
    with pytest.raises(FormatError, match="32 bytes"):
        split(secret, 2, 3)


@pytest.mark.parametrize(
    "shares", [{0: bytes(32), 1: bytes(32)}, {1: bytes(32), 33: bytes(32)}, {1: bytes(32), 2: bytes(31)}]
)
def test_combine_impossible_index_or_size_is_refused(shares):
    with pytest.raises(FormatError, match="share"):
        combine(shares, 2)
