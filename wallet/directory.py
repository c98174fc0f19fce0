"""The members of the network, as two nodes agree on them, found by the names that people use."""

from dataclasses import dataclass

from vocabulary import Role
from wallet.errors import UnknownName
from wire.ledger import BlockReference, MembersView, MemberView


@dataclass(frozen=True)
class Directory:
    """All members at one final block."""

    final: BlockReference
    members: tuple[MemberView, ...]

    @classmethod
    def of(cls, view: MembersView) -> "Directory":
        """The directory of a view, members in the order of their names."""
        return cls(view.final, tuple(sorted(view.members, key=lambda member: (member.name, member.address))))

    def find(self, text: str) -> MemberView:
        """The member of a name (any case) or an address (``0x`` and 40 digits).

        Raises:
            UnknownName: none, or several; names are the members' own choice, so two may have the same.
        """
        wanted = " ".join(text.split()).casefold()
        found = [
            member
            for member in self.members
            if wanted in (" ".join(member.name.split()).casefold(), "0x" + member.address.hex())
        ]
        if len(found) == 1:
            return found[0]
        if found:
            addresses = ", ".join("0x" + member.address.hex() for member in found)
            raise UnknownName(
                f"{text!r} is the name of several members; give the address of one: {addresses}"
            )
        known = ", ".join(member.name for member in self.members[:30])
        raise UnknownName(f"expected the name of a member; came {text!r}. There are: {known}")

    def find_with_role(self, text: str, role: Role) -> MemberView:
        """The active member of a name that has ``role``.

        Raises:
            UnknownName: none; it is suspended, or has not the role.
        """
        member = self.find(text)
        if not member.active:
            raise UnknownName(f"{member.name} is suspended")
        if role not in member.roles:
            raise UnknownName(f"expected a member with the role {role.label}; {member.name} has it not")
        return member

    def by_address(self, address: bytes) -> MemberView | None:
        """The member of an account, or None."""
        return next((member for member in self.members if member.address == address), None)

    def name_of(self, address: bytes) -> str:
        """The member's name; its address where the directory has none."""
        member = self.by_address(address)
        return "0x" + address.hex() if member is None else member.name


def comparable_members(view: MembersView) -> tuple[MemberView, ...]:
    """The part of a members view in which two honest nodes cannot differ at one block."""
    return tuple(sorted(view.members, key=lambda member: member.address))
