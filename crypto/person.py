"""The person commitment: which staff member asked, hidden on the ledger, opened to an auditor on demand."""

import hashlib

import cbor2

from crypto.fields import ADDRESS_BYTES, SECRET_BYTES, require_octets, require_text
from crypto.labels import Label

MAX_TEXT_BYTES = 256


def person_commitment(salt: bytes, member: bytes, staff_id: str, role: str) -> bytes:
    """SHA-256 of: label and zero, salt (32), canonical CBOR of {member, role, staffId}; 32 bytes.

    Args:
        salt: 32 random bytes, fresh for each access and kept with the opening.
        member: the member's account, 20 bytes.
        staff_id: the member's own name for the person, 1 to 256 bytes, compared byte for byte.
        role: the person's role at that member, 1 to 256 bytes.

    Raises:
        FormatError: a size is wrong, or a text holds control characters.
    """
    person = cbor2.dumps(
        {
            "member": require_octets("member", member, ADDRESS_BYTES),
            "role": require_text("role", role, MAX_TEXT_BYTES),
            "staffId": require_text("staff id", staff_id, MAX_TEXT_BYTES),
        },
        canonical=True,
    )
    return hashlib.sha256(
        Label.PERSON_COMMITMENT.prefix + require_octets("salt", salt, SECRET_BYTES) + person
    ).digest()
