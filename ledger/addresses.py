"""Addresses: 20 bytes inside the program, EIP-55 text at its edges."""

import re

from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from ledger.errors import InvalidMessage

ADDRESS_BYTES = 20
ZERO_ADDRESS = bytes(ADDRESS_BYTES)
_HEX = re.compile(r"0x[0-9a-fA-F]{40}")


def to_text(address: bytes) -> str:
    """An address of 20 bytes as 42 characters with the checksum of EIP-55.

    Raises:
        InvalidMessage: not 20 bytes.
    """
    if len(address) != ADDRESS_BYTES:
        raise InvalidMessage(f"expected an address of {ADDRESS_BYTES} bytes; came {len(address)}")
    return str(to_checksum_address(address))


def from_text(text: str) -> bytes:
    """The 20 bytes of an address in text: ``0x`` and 40 hex digits, all lower case or with a right checksum.

    Raises:
        InvalidMessage: another form, or mixed case with a wrong EIP-55 checksum (a mistyped address).
    """
    if not _HEX.fullmatch(text):
        raise InvalidMessage(f"expected an address as 0x and 40 hex digits; came {text[:60]!r}")
    address = bytes.fromhex(text[2:])
    if text[2:] not in (text[2:].lower(), text[2:].upper()) and to_checksum_address(address) != text:
        raise InvalidMessage(f"the checksum of address {text} is wrong: look for a mistyped character")
    return address


def from_public_key(public_key: bytes) -> bytes:
    """The address of an uncompressed secp256k1 public key (65 bytes, first one 0x04).

    Raises:
        InvalidMessage: another form of key.
    """
    if len(public_key) != 65 or public_key[0] != 4:
        raise InvalidMessage("expected an uncompressed public key of 65 bytes that starts with 0x04")
    return keccak(public_key[1:])[-ADDRESS_BYTES:]
