"""FHIR data types in words: what stands in a cell of a table.

Every function takes any JSON and answers with text, empty when there is nothing to show: what is described
was opened from a record, which its author may have validated less strictly than we do.
"""

from collections.abc import Callable, Iterator
from typing import Any

from records.survey import Json

Resolve = Callable[[str], Json]


def mapping(value: Any) -> Json:
    """``value`` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """``value`` as a list: itself, alone in one, or none."""
    return value if isinstance(value, list) else [] if value is None else [value]


def text(value: Any) -> str:
    """A primitive as written."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else ""


def joined(parts: Iterator[str] | list[str], separator: str = "; ") -> str:
    """The parts that are not empty, each once."""
    return separator.join(dict.fromkeys(part for part in parts if part))


def concept(value: Any) -> str:
    """A CodeableConcept, Coding, or a list of them: text, else a display, else a code.

    Bare codes are left out where another concept of the list has words, as are the nomenclature's own
    reference identifiers (``MDC_PULS_OXIM_SAT_O2``) where another coding has a name for people.
    """
    words: list[str] = []
    codes: list[str] = []
    for item in map(mapping, items(value)):
        codings = [mapping(coding) for coding in items(item.get("coding"))] or [item]
        displays = [display for coding in codings if (display := text(coding.get("display")))]
        displays.sort(key=lambda display: display.startswith("MDC_"))
        if text(item.get("text")) or displays:
            words.append(text(item.get("text")) or displays[0])
        else:
            codes.extend(text(coding.get("code")) for coding in codings[:1])
    return joined(words or codes)


def quantity(value: Any) -> str:
    """A Quantity or Money: ``5.4 %``, ``< 0.1 mg/dL``; the value with the decimals that were written."""
    value = mapping(value)
    unit = text(value.get("unit")) or text(value.get("code")) or text(value.get("currency"))
    return joined([text(value.get("comparator")), text(value.get("value")), unit], " ")


def period(value: Any) -> str:
    """A Period: ``2019-03-02 to 2019-03-05``."""
    value = mapping(value)
    start, end = text(value.get("start"))[:10], text(value.get("end"))[:10]
    if start and end and start != end:
        return f"{start} to {end}"
    return start if end == start else f"since {start}" if start else f"until {end}"


def ratio(value: Any) -> str:
    """A Ratio: ``1 : 128``."""
    value = mapping(value)
    return joined([quantity(value.get("numerator")), quantity(value.get("denominator"))], " : ")


def value_range(value: Any) -> str:
    """A Range: ``4 mmol/L to 6 mmol/L``."""
    value = mapping(value)
    return joined([quantity(value.get("low")), quantity(value.get("high"))], " to ")


_CHOICES: dict[str, Callable[[Any], str]] = {
    "Quantity": quantity,
    "CodeableConcept": concept,
    "Coding": concept,
    "String": text,
    "Boolean": text,
    "Integer": text,
    "Decimal": text,
    "Date": text,
    "DateTime": text,
    "Time": text,
    "Range": value_range,
    "Ratio": ratio,
    "Period": period,
    "SampledData": lambda _: "(curve)",
    "Attachment": lambda value: attachment(value),
    "Age": quantity,
}


def choice(owner: Json, stem: str) -> str:
    """The element of a choice that is there: ``value[x]`` of an Observation."""
    shown = (show(owner[stem + kind]) for kind, show in _CHOICES.items() if stem + kind in owner)
    return next(filter(None, shown), "")


def attachment(value: Any) -> str:
    """An Attachment: its title and media type."""
    value = mapping(value)
    title, media_type = text(value.get("title")), text(value.get("contentType"))
    return f"{title} ({media_type})" if title and media_type else title or media_type


def reference(value: Any, resolve: Resolve) -> str:
    """What a Reference points to, in words: its display, else the name or code of its target."""
    value = mapping(value)
    target = resolve(text(value.get("reference")))
    return text(value.get("display")) or concept(target.get("code")) or name(target)


def name(resource: Json) -> str:
    """The name of a person or organization: text, or given and family names; the official one first."""
    names = resource.get("name")
    if isinstance(names, str):
        return names
    people = sorted(map(mapping, items(names)), key=lambda person: person.get("use") != "official")
    for person in people:
        given = [text(part) for part in items(person.get("given"))]
        shown = text(person.get("text")) or joined([*given, text(person.get("family"))], " ")
        if shown:
            return shown
    return ""
