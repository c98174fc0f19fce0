"""What is refused before anything is made of it."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from records import (
    InputLimits,
    InputTooLargeError,
    InvalidBundleError,
    NotFhirError,
    RecordsError,
    describe,
    prepare,
)
from records.reading import read_bundle

Build = Callable[..., bytes]


def test_prepare_one_byte_over_the_size_limit_is_refused_before_parsing() -> None:
    with pytest.raises(InputTooLargeError, match=f"at most {32 * 2**20} bytes; came {32 * 2**20 + 1}"):
        prepare(b" " * (32 * 2**20 + 1), None)


def test_prepare_exactly_at_the_size_limit_passes(bundle_of: Build, observation: dict[str, Any]) -> None:
    raw = bundle_of(observation)
    assert prepare(raw, None, InputLimits(size_bytes=len(raw)))
    with pytest.raises(InputTooLargeError):
        prepare(raw, None, InputLimits(size_bytes=len(raw) - 1))


@pytest.mark.parametrize("depth", [101, 1_000, 1_100, 100_000])
@pytest.mark.parametrize("bomb", ["[", '{"a":'], ids=["arrays", "objects"])
def test_prepare_depth_bomb_is_refused(depth: int, bomb: str) -> None:
    raw = (bomb * depth + "1" + {"[": "]", '{"a":': "}"}[bomb] * depth).encode()
    with pytest.raises(InputTooLargeError, match="nested at most 100 deep"):
        prepare(raw, None)
    with pytest.raises(InputTooLargeError, match="nested at most 100 deep"):
        describe(raw)


def test_read_bundle_at_the_depth_limit_passes_and_one_deeper_is_refused() -> None:
    raw = b'{"resourceType":"Bundle","entry":[{"resource":{"a":[]}}]}'
    assert read_bundle(raw, InputLimits(depth=5)).entries[0].resource == {"a": []}
    with pytest.raises(InputTooLargeError):
        read_bundle(raw, InputLimits(depth=4))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "expected JSON"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"a":"\xff"}', "expected UTF-8; byte 6 is not"),
        (b'{"a":"\xed\xa0\x80"}', "expected UTF-8; byte 6 is not"),
        (b'{"a":"\\ud800"}', "broken at line 1"),
        (b'{"a":NaN}', "broken at line 1, column 6"),
        (b'{"a":-Infinity}', "broken at line 1"),
        (b'{"a":1e400}', "broken at line 1"),
        (b'{"a":' + b"9" * 5000 + b"}", "broken at line 1"),
        (b'{"a":1,}', "broken at line 1"),
        (b'{"a":01}', "broken at line 1"),
        (b"{'a':1}", "broken at line 1"),
        (b'{"a":1} x', "broken at line 1"),
        (b"\x00", "broken at line 1"),
        ("{}".encode("utf-16"), "expected UTF-8"),
        (b"null", "expected a FHIR Bundle"),
        (b"[]", "expected a FHIR Bundle"),
        (b'"Bundle"', "expected a FHIR Bundle"),
        (b"{}", 'without "resourceType"'),
        (b'{"resourceType":"Patient"}', "came 'Patient'"),
        (b'{"resourceType":["Bundle"]}', "came an array of 1"),
        (b'{"resourceType":"Ada Lovelace"}', "came a string of 12 characters"),
    ],
)
def test_prepare_not_fhir_is_refused_in_one_line(raw: bytes, message: str) -> None:
    with pytest.raises(NotFhirError) as caught:
        prepare(raw, None)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b'{"resourceType":"Bundle","type":"collection","type":"document"}', "type"),
        (b'{"resourceType":"Bundle","entry":[],"entry":[]}', "entry"),
        (b'{"resourceType":"Bundle","entry":[{"resource":{},"resource":{}}]}', "entry[0].resource"),
        (
            b'{"resourceType":"Bundle","entry":[{},{"resource":{"a":[{"b":1,"\\u0062":2}]}}]}',
            "entry[1].resource.a[0].b",
        ),
    ],
)
def test_prepare_key_twice_parsers_that_differ_is_refused_with_its_place(raw: bytes, place: str) -> None:
    with pytest.raises(NotFhirError) as caught:
        prepare(raw, None)
    assert f"object; {place} occurs twice" in str(caught.value)


def test_read_bundle_any_white_space_gives_the_exact_source_of_each_member() -> None:
    resource = '{ "resourceType" :\t"Basic",\r\n"value": 1.10, "text":"\\u0041\\/\\"}é" }'
    raw = (
        ' \n{ "entry" : [ { "fullUrl" : "urn:\\u0061" , "resource" : ' + resource + " } , {} ,{\t} ] \n"
        ', "type" : "collection","resourceType":"Bundle" } '
    ).encode()
    bundle = read_bundle(raw, InputLimits())
    assert bundle.entries[0].source == {"fullUrl": '"urn:\\u0061"', "resource": resource}
    assert bundle.entries[0].resource == json.loads(resource)
    assert [entry.value for entry in bundle.entries[1:]] == [{}, {}]
    assert bundle.value == {"type": "collection", "resourceType": "Bundle"}


def test_attack_millions_of_empty_arrays_are_refused_before_parsing() -> None:
    with pytest.raises(InputTooLargeError, match="at most 1000000 objects and arrays; came 1000002"):
        prepare(b'{"entry":[' + b"[]," * 1_000_000 + b"1]}", None)


@pytest.mark.parametrize(
    "element",
    [{"note": [[]] * 200_000}, {"note": [1] * 200_000}, {f"k{number}": 1 for number in range(200_000)}],
    ids=["empty", "mistyped", "unknown"],
)
def test_attack_hundreds_of_thousands_of_faults_cost_seconds_at_most(
    bundle_of: Build, observation: dict[str, Any], element: dict[str, Any]
) -> None:
    """The schema validator would gather them all, in more than linear time."""
    raw = bundle_of({**observation, **element})
    start = time.process_time()
    with pytest.raises(InvalidBundleError) as caught:
        prepare(raw, None)
    assert time.process_time() - start < 15
    assert caught.value.more_count <= 1_000


def test_attack_hundreds_of_thousands_of_entries_without_resource_cost_seconds_at_most(
    bundle_of: Build,
) -> None:
    start = time.process_time()
    with pytest.raises(InvalidBundleError):
        prepare(bundle_of(entry=[{}] * 400_000), None)
    assert time.process_time() - start < 15


@pytest.mark.parametrize("limits", [{"size_bytes": 0}, {"containers": 0}, {"depth": 0}, {"depth": 201}])
def test_input_limits_out_of_range_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected size_bytes and containers"):
        InputLimits(**limits)


def test_every_error_of_the_room_has_one_root() -> None:
    assert issubclass(NotFhirError, RecordsError)
    assert issubclass(InputTooLargeError, RecordsError)
