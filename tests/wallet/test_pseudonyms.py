"""Pseudonym accounts: reproducible from the seed, and from nothing else."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.signer import AccountKey
from wallet.pseudonyms import pseudonym_key


def test_pseudonym_key_of_seed_and_index_is_hkdf_expand() -> None:
    # RFC 5869 section 2.3 with one block: T(1) = HMAC(PRK, info | 0x01), computed here without the library.
    seed = bytes(range(32))
    info = b"phr/v1/pseudonym\x00" + (5).to_bytes(4, "big") + b"\x00"
    expected = hmac.new(seed, info + b"\x01", hashlib.sha256).digest()
    assert pseudonym_key(seed, 5).secret == expected


def test_pseudonym_key_of_fixed_seed_stays_the_same_for_ever() -> None:
    # A change here would orphan every pseudonym of every wallet.
    assert pseudonym_key(bytes(range(32)), 0).checksum_address == "0xc03Abf559D45E73b27C23fC038aE4bE74E5740AA"


@given(
    seed=st.binary(min_size=32, max_size=32),
    first=st.integers(0, 2**32 - 1),
    second=st.integers(0, 2**32 - 1),
)
def test_pseudonym_key_differs_between_indexes(seed: bytes, first: int, second: int) -> None:
    assert (pseudonym_key(seed, first).address == pseudonym_key(seed, second).address) == (first == second)


@pytest.mark.parametrize(("size_bytes", "index"), [(31, 0), (33, 0), (32, -1), (32, 2**32)])
def test_pseudonym_key_with_wrong_sizes_is_refused(size_bytes: int, index: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        pseudonym_key(bytes(size_bytes), index)


def test_pseudonym_key_repr_hides_the_secret() -> None:
    key = pseudonym_key(bytes(range(32)), 0)
    assert isinstance(key, AccountKey)
    assert key.secret.hex() not in repr(key)
