"""What people type for records and patients, and the files that they name."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.options import parse_hex, parse_identifier, pick_by_id, read_input

IDS = [bytes.fromhex("1a2b3c4d" + "00" * 28), bytes.fromhex("1a2b3c99" + "00" * 28)]


def _pick(typed: str) -> bytes:
    return pick_by_id(typed, IDS, lambda item: item, "record")


@pytest.mark.parametrize("typed", ["0x1a2b3c4d", "1a2b3c4d", "0x1A2B3C4D", " 0x1a2b3c4 ", "0x1a2b3c4d…"])
def test_pick_by_id_by_its_first_digits_finds_the_one(typed: str) -> None:
    assert _pick(typed) == IDS[0]


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        ("0x1a2b3c", ExitCode.NOT_FOUND, "more than one"),
        ("0xffffff", ExitCode.NOT_FOUND, "no record"),
        ("0x1a2b", ExitCode.USAGE, "at least six digits"),
        ("", ExitCode.USAGE, "at least six digits"),
        ("0xzzzzzz", ExitCode.USAGE, "at least six digits"),
        ("١٢٣٤٥٦", ExitCode.USAGE, "at least six digits"),
    ],
)
def test_pick_by_id_of_none_several_or_no_number_is_refused(typed: str, code: ExitCode, said: str) -> None:
    with pytest.raises(CommandError, match=said) as refused:
        _pick(typed)
    assert refused.value.exit_code is code


@given(st.binary(min_size=20, max_size=20), st.text(max_size=45))
def test_parse_hex_takes_its_own_form_and_nothing_of_another_size(value: bytes, text: str) -> None:
    assert parse_hex("0x" + value.hex(), 20, "pseudonym") == value
    try:
        taken = parse_hex(text, 20, "pseudonym")
    except CommandError:
        return
    assert len(taken) == 20


def test_parse_identifier_of_a_fhir_token_gives_its_parts_and_a_bar_may_be_in_the_value() -> None:
    assert parse_identifier("urn:oid:1.2|12|3").model_dump() == {"system": "urn:oid:1.2", "value": "12|3"}
    assert parse_identifier("|12").model_dump() == {"system": "", "value": "12"}


@pytest.mark.parametrize(
    "token", ["12345", "urn:oid:1.2|", "|", "", "urn:oid:1.2| ", "urn:x|" + "1" * 257, "x" * 513 + "|1"]
)
def test_parse_identifier_without_system_or_value_is_refused(token: str) -> None:
    with pytest.raises(CommandError, match="expected an identifier"):
        parse_identifier(token)


def test_read_input_up_to_its_limit_is_read_and_beyond_it_refused(tmp_path: Path) -> None:
    path = tmp_path / "bundle.json"
    path.write_bytes(b"x" * 1024)
    assert read_input(path, 1024) == b"x" * 1024
    path.write_bytes(b"x" * 1025)
    with pytest.raises(CommandError, match="1 KiB") as refused:
        read_input(path, 1024)
    assert refused.value.exit_code is ExitCode.BAD_INPUT


def test_read_input_of_an_endless_file_ends(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="larger"):
        read_input(Path("/dev/zero"), 1024 * 1024)
