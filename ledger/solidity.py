"""Solidity's types as Python annotations, so that one declaration gives widths, EIP-712 and ABI forms.

A message or an event is a frozen dataclass whose fields are annotated with the aliases below; a field's name
in Solidity is the Python name in camel case (``record_id`` is ``recordId``).
Sources: Solidity documentation, "Contract ABI Specification"; EIP-712, "Definition of encodeData".
"""

import dataclasses
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from eth_hash.auto import keccak

from ledger.errors import InvalidMessage

WORD_BYTES = 32
Kind = Literal["address", "bytes32", "uint", "bool", "string", "bytes"]


@dataclasses.dataclass(frozen=True, slots=True)
class SolidityType:
    """One elementary type: its ABI name, its kind and, for integers, its width in bits."""

    name: str
    kind: Kind
    bits: int = 0

    def check(self, where: str, value: Any) -> None:
        """Refuses a value that this type cannot hold.

        Raises:
            InvalidMessage: a wrong Python type, length or width.
        """
        if self.kind == "uint":
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << self.bits:
                raise InvalidMessage(f"{where}: expected an integer of 0 to 2^{self.bits}-1; came {value!r}")
        elif self.kind == "bool":
            if not isinstance(value, bool):
                raise InvalidMessage(f"{where}: expected True or False; came {value!r}")
        elif self.kind == "string":
            if not isinstance(value, str):
                raise InvalidMessage(f"{where}: expected text; came {type(value).__name__}")
        elif not isinstance(value, bytes):
            raise InvalidMessage(f"{where}: expected bytes; came {type(value).__name__}")
        elif self.kind != "bytes" and len(value) != (width := 20 if self.kind == "address" else WORD_BYTES):
            raise InvalidMessage(f"{where}: expected {width} bytes; came {len(value)}")

    def word(self, value: Any) -> bytes:
        """The 32-byte word of a checked value, as in EIP-712 ``encodeData`` (dynamic types are hashed)."""
        if self.kind in ("uint", "bool"):
            return int(value).to_bytes(WORD_BYTES, "big")
        if self.kind == "string":
            return keccak(value.encode())
        if self.kind == "bytes":
            return keccak(value)
        padded: bytes = value.rjust(WORD_BYTES, b"\0")
        return padded


INDEXED = "indexed"
"""Marks an event's field that is a topic."""
_Any = TypeVar("_Any")
Indexed = Annotated[_Any, INDEXED]

Address = Annotated[bytes, SolidityType("address", "address")]
Bytes32 = Annotated[bytes, SolidityType("bytes32", "bytes32")]
Bytes = Annotated[bytes, SolidityType("bytes", "bytes")]
String = Annotated[str, SolidityType("string", "string")]
Bool = Annotated[bool, SolidityType("bool", "bool")]
Uint8 = Annotated[int, SolidityType("uint8", "uint", 8)]
Uint16 = Annotated[int, SolidityType("uint16", "uint", 16)]
Uint24 = Annotated[int, SolidityType("uint24", "uint", 24)]
Uint32 = Annotated[int, SolidityType("uint32", "uint", 32)]
Uint40 = Annotated[int, SolidityType("uint40", "uint", 40)]
Uint64 = Annotated[int, SolidityType("uint64", "uint", 64)]
Uint256 = Annotated[int, SolidityType("uint256", "uint", 256)]


@dataclasses.dataclass(frozen=True, slots=True)
class SolidityField:
    """A field of a struct or event: names on both sides, type or nested struct, whether a topic."""

    name: str
    solidity_name: str
    type: SolidityType | type
    indexed: bool

    @property
    def abi(self) -> str:
        """The canonical ABI type: ``uint40``, or ``(address,uint8)`` for a struct."""
        if isinstance(self.type, SolidityType):
            return self.type.name
        return f"({','.join(field.abi for field in fields_of(self.type))})"


def camel_case(name: str) -> str:
    """``record_id`` as Solidity writes it: ``recordId``."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


_FIELDS: dict[type, tuple["SolidityField", ...]] = {}


def fields_of(struct: type) -> tuple[SolidityField, ...]:
    """The Solidity fields of a dataclass, in order; fields with no Solidity annotation are left out."""
    if known := _FIELDS.get(struct):
        return known
    hints = get_type_hints(struct, include_extras=True)
    found = []
    for field in dataclasses.fields(struct):
        hint = hints[field.name]
        marks = getattr(hint, "__metadata__", ())
        kind: SolidityType | type | None = next(
            (mark for mark in marks if isinstance(mark, SolidityType)), None
        )
        if kind is None and isinstance(hint, type) and issubclass(hint, Struct):
            kind = hint
        if kind is not None:
            found.append(SolidityField(field.name, camel_case(field.name), kind, INDEXED in marks))
    _FIELDS[struct] = tuple(found)
    return _FIELDS[struct]


@dataclasses.dataclass(frozen=True, slots=True)
class Struct:
    """A Solidity struct: a value whose fields fit their types, or that cannot be made."""

    def __post_init__(self) -> None:
        for field in fields_of(type(self)):
            if isinstance(field.type, SolidityType):
                field.type.check(f"{type(self).__name__}.{field.name}", getattr(self, field.name))


def words(struct: Struct) -> bytes:
    """All fields as 32-byte words: EIP-712 ``encodeData``, and ``abi.encode`` of static structs."""
    return b"".join(
        field.type.word(getattr(struct, field.name))
        for field in fields_of(type(struct))
        if isinstance(field.type, SolidityType)
    )
