"""Roles of a member, as bits of a mask on the ledger."""

from collections.abc import Iterable
from enum import IntEnum


class Role(IntEnum):
    """What a member may do; the value is its bit position in a role mask and never changes."""

    PROVIDER = 0
    """Registers patients and publishes their records."""
    CONSUMER = 1
    """Requests records, for every purpose but research."""
    RESEARCHER = 2
    """Requests records for research (HRESCH)."""
    CUSTODIAN = 3
    """Holds key shares and releases them against a permitted access."""
    AUDITOR = 4
    """Reads the whole history, and opens person commitments."""

    @property
    def label(self) -> str:
        """The name as people write it: ``provider``."""
        return self.name.lower()

    @property
    def bit(self) -> int:
        """This role alone, as a mask."""
        return 1 << self.value

    @classmethod
    def from_label(cls, label: str) -> "Role":
        """The role of a label, whatever its case.

        Raises:
            ValueError: the label names no role; the message lists those there are.
        """
        try:
            return cls[label.strip().upper()]
        except KeyError:
            raise ValueError(
                f"expected a role of {', '.join(role.label for role in cls)}; came: {label!r}"
            ) from None

    @classmethod
    def in_mask(cls, mask: int) -> tuple["Role", ...]:
        """The roles whose bits are set in ``mask``, in order of their value."""
        return tuple(role for role in cls if mask & role.bit)


def role_mask(roles: Iterable[Role]) -> int:
    """The bits of several roles together."""
    mask = 0
    for role in roles:
        mask |= role.bit
    return mask
