"""What a consent hands over: every key that it needs, and no other."""

from hypothesis import given
from hypothesis import strategies as st
from wallet_parts import CHAIN_ID, CONTRACT, record

from crypto.keyring import KeyringSecrets
from vocabulary import UNDATED, Category, DayPeriod
from wallet.bundles import needed_secrets

PATIENT = bytes(20)
LAB, IMAGING = Category.LABORATORY, Category.IMAGING
_KEYRINGS = [KeyringSecrets.generate(CHAIN_ID, CONTRACT, PATIENT, (LAB, IMAGING))]
for _step in ((LAB,), (IMAGING,), (LAB,)):
    _KEYRINGS.append(_KEYRINGS[-1].rotate(_step))
DAYS = DayPeriod(10, 20)


def spans(
    secrets: KeyringSecrets, ledger_epoch: int, period: DayPeriod, *epochs: int
) -> list[tuple[int, int | None]]:
    records = [record(PATIENT, LAB, DAYS, epoch) for epoch in epochs]
    return [
        (secret.epoch_from, secret.epoch_until)
        for secret in needed_secrets(secrets, ledger_epoch, (LAB,), period, records)
    ]


def test_needed_secrets_without_records_is_the_current_key_alone() -> None:
    assert spans(_KEYRINGS[3], 4, UNDATED) == [(4, None)]


def test_needed_secrets_with_an_old_record_includes_its_key() -> None:
    assert spans(_KEYRINGS[3], 4, UNDATED, 1) == [(1, 1), (4, None)]
    assert spans(_KEYRINGS[3], 4, UNDATED, 3) == [(2, 3), (4, None)]


def test_needed_secrets_outside_the_data_period_leaves_old_keys_out() -> None:
    assert spans(_KEYRINGS[3], 4, DayPeriod(11, 20), 1) == [(4, None)]


def test_needed_secrets_before_a_rotation_lands_keeps_the_key_still_in_force() -> None:
    # A record may yet be published under epoch 3 while the bundle for epoch 4 is on its way.
    assert spans(_KEYRINGS[3], 3, UNDATED) == [(2, 3), (4, None)]


@given(
    ledger_epoch=st.integers(1, 4),
    epochs=st.lists(st.integers(1, 4), max_size=3),
    category=st.sampled_from([LAB, IMAGING]),
)
def test_needed_secrets_open_every_covered_record_and_nothing_older_without_one(
    ledger_epoch: int, epochs: list[int], category: Category
) -> None:
    keyring = _KEYRINGS[ledger_epoch - 1]
    epochs = [min(epoch, ledger_epoch) for epoch in epochs]
    records = [record(PATIENT, category, DAYS, epoch) for epoch in epochs]
    given_keys = {
        secret.key.digest for secret in needed_secrets(keyring, ledger_epoch, (category,), UNDATED, records)
    }
    wanted = {keyring.category_key_at(category, epoch).digest for epoch in [*epochs, ledger_epoch]}
    assert given_keys == wanted


def test_needed_secrets_never_hands_over_another_category() -> None:
    records = [record(PATIENT, IMAGING, DAYS, 1)]
    categories = {secret.category for secret in needed_secrets(_KEYRINGS[3], 4, (LAB,), UNDATED, records)}
    assert categories == {LAB}
