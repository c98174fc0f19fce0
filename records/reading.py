"""JSON bytes to a bundle whose parts remember where in the input they stand.

The input is parsed twice, each time in C: ``orjson`` is the strict gate (grammar, UTF-8, no NaN, no lone
surrogate, numbers in range), then the standard library's scanner yields values *and* their ends, so that a
resource can be sliced out with its decimals and escapes untouched.
"""

import json
import re
from dataclasses import dataclass
from typing import NamedTuple

from records.errors import InvalidBundleError, Issue, NotFhirError
from records.json_gate import DuplicateKeyError, checked_text, duplicate_key_message, unique
from records.limits import InputLimits
from records.survey import Json
from records.wording import json_type, shown_code

_SPACE = re.compile(r"[ \t\n\r]*")
_NEXT_KEY = re.compile(
    r"""
    [ \t\n\r]* [{,]? [ \t\n\r]*
    (?: " (?P<key> [^"\\]* (?:\\.[^"\\]*)* ) " [ \t\n\r]* : [ \t\n\r]* | } )
    """,
    re.X | re.S,
)


class SourceEntry(NamedTuple):
    """One ``Bundle.entry``: its values, and the source text of each member (``resource``, ``fullUrl``, ...)."""

    value: Json
    source: dict[str, str]

    @property
    def resource(self) -> Json:
        """The resource of this entry (validated before anyone asks)."""
        resource: Json = self.value["resource"]
        return resource


@dataclass(frozen=True, slots=True)
class SourceBundle:
    """A parsed bundle: its members but ``entry``, the source text of each, and its entries."""

    value: Json
    source: dict[str, str]
    entries: tuple[SourceEntry, ...]


def read_bundle(raw: bytes, limits: InputLimits) -> SourceBundle:
    """Parse the bytes of a FHIR Bundle strictly.

    Raises:
        InputTooLargeError: more bytes or deeper nesting than ``limits`` allows.
        NotFhirError: no UTF-8, no JSON (RFC 8259), a key that occurs twice, or not a Bundle.
        InvalidBundleError: a Bundle whose ``entry`` is no array of objects, or a string with control
            characters (FHIR R4, 2.24.0.1).
    """
    text = checked_text(raw, limits)
    try:
        return _scan_bundle(text)
    except DuplicateKeyError:
        raise NotFhirError(duplicate_key_message(text)) from None


_DECODER = json.JSONDecoder(object_pairs_hook=unique)


def _scan_bundle(text: str) -> SourceBundle:
    start = _skip_space(text, 0)
    if text[start] != "{":
        raise NotFhirError("expected a FHIR Bundle, a JSON object; came another JSON value")
    value: Json = {}
    source: dict[str, str] = {}
    entries: tuple[SourceEntry, ...] = ()
    position = start
    while (member := _next_member(text, position)) is not None:
        key, begin = member
        if key in source:
            raise DuplicateKeyError
        if key == "entry" and text[begin] == "[":
            entries, position = _scan_entries(text, begin)
            source[key] = ""
        else:
            value[key], position = _DECODER.raw_decode(text, begin)
            source[key] = text[begin:position]
    resource_type = value.get("resourceType")
    if resource_type is None:
        raise NotFhirError('expected a FHIR Bundle; came a JSON object without "resourceType"')
    if resource_type != "Bundle":
        raise NotFhirError(
            f"expected a FHIR Bundle; came {shown_code(resource_type)}: put the resource into a Bundle "
            "together with its Patient"
        )
    if "entry" in value:
        raise InvalidBundleError((Issue("Bundle.entry", "an array", json_type(value["entry"])),))
    return SourceBundle(value, source, entries)


def _scan_entries(text: str, begin: int) -> tuple[tuple[SourceEntry, ...], int]:
    """The entries of the array that begins at ``begin``, and the position after it."""
    entries: list[SourceEntry] = []
    position = _skip_space(text, begin + 1)
    while text[position] != "]":
        if text[position] != "{":
            came, _ = _DECODER.raw_decode(text, position)
            location = f"Bundle.entry[{len(entries)}]"
            raise InvalidBundleError((Issue(location, "an object", json_type(came)),))
        entry, position = _scan_entry(text, position)
        entries.append(entry)
        position = _skip_space(text, position)
        if text[position] == ",":
            position = _skip_space(text, position + 1)
    return tuple(entries), position + 1


def _scan_entry(text: str, position: int) -> tuple[SourceEntry, int]:
    value: Json = {}
    source: dict[str, str] = {}
    while (member := _next_member(text, position)) is not None:
        key, begin = member
        if key in source:
            raise DuplicateKeyError
        value[key], position = _DECODER.raw_decode(text, begin)
        source[key] = text[begin:position]
    return SourceEntry(value, source), _after_object(text, position)


def _next_member(text: str, position: int) -> tuple[str, int] | None:
    """The key after ``position`` (an opening brace, or the end of a value) and where its value begins.

    The grammar has been checked, so that only well-formed text is met here.
    """
    match = _NEXT_KEY.match(text, position)
    if match is None or match["key"] is None:
        return None
    key = match["key"]
    return json.loads(f'"{key}"') if "\\" in key else key, match.end()


def _after_object(text: str, position: int) -> int:
    """The position after the closing brace that follows the last value (or an opening brace)."""
    return text.index("}", position) + 1


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position
