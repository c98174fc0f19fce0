"""Keyrings: epochs, rotation, and a model to compare every version with."""

import itertools
from dataclasses import replace

import cbor2
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from crypto.errors import EpochError, FormatError
from crypto.keyring import MAX_EPOCH, Keyring, KeyringSecrets
from vocabulary import Category

SCOPE = (31337, b"\x11" * 20, b"\x33" * 20)
LAB, IMAGING, DENTAL = Category.LABORATORY, Category.IMAGING, Category.DENTAL


def generate(*categories: Category, epoch: int = 1) -> KeyringSecrets:
    return KeyringSecrets.generate(*SCOPE, categories, epoch)


class KeyringMachine(RuleBasedStateMachine):
    """Rotates at will, and compares with a table of which key was in force at which epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets = generate(LAB, IMAGING)
        self.table = {1: {category: self.secrets.category_key_at(category, 1) for category in (LAB, IMAGING)}}

    @rule(categories=st.sets(st.sampled_from([LAB, IMAGING, DENTAL, Category.DEVICE])))
    def rotate(self, categories):
        before = self.secrets
        self.secrets = before.rotate(categories)
        epoch = before.epoch + 1
        current = dict(self.table[before.epoch])
        for category in categories:
            key = self.secrets.category_key_at(category, epoch)
            assert key not in [key for keys in self.table.values() for key in keys.values()]
            current[category] = key
        self.table[epoch] = current

    @invariant()
    def every_epoch_has_its_keys(self):
        for epoch, keys in self.table.items():
            for category in Category:
                if category in keys:
                    assert self.secrets.category_key_at(category, epoch) == keys[category]
                else:
                    with pytest.raises(EpochError):
                        self.secrets.category_key_at(category, epoch)

    @invariant()
    def public_keyring_shows_the_current_keys(self):
        keyring = self.secrets.public()
        assert keyring.epoch == max(self.table)
        assert {entry.category: entry.public for entry in keyring.categories} == {
            category: key.public for category, key in self.table[keyring.epoch].items()
        }
        assert Keyring.from_bytes(keyring.to_bytes()) == keyring

    @invariant()
    def secrets_survive_the_vault(self):
        assert KeyringSecrets.from_bytes(self.secrets.to_bytes()) == self.secrets

    @invariant()
    def versions_of_a_category_meet_without_gap_or_overlap(self):
        for category in self.secrets.versions:
            versions = self.secrets.category_secrets(category)
            assert versions[-1].epoch_until is None
            for older, newer in itertools.pairwise(versions):
                assert older.epoch_until == newer.epoch_from - 1


KeyringMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=8, deadline=None)
TestKeyring = KeyringMachine.TestCase


def test_rotate_keeps_the_owner_key_and_what_was_not_rotated():
    before = generate(LAB, IMAGING)
    after = before.rotate([IMAGING])
    assert after.epoch == 2
    assert after.owner == before.owner
    old, new = before.public(), after.public()
    assert new.category_public(LAB) == old.category_public(LAB)
    assert new.category_public(IMAGING) != old.category_public(IMAGING)
    assert new.digest != old.digest


def test_category_secrets_cover_exactly_the_epochs_asked_for():
    secrets = generate(LAB).rotate([LAB]).rotate([]).rotate([LAB])
    assert [(v.epoch_from, v.epoch_until) for v in secrets.category_secrets(LAB)] == [
        (1, 1),
        (2, 3),
        (4, None),
    ]
    assert [v.epoch_from for v in secrets.category_secrets(LAB, 3)] == [2, 4]
    assert [v.epoch_from for v in secrets.category_secrets(LAB, 2, 3)] == [2]
    assert secrets.category_secrets(DENTAL) == ()


def test_category_key_at_an_epoch_to_come_is_refused():
    with pytest.raises(EpochError, match="up to 1; came 2"):
        generate(LAB).category_key_at(LAB, 2)


def test_category_public_of_a_category_without_key_says_what_to_do():
    with pytest.raises(EpochError, match=r"dental.*rotation"):
        generate(LAB).public().category_public(DENTAL)


def test_rotate_at_the_last_epoch_is_refused():
    with pytest.raises(EpochError, match="register anew"):
        generate(LAB, epoch=MAX_EPOCH).rotate([LAB])


def test_keyring_with_every_category_fits_its_limit():
    keyring = generate(*Category).public()
    assert Keyring.from_bytes(keyring.to_bytes()) == keyring


@pytest.mark.parametrize("name", ["chain_id", "contract", "patient", "epoch", "owner_public", "categories"])
def test_digest_binds_every_field(name):
    keyring = generate(LAB, IMAGING).public()
    value = getattr(keyring, name)
    other = (
        value + 1
        if isinstance(value, int)
        else value[::-1]
        if name == "owner_public"
        else value[:1]
        if name == "categories"
        else b"\x99" * len(value)
    )
    assert replace(keyring, **{name: other}).digest != keyring.digest


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(epoch=2**16),
        lambda document: document.update(epoch=0),
        lambda document: document.update(ownerKey=b""),
        lambda document: document["categories"].reverse(),
        lambda document: document["categories"].append(document["categories"][0]),
        lambda document: document["categories"][0].update(category=31),
        lambda document: document["categories"][0].update(epochFrom=9),
        lambda document: document["categories"][0].update(surprise=1),
        lambda document: document.update(categories=[{}] * 33),
        lambda document: document.pop("patient"),
    ],
)
def test_keyring_from_bytes_of_another_shape_is_refused(change):
    document = cbor2.loads(generate(LAB, IMAGING).public().to_bytes())
    change(document)
    with pytest.raises(FormatError):
        Keyring.from_bytes(cbor2.dumps(document, canonical=True))


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document["keys"].reverse(),
        lambda document: document["keys"].append(document["keys"][0]),
        lambda document: document["keys"][0].update(epochFrom=9),
        lambda document: document["keys"][0].update(seed=b"short"),
        lambda document: document.update(ownerSeed=b""),
        lambda document: document.update(surprise=1),
    ],
)
def test_keyring_secrets_from_bytes_of_another_shape_are_refused(change):
    document = cbor2.loads(generate(LAB, IMAGING).rotate([LAB]).to_bytes())
    change(document)
    with pytest.raises(FormatError):
        KeyringSecrets.from_bytes(cbor2.dumps(document, canonical=True))


def test_repr_of_secrets_shows_no_seed():
    secrets = generate(LAB)
    assert secrets.owner.seed.hex() not in repr(secrets)
    assert secrets.category_key_at(LAB, 1).seed.hex() not in repr(secrets) + repr(
        secrets.category_secrets(LAB)
    )
