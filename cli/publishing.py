"""Publishing a bundle at one's own node until it is final, and what became of it."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.output import say, table, working
from cli.texts import _, plural
from cli.words import period_text, short_hex

if TYPE_CHECKING:
    from cli.staff_client import StaffClient
    from wire.staff import PatientIdentifierValue, Publication, PublishedRecord

PUBLISH_SECONDS = 30.0
"""How long a publication is waited for while custodians are behind or do not answer."""
_PUBLISHED = "published"


def publish_until_final(
    client: "StaffClient", path: str, content: bytes, about: "PatientIdentifierValue | None" = None
) -> "Publication":
    """Publish, and ask again while custodians lag behind: the same bundle joins what its first sending began."""
    from wire.staff import Publication

    deadline = time.monotonic() + PUBLISH_SECONDS
    with working(
        _("publishing"), _("The node carries on by itself; publishing the same file again shows it")
    ):
        while True:
            done = client.post(path, Publication, content=content, about=about)
            if done.state in (_PUBLISHED, "abandoned") or time.monotonic() > deadline:
                return done
            time.sleep(1)


def require_published(done: "Publication") -> None:
    """Nothing, when it is final.

    Raises:
        CommandError: it was abandoned, or is not final yet.
    """
    if done.state == _PUBLISHED:
        return
    if done.state == "abandoned":
        raise CommandError(_("not published: {detail}").format(detail=done.detail), ExitCode.REFUSED)
    raise CommandError(
        _("not published yet ({state}): {detail}. The node carries on by itself").format(
            state=done.state, detail=done.detail
        ),
        ExitCode.UNREACHABLE,
    )


def show_rows(records: "Sequence[PublishedRecord]") -> None:
    """One row a record."""
    table(
        [_("record"), _("category"), _("period"), _("resources"), _("sealed bytes"), ""],
        [
            (
                short_hex(record.record_id),
                record.category.label,
                period_text(record.start_day, record.end_day),
                record.resource_count,
                record.ciphertext_bytes,
                _("was there already") if record.already_published else _("new"),
            )
            for record in records
        ],
        empty=_("The bundle holds no records."),
    )


def show_summary(records: "Sequence[PublishedRecord]") -> None:
    """One row a category: a history of thirty years would be hundreds of rows."""
    rows = []
    for category in dict.fromkeys(record.category for record in records):
        of = [record for record in records if record.category == category]
        start, end = min(record.start_day for record in of), max(record.end_day for record in of)
        rows.append(
            (
                category.label,
                len(of),
                sum(record.already_published for record in of) or "",
                period_text(start, end),
                sum(record.resource_count for record in of),
                f"{sum(record.ciphertext_bytes for record in of) / 1024:.0f} KiB",
            )
        )
    table(
        [_("category"), _("records"), _("there already"), _("period"), _("resources"), _("sealed")],
        rows,
        empty=_("The bundle holds no records."),
    )


def show_outcome(done: "Publication") -> None:
    """How many records are new, in a sentence."""
    new = sum(not record.already_published for record in done.records)
    if done.records and not new:
        return say(_("Everything in it was published before; nothing was published again."))
    say(
        plural("{count} new record is published.", "{count} new records are published.", new).format(
            count=new
        )
    )
