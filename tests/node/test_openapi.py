"""The description of the HTTP interface is the committed one: a change of the interface shows in a diff."""

import json
from pathlib import Path

from node_offline import offline_node

SNAPSHOT = Path(__file__).parents[2] / "docs" / "openapi.json"


def test_openapi_document_is_the_committed_one(tmp_path: Path) -> None:
    described = json.loads(json.dumps(offline_node(tmp_path).app.openapi()))
    assert described == json.loads(SNAPSHOT.read_text()), "run scripts/openapi, and look at the diff"


def test_openapi_document_names_every_route_and_its_schemas_resolve(tmp_path: Path) -> None:
    node = offline_node(tmp_path)
    described = node.app.openapi()
    routes = {route.path for router in node.routers() for route in router.routes}  # type: ignore[attr-defined]
    assert set(described["paths"]) == routes
    known = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    text = json.dumps(described)
    assert {part.split('"')[0] for part in text.split('"$ref": "')[1:]} <= known


def test_every_route_but_the_public_ones_states_its_security(tmp_path: Path) -> None:
    described = offline_node(tmp_path).app.openapi()
    open_routes = {
        path
        for path, operations in described["paths"].items()
        for operation in operations.values()
        if not operation.get("security")
    }
    assert open_routes == {"/health", "/ready", "/ledger", "/members"}
