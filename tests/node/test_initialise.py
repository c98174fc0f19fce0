"""Making a node's directory: private, whole, never twice, and continued where it broke off."""

import json
import stat
from pathlib import Path

import pytest
from node_offline import CHEAP, NOWHERE, initialise_offline, offline_node

from crypto.errors import KeyfileError
from ledger.messages import MemberKeys, from_json, recover
from node import initialise
from node.config import NodeConfig
from node.errors import ConfigurationError, Conflict, NodeError
from node.initialise import add_staff, end_staff, open_identity, renew_enrolment
from wire.patients import SignedMessage


def member_keys(enrolment: SignedMessage) -> MemberKeys:
    keys = from_json(MemberKeys, enrolment.message)
    assert recover(NOWHERE.scope, keys, enrolment.signature) == keys.member
    return keys


def test_enrolment_holds_the_public_keys_signed_by_the_member(tmp_path: Path) -> None:
    keys = member_keys(initialise_offline(tmp_path))
    identity = open_identity(NodeConfig.load(tmp_path / "node"))
    assert (keys.member, keys.encryption_key, keys.transport_key, keys.nonce) == (
        identity.address,
        identity.current_encryption_key.public,
        identity.transport_public_key,
        1,
    )
    assert (keys.name, keys.endpoint) == ("Seoul Hospital", "https://seoul.example")
    stored = SignedMessage.model_validate_json((tmp_path / "node" / "enrolment.json").read_bytes())
    assert member_keys(stored) == keys


def test_everything_in_the_directory_is_for_its_owner_only(tmp_path: Path) -> None:
    initialise_offline(tmp_path)
    for path in (tmp_path / "node", *(tmp_path / "node").iterdir()):
        if not path.name.startswith("node.db"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert stat.S_IMODE((tmp_path / "node").stat().st_mode) == 0o700


def test_second_initialisation_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    initialise_offline(tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "node").iterdir()}
    with pytest.raises(ConfigurationError, match="nothing was changed"):
        initialise_offline(tmp_path, name="Other")
    assert {path.name: path.read_bytes() for path in (tmp_path / "node").iterdir()} == before


@pytest.mark.parametrize("step", ["_make_database", "_enrolment"])
def test_initialisation_that_broke_off_goes_on_with_the_same_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def break_off(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(initialise, step, break_off)
    with pytest.raises(OSError, match="no space"):
        initialise_offline(tmp_path)
    keystore = (tmp_path / "node" / "keystore").read_bytes()
    with pytest.raises(ConfigurationError, match="initialise the node"):
        NodeConfig.load(tmp_path / "node")
    monkeypatch.undo()
    keys = member_keys(initialise_offline(tmp_path))
    assert (tmp_path / "node" / "keystore").read_bytes() == keystore
    assert open_identity(NodeConfig.load(tmp_path / "node")).address == keys.member


def test_first_staff_token_works_and_others_can_be_added_and_ended(tmp_path: Path) -> None:
    node = offline_node(tmp_path)
    directory = tmp_path / "node"
    first = node.staff.by_token((directory / "staff-token").read_text().strip())
    assert first is not None
    token = add_staff(directory, "kim", "physician")
    found = node.staff.by_token(token)
    assert found is not None
    assert (found.staff_id, found.role) == ("kim", "physician")
    with pytest.raises(Conflict):
        add_staff(directory, "kim", "physician")
    end_staff(directory, "kim")
    assert node.staff.by_token(token) is None


def test_renewed_enrolment_has_the_same_keys_and_a_later_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = member_keys(initialise_offline(tmp_path))
    later = first.deadline + 1000
    monkeypatch.setattr(initialise.time, "time", lambda: later)
    path = renew_enrolment(tmp_path / "node")
    renewed = member_keys(SignedMessage.model_validate_json(path.read_bytes()))
    assert renewed.deadline == later + initialise.ENROLMENT_SECONDS
    assert (renewed.member, renewed.encryption_key) == (first.member, first.encryption_key)


def test_passphrase_file_of_the_operators_own_is_used_and_not_copied(tmp_path: Path) -> None:
    own = tmp_path / "my-passphrase"
    own.touch(mode=0o600)
    own.write_text("correct horse battery staple\n")
    initialise_offline(tmp_path, passphrase_file=own)
    assert not (tmp_path / "node" / "passphrase").exists()
    assert open_identity(NodeConfig.load(tmp_path / "node")).address
    own.write_text("another one\n")
    with pytest.raises(KeyfileError):
        open_identity(NodeConfig.load(tmp_path / "node"))


def test_passphrase_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    initialise_offline(tmp_path)
    (tmp_path / "node" / "passphrase").chmod(0o644)
    with pytest.raises(KeyfileError, match="chmod 600"):
        open_identity(NodeConfig.load(tmp_path / "node"))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("name", ""),
        ("name", "가" * 100),
        ("name", "line\nbreak"),
        ("endpoint", "seoul.example"),
        ("rpc_url", "ftp://x"),
        ("port", 70000),
        ("engine", "besu"),
    ],
)
def test_setting_that_cannot_be_used_is_refused_and_leaves_nothing(
    tmp_path: Path, setting: str, value: object
) -> None:
    with pytest.raises(ConfigurationError, match=setting):
        initialise_offline(tmp_path, **{setting: value})
    assert not (tmp_path / "node").exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", "{", '{"address": 1}'])
def test_deployment_file_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text(content)
    with pytest.raises(ConfigurationError, match="deployment"):
        initialise_offline(tmp_path, deployment=broken)


def test_environment_overrides_the_file_and_the_file_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    initialise_offline(tmp_path, port=4711)
    loaded = NodeConfig.load(tmp_path / "node")
    assert (loaded.port, loaded.host, loaded.name) == (4711, "127.0.0.1", "Seoul Hospital")
    monkeypatch.setenv("PHR_NODE_PORT", "4712")
    assert NodeConfig.load(tmp_path / "node").port == 4712


def test_unknown_setting_in_the_file_is_refused_by_name(tmp_path: Path) -> None:
    initialise_offline(tmp_path)
    file = tmp_path / "node" / "node.toml"
    file.write_text(file.read_text() + 'colour = "blue"\n')
    with pytest.raises(ConfigurationError, match="colour"):
        NodeConfig.load(tmp_path / "node")
    file.write_text("not toml")
    with pytest.raises(ConfigurationError, match=r"node\.toml"):
        NodeConfig.load(tmp_path / "node")


@pytest.mark.parametrize("name", ['He said "no" \\ yes', "서울 병원", "Ünïcödé ’ 😀", "#[section]"])
def test_names_of_any_script_survive_the_settings_file(tmp_path: Path, name: str) -> None:
    initialise_offline(tmp_path, name=name)
    assert NodeConfig.load(tmp_path / "node").name == name


def test_secrets_are_in_no_representation(tmp_path: Path) -> None:
    node = offline_node(tmp_path)
    passphrase = (tmp_path / "node" / "passphrase").read_text().strip()
    shown = repr(node.identity) + repr(node.config) + repr(node.identity.request_key.caller)
    secrets = (
        passphrase,
        node.identity.account.secret.hex(),
        node.identity.current_encryption_key.seed.hex(),
    )
    assert [secret for secret in secrets if secret in shown] == []
    assert json.loads((tmp_path / "node" / "deployment.json").read_text()) == NOWHERE.to_json()


def test_node_with_the_database_of_a_newer_program_does_not_open(tmp_path: Path) -> None:
    node = offline_node(tmp_path)
    with node.database.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NodeError, match="schema version"):
        offline_again(tmp_path)


def offline_again(directory: Path) -> None:
    from node.node import Node

    Node(NodeConfig.load(directory / "node")).start()


def test_keys_made_before_the_deployment_are_the_ones_that_the_node_has(tmp_path: Path) -> None:
    address = initialise.make_keys(tmp_path / "node", CHEAP)
    assert initialise.make_keys(tmp_path / "node", CHEAP) == address
    assert not (tmp_path / "node" / "node.toml").exists()
    assert member_keys(initialise_offline(tmp_path)).member == address


def test_further_settings_are_written_and_unknown_ones_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="colour"):
        initialise_offline(tmp_path, further={"colour": "blue"})
    assert not (tmp_path / "node").exists()
    initialise_offline(tmp_path, further={"custodians": 3, "threshold": 2})
    config = NodeConfig.load(tmp_path / "node")
    assert (config.custodians, config.threshold) == (3, 2)
