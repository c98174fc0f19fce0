"""The OpenAPI document: bodies are read raw and verified before they are parsed, so routes declare them here."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from node.problems import MEDIA_TYPE
from wire.problem import Problem
from wire.types import Message

_REFERENCE = "#/components/schemas/{model}"
ERRORS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Problem details (RFC 9457)",
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}},
    }
}
"""How every route says no."""


def json_body(message_type: type[Message]) -> dict[str, Any]:
    """``openapi_extra`` of a route whose body is a message."""
    schema = message_type.model_json_schema(ref_template=_REFERENCE)
    definitions = schema.pop("$defs", {}) | {message_type.__name__: schema}
    reference = {"$ref": _REFERENCE.format(model=message_type.__name__), "$defs": definitions}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": reference}}}}


def binary_body(media_type: str = "application/octet-stream") -> dict[str, Any]:
    """``openapi_extra`` of a route whose body is bytes."""
    schema = {"type": "string", "format": "binary"}
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of ``app``, with the schemas of raw bodies among its components."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    found: dict[str, Any] = {"Problem": Problem.model_json_schema(ref_template=_REFERENCE)}
    _take_definitions(document["paths"], found)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    # FastAPI's own 422 never happens here: every refusal is a Problem.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
    for name, schema in found.items():
        schemas.setdefault(name, schema)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def _take_definitions(part: Any, found: dict[str, Any]) -> None:
    if isinstance(part, dict):
        found.update(part.pop("$defs", {}))
        for value in part.values():
            _take_definitions(value, found)
    elif isinstance(part, list):
        for value in part:
            _take_definitions(value, found)
