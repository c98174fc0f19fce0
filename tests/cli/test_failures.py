"""Every error of every room becomes one sentence and the exit code of its kind."""

import importlib
from collections.abc import Iterator

import httpx
import pytest
from pydantic import TypeAdapter, ValidationError

import wallet.errors
from cli import failures
from cli.exit_codes import ExitCode
from cli.failures import exit_code_of, exit_code_of_status, sentence_of
from node.errors import NotAllowed, NotFound, Unavailable
from wallet.errors import NodeRefused, VaultBusy

EXPLAINED_AS_FAILED = {"WalletError", "NodeError", "RecordInvalid", "WalletBehind"}
"""The wallet's errors that are of no kind of their own."""


def _wallet_errors() -> Iterator[type[Exception]]:
    for value in vars(wallet.errors).values():
        if isinstance(value, type) and issubclass(value, Exception):
            yield value


def test_every_named_kind_is_a_class_that_there_is() -> None:
    for name in failures._KINDS:
        module, _, kind = name.rpartition(".")
        found = getattr(importlib.import_module(module), kind)
        assert f"{found.__module__}.{found.__name__}" == name or module == "httpx", name


@pytest.mark.parametrize("kind", list(_wallet_errors()), ids=lambda kind: kind.__name__)
def test_exit_code_of_each_wallet_error_is_its_kind(kind: type[Exception]) -> None:
    error = kind.__new__(kind)
    if kind is NodeRefused:
        error = NodeRefused("Seoul", 404, "not-found", "no such patient")
    assert (exit_code_of(error) is ExitCode.FAILED) == (kind.__name__ in EXPLAINED_AS_FAILED)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (VaultBusy("busy"), ExitCode.UNREACHABLE),
        (NodeRefused("Seoul", 403, "not-allowed", "no"), ExitCode.REFUSED),
        (NodeRefused("Seoul", 503, "unavailable", "no"), ExitCode.UNREACHABLE),
        (NotFound("none"), ExitCode.NOT_FOUND),
        (NotAllowed("no"), ExitCode.REFUSED),
        (Unavailable("not now"), ExitCode.UNREACHABLE),
        (FileNotFoundError(2, "No such file or directory", "x"), ExitCode.NOT_FOUND),
        (IsADirectoryError(21, "Is a directory", "x"), ExitCode.BAD_INPUT),
        (PermissionError(13, "Permission denied", "x"), ExitCode.BAD_INPUT),
        (OSError(40, "Too many levels of symbolic links", "x"), ExitCode.BAD_INPUT),
        (OSError(28, "No space left on device", "x"), ExitCode.FAILED),
        (httpx.ConnectTimeout("late"), ExitCode.UNREACHABLE),
        (httpx.InvalidURL("bad"), ExitCode.USAGE),
        (ZeroDivisionError(), ExitCode.FAILED),
    ],
)
def test_exit_code_of_an_error_is_its_kind(error: Exception, code: ExitCode) -> None:
    assert exit_code_of(error) is code


def test_exit_code_of_status_tells_a_refusal_from_a_fault() -> None:
    codes = {
        status: exit_code_of_status(status)
        for status in (400, 401, 403, 404, 409, 413, 422, 429, 500, 502, 503)
    }
    assert codes == {
        **dict.fromkeys((400, 413, 422), ExitCode.BAD_INPUT),
        **dict.fromkeys((401, 403, 409), ExitCode.REFUSED),
        404: ExitCode.NOT_FOUND,
        **dict.fromkeys((429, 502, 503), ExitCode.UNREACHABLE),
        500: ExitCode.FAILED,
    }


def test_sentence_of_a_file_error_names_the_file_and_a_descriptor_is_not_named() -> None:
    assert sentence_of(FileNotFoundError(2, "No such file", "a.json")) == "a.json: No such file"
    assert sentence_of(IsADirectoryError(21, "Is a directory", 3)) == "Is a directory"  # type: ignore[arg-type]


def test_sentence_of_a_fault_of_our_own_says_that_it_is_one() -> None:
    said = sentence_of(ZeroDivisionError("division by zero"))
    assert "ZeroDivisionError" in said
    assert "PHR_TRACEBACK=1" in said


def test_sentence_of_a_validation_error_tells_where_and_not_what_came() -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(dict[str, int]).validate_python({"deadline": "hunter2"})
    said = sentence_of(refused.value)
    assert said.startswith("deadline: ")
    assert "hunter2" not in said
    assert "https://" not in said
