"""A record's content as a table that a person can read, at the bedside and in a hurry."""

from cli.output import say, table
from cli.texts import _


def show_content(content: bytes, heading: str) -> None:
    """Show a FHIR bundle under its heading. What an entry's warning turns round ("NOT DONE") stands before it."""
    from records import RecordsError, describe

    say("")
    say(f"── {heading} ──")
    try:
        description = describe(content)
    except RecordsError as error:
        # Its bytes are the author's all the same: they can be saved.
        return say(_("Cannot be shown: {error}. Save it with --out").format(error=error))
    if description.patient:
        say(_("Patient: {name}").format(name=description.patient))
    if description.title:
        say(description.title)
    table(
        [_("date"), _("WARNING"), _("kind"), _("what"), _("value")],
        [
            (row.date, f"⚠ {row.warning}" if row.warning else "", row.kind, row.text, row.value)
            for row in description.rows
        ],
        empty=_("The record has no entries."),
    )
    warned = sum(bool(row.warning) for row in description.rows)
    if warned:
        say(_("Entries with a warning: {count}. Read the warning before the value.").format(count=warned))
