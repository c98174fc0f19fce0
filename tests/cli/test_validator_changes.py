"""A node's endpoints in its settings: replaced however they are written, or not at all."""

import tomllib
from pathlib import Path

import pytest

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.validator_changes import write_endpoints

URLS = ("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3")
WRITTEN = [
    'rpc_urls = ["http://127.0.0.1:9"]\n',
    'rpc_urls=["http://127.0.0.1:9","http://127.0.0.1:8"] # the own one first\n',
    'rpc_urls = [\n  "http://127.0.0.1:9", # own ]\n  "http://127.0.0.1:8",\n]\n',
    'rpc_url = "http://127.0.0.1:9"\n',
    'rpc_url = "http://127.0.0.1:9"\nrpc_urls = [\n"http://127.0.0.1:8"]\n',
    '"rpc_urls" = ["http://127.0.0.1:9"]\n',
]


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("last", ['# the end\n[table]\nrpc = "urls"\n', "rpc_confirmations = 1"])
def test_write_endpoints_replaces_them_however_they_are_written_and_nothing_else(
    tmp_path: Path, written: str, last: str
) -> None:
    path = tmp_path / "node.toml"
    path.write_text(f'# of Seoul\nname = "서울병원"\n{written}port = 8080 # own\n{last}')
    write_endpoints(path, URLS)
    text = path.read_text()
    line = 'rpc_urls = ["http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"]\n'
    assert text == f'# of Seoul\nname = "서울병원"\n{line}port = 8080 # own\n{last}'
    assert tomllib.loads(text)["rpc_urls"] == list(URLS)
    assert path.stat().st_mode & 0o777 == 0o600
    write_endpoints(path, URLS)
    assert path.read_text() == text


@pytest.mark.parametrize(
    "content",
    [
        'name = "Seoul"\n',
        'note = """\nrpc_urls = [\n"""\nrpc_urls = ["http://127.0.0.1:9"]\n',
        '[chain]\nrpc_urls = ["http://127.0.0.1:9"]\n',
        'rpc_urls = ["http://127.0.0.1:9"\nname = "Seoul"\n',
    ],
    ids=["none", "within-a-text", "of-a-table", "broken"],
)
def test_write_endpoints_that_cannot_be_replaced_says_so_and_changes_nothing(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "node.toml"
    path.write_text(content)
    with pytest.raises(CommandError, match=r"Write this instead: rpc_urls = \[") as refused:
        write_endpoints(path, URLS)
    assert refused.value.exit_code is ExitCode.BAD_INPUT
    assert path.read_text() == content
