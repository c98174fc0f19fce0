"""Events of the ledger as bytes for the node's database: CBOR of the name, the position and the field values.

The bytes are written and read by this program alone; they are checked on the way back by the events' own types.
"""

import dataclasses
from typing import Any, get_type_hints

import cbor2

from ledger.blocks import Position
from ledger.events import EVENT_TYPES, Event
from ledger.solidity import Struct

_TYPES = {event_type.__name__: event_type for event_type in EVENT_TYPES}


def encode(event: Event) -> bytes:
    """An event as CBOR: [name, [position], [fields in their order]]."""
    return cbor2.dumps([type(event).__name__, list(dataclasses.astuple(event.position)), _values(event)])


def decode(stored: bytes) -> Event:
    """The event that :func:`encode` wrote.

    Raises:
        KeyError, TypeError, ValueError: damaged, or written by another version.
    """
    name, position, values = cbor2.loads(stored)
    return _build(_TYPES[name], values, Position(*position))  # type: ignore[no-any-return]


def _values(struct: Struct) -> list[Any]:
    values = (getattr(struct, field.name) for field in dataclasses.fields(struct) if field.name != "position")
    return [_values(value) if isinstance(value, Struct) else value for value in values]


def _build(struct: type, values: list[Any], position: Position | None) -> Any:
    hints = get_type_hints(struct)
    names = [field.name for field in dataclasses.fields(struct) if field.name != "position"]
    if len(names) != len(values):
        raise ValueError(f"expected {len(names)} fields of {struct.__name__}; came {len(values)}")
    built: dict[str, Any] = {} if position is None else {"position": position}
    for name, value in zip(names, values, strict=True):
        hint = hints[name]
        nested = isinstance(hint, type) and issubclass(hint, Struct)
        built[name] = _build(hint, value, None) if nested else value
    return struct(**built)
