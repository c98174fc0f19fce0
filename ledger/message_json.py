"""The JSON form of messages on the wire.

Members have the names of the EIP-712 fields (``recordId``), as wallets show them; ``type`` names the struct.
Addresses are EIP-55 text, byte strings 0x and hex, integers up to 40 bits JSON numbers, and wider ones 0x hex
quantities (JSON readers lose precision beyond 2^53).
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from ledger.addresses import from_text, to_text
from ledger.errors import InvalidMessage
from ledger.solidity import SolidityField, SolidityType, Struct, fields_of

NUMBER_BITS = 40
"""The widest integer that is a JSON number."""
MAX_TEXT_BYTES = 4096
"""The longest text or byte string in a message's JSON form (a member's X-Wing key has 1,216 bytes)."""
_QUANTITY = re.compile(r"0x(0|[1-9a-f][0-9a-f]{0,63})")
_HEX = re.compile(r"0x([0-9a-f]{2})*")
_Message = TypeVar("_Message", bound=Struct)


def to_json(message: Struct) -> dict[str, Any]:
    """The JSON form of a message, as a dictionary ready for any JSON writer."""
    shaped: dict[str, Any] = {"type": type(message).__name__}
    for field in fields_of(type(message)):
        value, kind = getattr(message, field.name), _elementary(field)
        if kind.kind == "address":
            shaped[field.solidity_name] = to_text(value)
        elif kind.kind in ("bytes32", "bytes"):
            shaped[field.solidity_name] = "0x" + value.hex()
        elif kind.kind == "uint" and kind.bits > NUMBER_BITS:
            shaped[field.solidity_name] = f"0x{value:x}"
        else:
            shaped[field.solidity_name] = value
    return shaped


def from_json(message_type: type[_Message], value: object) -> _Message:
    """A message of ``message_type`` from its parsed JSON form: the very members it has, none else.

    Raises:
        InvalidMessage: not an object, another type, a member missing or unknown, or a value out of range.
    """
    name = message_type.__name__
    if not isinstance(value, Mapping):
        raise InvalidMessage(f"expected {name} as a JSON object; came {type(value).__name__}")
    if value.get("type") != name:
        raise InvalidMessage(f"expected a message of type {name}; came {str(value.get('type'))[:60]!r}")
    fields = fields_of(message_type)
    expected = {"type", *(field.solidity_name for field in fields)}
    if set(value) != expected:
        different = sorted(str(member)[:60] for member in set(value) ^ expected)[:20]
        raise InvalidMessage(f"{name}: these members are missing or unknown: {', '.join(different)}")
    return message_type(**{field.name: _parse(name, field, value[field.solidity_name]) for field in fields})


def _elementary(field: SolidityField) -> SolidityType:
    if not isinstance(field.type, SolidityType):
        raise InvalidMessage(f"{field.name} is a nested struct, which has no JSON form")
    return field.type


def _parse(name: str, field: SolidityField, value: object) -> object:
    kind, where = _elementary(field), f"{name}.{field.solidity_name}"
    if kind.kind == "bool" or (kind.kind == "uint" and kind.bits <= NUMBER_BITS):
        return value
    if not isinstance(value, str):
        raise InvalidMessage(f"{where}: expected text; came {type(value).__name__}")
    if len(value) > 2 + 2 * MAX_TEXT_BYTES:
        raise InvalidMessage(f"{where}: expected at most {MAX_TEXT_BYTES} bytes")
    if kind.kind == "string":
        return value
    if kind.kind == "address":
        return from_text(value)
    if kind.kind == "uint":
        if not _QUANTITY.fullmatch(value):
            raise InvalidMessage(f"{where}: expected a quantity as 0x and hex digits; came {value[:70]!r}")
        return int(value, 16)
    if not _HEX.fullmatch(value):
        raise InvalidMessage(f"{where}: expected bytes as 0x and lower-case hex digits; came {value[:70]!r}")
    return bytes.fromhex(value[2:])
