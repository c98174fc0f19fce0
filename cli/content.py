"""A record's content as a table that a person can read, at the bedside and in a hurry."""

from cli.output import say, table
from cli.texts import _


def show_content(content: bytes, heading: str) -> None:
    """Show a FHIR bundle under its heading. What an entry's warning turns round ("NOT DONE") stands before it."""
    from records import NotFhirError, describe

    say("")
    say(f"── {heading} ──")
    try:
        description = describe(content)
    except NotFhirError:
        return say(
            _("{count} bytes that are no FHIR bundle; save them with --out").format(count=len(content))
        )
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
