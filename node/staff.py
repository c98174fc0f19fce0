"""Staff of this member: who may ask the node for something, by a bearer token of which only a digest is kept."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from node.database import Database
from node.errors import Conflict, InvalidRequest, NotFound
from node.tables import staff

TOKEN_BYTES = 32
_PREFIX = "phr-staff-"
_TOKEN = re.compile(_PREFIX + r"[A-Za-z0-9_-]{43}")
_TEXT = re.compile(r"\S(.{0,126}\S)?")


@dataclass(frozen=True, slots=True)
class StaffMember:
    """A person or system of this member; the role is the member's own word, such as ``physician``."""

    staff_id: str
    role: str


class StaffRegister:
    """The member's own staff and their tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, staff_id: str, role: str) -> str:
        """Adds a person and returns the token (53 characters), which cannot be shown again.

        Raises:
            InvalidRequest: a text is empty, longer than 128 characters, or holds control characters.
            Conflict: there is somebody of that name: end their token first.
        """
        for what, text in (("name", staff_id), ("role", role)):
            if not _TEXT.fullmatch(text) or not text.isprintable():
                raise InvalidRequest(f"expected a staff {what} of 1 to 128 printable characters")
        token = _PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        try:
            with self._database.append() as connection:
                connection.execute(
                    staff.insert().values(
                        staff_id=staff_id, role=role, token_digest=_digest(token), active=True
                    )
                )
        except IntegrityError:
            raise Conflict(
                f"there is already a staff member {staff_id!r}: choose another name, or end that one's token first"
            ) from None
        return token

    def renew(self, staff_id: str) -> str:
        """A new token for a person whose old one is lost; the old one ends.

        Raises:
            NotFound: nobody active has that name.
        """
        token = _PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        with self._database.append() as connection:
            changed = connection.execute(
                staff.update()
                .where(staff.c.staff_id == staff_id, staff.c.active)
                .values(token_digest=_digest(token))
            ).rowcount
        if not changed:
            raise NotFound(f"no active staff member {staff_id!r}")
        return token

    def end(self, staff_id: str) -> None:
        """Ends a person's token, for good; their name stays, since the audit trail speaks of it.

        Raises:
            NotFound: nobody has that name.
        """
        with self._database.append() as connection:
            ended = connection.execute(
                staff.update().where(staff.c.staff_id == staff_id).values(active=False)
            ).rowcount
        if not ended:
            raise NotFound(f"no staff member {staff_id!r}")

    def by_token(self, token: str) -> StaffMember | None:
        """Whose token this is; None when it is nobody's, or was ended."""
        if not _TOKEN.fullmatch(token):
            return None
        wanted = _digest(token)
        with self._database.read() as connection:
            row = connection.execute(
                select(staff).where(staff.c.token_digest == wanted, staff.c.active)
            ).one_or_none()
        # The look-up is by a digest, so its timing tells nothing of a token; the comparison is for certainty.
        if row is None or not hmac.compare_digest(row.token_digest, wanted):
            return None
        return StaffMember(row.staff_id, row.role)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
