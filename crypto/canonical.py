"""Documents as canonical CBOR: one byte string for each value, and a reader that refuses every other.

RFC 8949 section 4.2.1 (core deterministic encoding): shortest heads, definite lengths, map keys in the
bytewise order of their encodings. All our maps have text keys only, for which the length-first order of
RFC 7049, which cbor2 calls canonical, is the same order.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

import cbor2

from crypto.errors import FormatError
from crypto.fields import require_octets, require_text, require_uint
from crypto.labels import Label

_MAX_DEPTH = 8
_KINDS = (int, str, bytes, list, dict)
# Tags that cbor2 would turn into objects (a regular expression among them) before we could look.
_TAGS = (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799)


def _refuse_tag(*_: object) -> NoReturn:
    raise FormatError("expected no CBOR tag; came one")


_REFUSED_TAGS: Mapping[int, Any] = dict.fromkeys(_TAGS, _refuse_tag)


def encode(kind: Label, fields: Mapping[str, object]) -> bytes:
    """The canonical bytes of a document: a map of ``fields`` and ``type``, the document's label."""
    return cbor2.dumps({"type": kind.value, **fields}, canonical=True)


def decode(data: bytes, kind: Label, max_bytes: int) -> "Fields":
    """Reads a document that ``encode`` wrote; the result yields its fields.

    Raises:
        FormatError: more than ``max_bytes`` came, or anything but the canonical bytes of a ``kind``.
    """
    return decode_one_of(data, (kind,), max_bytes)[1]


def decode_one_of(data: bytes, kinds: tuple[Label, ...], max_bytes: int) -> "tuple[Label, Fields]":
    """As ``decode``, for a document of any of ``kinds``; tells which one it is."""
    what = kinds[0].value
    if not isinstance(data, bytes):
        raise FormatError(f"{what}: expected bytes; came {type(data).__name__}")
    if len(data) > max_bytes:
        raise FormatError(f"{what}: expected at most {max_bytes} bytes; came {len(data)}")
    try:
        document = cbor2.loads(
            data,
            max_depth=_MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
            semantic_decoders=_REFUSED_TAGS,
        )
        _check_kinds(document)
        same = cbor2.dumps(document, canonical=True) == data
    except (cbor2.CBORError, ValueError, OverflowError, MemoryError) as error:
        raise FormatError(
            f"{what}: expected canonical CBOR; came other bytes ({type(error).__name__})"
        ) from None
    if not same:
        raise FormatError(
            f"{what}: expected canonical CBOR; came another encoding of the same, or trailing bytes"
        )
    fields = Fields(document, what)
    came = fields.text("type", 64)
    for kind in kinds:
        if came == kind.value:
            return kind, fields
    expected = " or ".join(kind.value for kind in kinds)
    raise FormatError(f"expected a document of type {expected}; came type {came}")


def _check_kinds(value: object) -> None:
    if type(value) not in _KINDS:
        raise FormatError(f"expected integers, texts, bytes, lists and maps; came {type(value).__name__}")
    if isinstance(value, list):
        for item in value:
            _check_kinds(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_kinds(key)
            _check_kinds(item)


class Fields:
    """One map being read strictly: a field is taken by name and kind, and ``done`` refuses what is left."""

    def __init__(self, document: object, what: str) -> None:
        if not isinstance(document, dict):
            raise FormatError(f"{what}: expected a map; came {type(document).__name__}")
        self._left: dict[object, object] = dict(document)
        self._what = what

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def _take(self, name: str) -> object:
        if name not in self._left:
            raise FormatError(f"{self._what}: expected a field {name!r}; it is missing")
        return self._left.pop(name)

    def octets(self, name: str, size_bytes: int) -> bytes:
        """A byte string of exactly ``size_bytes``."""
        return require_octets(f"{self._what}.{name}", self._take(name), size_bytes)

    def octets_up_to(self, name: str, max_bytes: int) -> bytes:
        """A byte string of at most ``max_bytes``."""
        value = self._take(name)
        if not isinstance(value, bytes) or len(value) > max_bytes:
            raise FormatError(f"{self._what}.{name}: expected at most {max_bytes} bytes; came something else")
        return value

    def uint(self, name: str, bits: int) -> int:
        """An unsigned integer of at most ``bits`` bits."""
        return require_uint(f"{self._what}.{name}", self._take(name), bits)

    def text(self, name: str, max_bytes: int) -> str:
        """A text of 1 to ``max_bytes`` bytes."""
        return require_text(f"{self._what}.{name}", self._take(name), max_bytes)

    def map(self, name: str) -> "Fields":
        """A map."""
        return Fields(self._take(name), f"{self._what}.{name}")

    def maps(self, name: str, max_count: int) -> list["Fields"]:
        """A list of at most ``max_count`` maps."""
        value = self._take(name)
        if not isinstance(value, list) or len(value) > max_count:
            raise FormatError(
                f"{self._what}.{name}: expected a list of at most {max_count}; came something else"
            )
        return [Fields(item, f"{self._what}.{name}[{index}]") for index, item in enumerate(value)]

    def done(self) -> None:
        """Ends the reading.

        Raises:
            FormatError: a field is left that the format does not know.
        """
        if self._left:
            names = ", ".join(repr(name)[:40] for name in self._left)
            raise FormatError(f"{self._what}: expected no further field; came {names}")
