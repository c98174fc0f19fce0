"""The messages on the wire: text outside, bytes and codes inside, nothing else let in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vocabulary import Category, Purpose, Reason
from wire.custody import deposit_statement
from wire.patients import AccessView, GrantDelivery
from wire.staff import ReadRequest, decode_patient_identifier, encode_patient_identifier
from wire.types import Address, Blob, Bytes32, Message


class Sample(Message):
    address: Address
    digest: Bytes32
    blob: Blob


@given(st.binary(min_size=20, max_size=20), st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_message_to_json_and_back_is_the_same(address, digest, blob):
    sample = Sample(address=address, digest=digest, blob=blob)
    assert Sample.model_validate_json(sample.model_dump_json()) == sample


@pytest.mark.parametrize(
    "text", ["", "0x", "11" * 20, "0x" + "11" * 19, "0x" + "11" * 21, "0x" + "zz" * 20, 5, None]
)
def test_message_with_bad_address_is_refused(text):
    with pytest.raises(ValidationError):
        Sample.model_validate({"address": text, "digest": "0x" + "00" * 32, "blob": ""})


def test_message_with_unknown_field_is_refused():
    with pytest.raises(ValidationError):
        GrantDelivery.model_validate_json('{"bundle": "AA==", "surprise": 1}')


def test_validation_error_does_not_repeat_the_input():
    with pytest.raises(ValidationError) as caught:
        GrantDelivery.model_validate({"bundle": "AA==", "introduction": "Kim Minji " * 30})
    assert "Kim" not in str(caught.value)


def test_read_request_speaks_labels_and_codes():
    text = (
        '{"patient": "0x' + "11" * 20 + '", "categories": ["laboratory", "vital-signs"], "purpose": "TREAT"}'
    )
    request = ReadRequest.model_validate_json(text)
    assert request.categories == (Category.LABORATORY, Category.VITAL_SIGNS)
    assert request.purpose is Purpose.TREAT
    assert '"categories":["laboratory","vital-signs"]' in request.model_dump_json()


def test_access_view_speaks_the_reason_by_name():
    view = AccessView(
        patient=bytes(20),
        sequence=1,
        record_id=bytes(32),
        requester=bytes(20),
        consent_id=bytes(32),
        purpose=Purpose.TREAT,
        reason=Reason.NO_CONSENT,
        time=1,
        block_number=1,
        transaction_hash=bytes(32),
        response_key_digest=bytes(32),
        person_commitment=bytes(32),
    )
    assert '"reason":"NO_CONSENT"' in view.model_dump_json()


def test_deposit_statement_has_its_documented_size():
    assert len(deposit_statement(bytes(20), b"header", 1, b"o", b"c", b"k", 2**40)) == 157


@given(st.integers(0, 6))
def test_deposit_statement_changes_with_each_argument(position):
    arguments = [bytes(20), b"header", 1, b"owner", b"consent", b"custody", 7]
    changed = list(arguments)
    value = arguments[position]
    changed[position] = (
        value + 1 if isinstance(value, int) else b"\x01" * 20 if position == 0 else value + b"!"
    )
    assert deposit_statement(*arguments) != deposit_statement(*changed)


@given(st.text(max_size=100), st.text(min_size=1, max_size=100))
def test_patient_identifier_header_of_any_text_is_ascii_and_comes_back_the_same(system, value):
    text = encode_patient_identifier(system, value)
    assert text.isascii()
    assert text.isprintable()
    assert decode_patient_identifier(text).model_dump() == {"system": system, "value": value}
