"""The container files and the compose file, as far as they can be read without building them."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
CONTAINERS = PROJECT / "deploy" / "containers"
FILES = sorted(CONTAINERS.glob("*.Containerfile"))
COMPOSE = PROJECT / "deploy" / "compose" / "organisation.yaml"


def _instructions(file: Path) -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n", " ", file.read_text())
    lines = [line.strip() for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return [(word.upper(), rest) for word, _, rest in (line.partition(" ") for line in lines)]


def _copied_from_the_project(file: Path) -> list[str]:
    copies = [
        rest.split() for word, rest in _instructions(file) if word == "COPY" and not rest.startswith("--from")
    ]
    return [source for words in copies for source in words[:-1]]


def _images() -> list[str]:
    defaults = [
        rest.partition("=")[2]
        for file in FILES
        for word, rest in _instructions(file)
        if word == "ARG" and "IMAGE" in rest
    ]
    named = re.findall(r"image: \"\$\{\w+:-([^}]+)\}\"", COMPOSE.read_text())
    return defaults + named


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_container_file_copies_only_what_is_in_the_project_and_in_its_context(file: Path) -> None:
    sources = _copied_from_the_project(file)
    assert sources
    admitted = [
        line[1:]
        for line in file.with_suffix(".Containerfile.dockerignore").read_text().splitlines()
        if line[:1] == "!"
    ]
    for source in sources:
        if source == "chain" or source.startswith("chain/"):
            continue  # looked at below: the module has files of its own
        assert (PROJECT / source).exists(), source
        assert any(source == name or source.startswith(name + "/") for name in admitted), source
    assert not {".git", ".venv", "demo-run", "node_modules"} & set(admitted)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_container_runs_as_a_numbered_user_without_rights_from_a_stage_of_its_own(file: Path) -> None:
    instructions = _instructions(file)
    stages = [rest for word, rest in instructions if word == "FROM"]
    assert len(stages) >= 2
    last = instructions[max(i for i, (word, _) in enumerate(instructions) if word == "FROM") :]
    [user] = [rest for word, rest in last if word == "USER"]
    [uid] = [rest.partition("=")[2] for word, rest in last if word == "ARG" and rest.startswith("UID=")]
    assert user == "${UID}:${UID}"
    assert int(uid) > 10_000
    assert not any(word == "COPY" and "--from" not in rest for word, rest in last), "no sources in what runs"
    assert [rest for word, rest in last if word == "STOPSIGNAL"] == ["SIGTERM"]


def test_node_container_has_all_packages_that_the_project_installs() -> None:
    packages = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    copied = set(_copied_from_the_project(CONTAINERS / "node.Containerfile"))
    assert set(packages) <= copied


def test_container_images_are_short_names_without_a_registry() -> None:
    images = _images()
    assert len(images) >= 6
    for image in images:
        assert re.fullmatch(r"[a-z-]+(:[a-z0-9.-]+)?", image), image


def test_compose_file_lets_no_service_but_the_pod_publish_a_port_or_have_a_network() -> None:
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    services = document["services"]
    assert set(services) == {"pod", "chain", "ipfs", "postgres", "node", "proxy"}
    for name, service in services.items():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert ("ports" in service) == (name == "pod")
        assert name == "pod" or service["network_mode"] == "service:pod"
        if "build" in service:
            assert (COMPOSE.parent / service["build"]["context"]).resolve() == PROJECT
            assert (PROJECT / service["build"]["dockerfile"]).is_file()
    published = {port.rsplit(":", 1)[1] for port in services["pod"]["ports"]}
    assert published == {"8443", "8444", "8546", "26656", "4001"}, "no RPC, no database, not the node itself"


def test_compose_file_gives_the_node_a_database_role_that_is_no_superuser() -> None:
    """The image makes a superuser of POSTGRES_USER: it stays the administrator, and the node gets a role of its own."""
    postgres: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]["postgres"]
    assert "POSTGRES_USER" not in postgres["environment"]
    mounted = {target: source for source, target, *_ in (volume.split(":") for volume in postgres["volumes"])}
    script = COMPOSE.parent / mounted["/docker-entrypoint-initdb.d/postgres-node.sh"]
    assert script.stat().st_mode & 0o111 == 0o111, (
        "what cannot be executed is read into the image's own script"
    )
    assert (COMPOSE.parent / mounted["/srv/phr-postgres"] / "node.sql").is_file()
    assert "/srv/phr-postgres" in script.read_text()
    assert "/run/secrets/node-database-password" in script.read_text()
    assert "node-database-password" in postgres["secrets"]
    assert {"log_error_verbosity=terse", "log_min_error_statement=panic"} <= set(postgres["command"])
    assert {"log_parameter_max_length=0", "log_parameter_max_length_on_error=0"} <= set(postgres["command"])
