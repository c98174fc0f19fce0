"""Field types of the messages: bytes inside, text on the wire; codes inside, labels on the wire."""

import base64
import binascii
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

from vocabulary import Category, Purpose, Reason, Role


class Message(BaseModel):
    """Base of every message: immutable, and a field that nobody agreed on is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _parse_hex(size_bytes: int) -> BeforeValidator:
    def parse(value: Any) -> bytes:
        if isinstance(value, bytes):
            raw = value
        elif isinstance(value, str) and value.startswith("0x") and len(value) == 2 + 2 * size_bytes:
            try:
                raw = bytes.fromhex(value[2:])
            except ValueError:
                raise ValueError("expected hexadecimal digits after 0x") from None
        else:
            raise ValueError(f"expected 0x and {2 * size_bytes} hexadecimal digits")
        if len(raw) != size_bytes:
            raise ValueError(f"expected {size_bytes} bytes; came {len(raw)}")
        return raw

    return BeforeValidator(parse)


def _hex_text(value: bytes) -> str:
    return "0x" + value.hex()


def _parse_base64(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("expected base64 text")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("expected base64 text (RFC 4648 section 4)") from None


def _hex_schema(size_bytes: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^0x[0-9a-fA-F]{{{2 * size_bytes}}}$"})


_HEX = PlainSerializer(_hex_text, return_type=str, when_used="json")

Address = Annotated[bytes, _parse_hex(20), _HEX, _hex_schema(20)]
"""An Ethereum account, 20 bytes."""
Bytes32 = Annotated[bytes, _parse_hex(32), _HEX, _hex_schema(32)]
"""A digest, a record id or a consent id, 32 bytes."""
Signature = Annotated[bytes, _parse_hex(65), _HEX, _hex_schema(65)]
"""An Ethereum signature, 65 bytes r, s, v."""
Blob = Annotated[
    bytes,
    BeforeValidator(_parse_base64),
    PlainSerializer(lambda value: base64.b64encode(value).decode("ascii"), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]
"""Bytes of any length, base64 on the wire."""


def _labelled(vocabulary: type[Category] | type[Role]) -> tuple[Any, ...]:
    return (
        BeforeValidator(lambda value: vocabulary.from_label(value) if isinstance(value, str) else value),
        PlainSerializer(lambda value: value.label, return_type=str, when_used="json"),
        WithJsonSchema({"type": "string", "enum": [word.label for word in vocabulary]}),
    )


def _named(vocabulary: type[Purpose] | type[Reason]) -> tuple[Any, ...]:
    def parse(value: Any) -> Any:
        if isinstance(value, str):
            if value not in vocabulary.__members__:
                raise ValueError(f"expected one of {', '.join(vocabulary.__members__)}")
            return vocabulary[value]
        return value

    return (
        BeforeValidator(parse),
        PlainSerializer(lambda value: value.name, return_type=str, when_used="json"),
        WithJsonSchema({"type": "string", "enum": list(vocabulary.__members__)}),
    )


CategoryLabel = Annotated[Category, *_labelled(Category)]
RoleLabel = Annotated[Role, *_labelled(Role)]
PurposeCode = Annotated[Purpose, *_named(Purpose)]
ReasonCode = Annotated[Reason, *_named(Reason)]
