"""What a member's staff save: whole, under a name of its own, never over what somebody has there."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest

from cli import member, saving
from cli.errors import CommandError
from cli.exit_codes import ExitCode
from vocabulary import Category
from wire.staff import DownloadOutcome

BUNDLE = b'{"resourceType": "Bundle"}'
IMAGE = bytes(range(256)) * 100
STEM = "laboratory-" + "11" * 6


class Client:
    """Stands for a node from which one content comes, or breaks off for a reason."""

    def __init__(
        self, *, breaks: bool = False, outcome: DownloadOutcome | CommandError | None = None
    ) -> None:
        self.breaks, self.outcome = breaks, outcome

    def download(self, path: str, size_bytes: int, file: BinaryIO, received: Any) -> None:
        file.write(IMAGE[: size_bytes // 2])
        if self.breaks:
            raise CommandError("the content broke off", ExitCode.UNREACHABLE)
        file.write(IMAGE[size_bytes // 2 :])

    def get(self, path: str, answer: object) -> DownloadOutcome:
        if isinstance(self.outcome, CommandError):
            raise self.outcome
        assert self.outcome is not None
        return self.outcome


def answer_with(**content: Any) -> Any:
    record = {"content": None, "download": None, "media_type": None} | content
    return SimpleNamespace(
        records=[SimpleNamespace(category=Category.LABORATORY, record_id=b"\x11" * 32, **record)]
    )


IN_ANSWER = answer_with(content=BUNDLE, media_type="application/fhir+json")
APART = answer_with(
    download=SimpleNamespace(download_id="0" * 32, content_bytes=len(IMAGE)), media_type="application/dicom"
)


@pytest.mark.parametrize(
    ("answer", "ending", "content"), [(IN_ANSWER, "json", BUNDLE), (APART, "dcm", IMAGE)]
)
def test_save_where_a_file_of_that_name_is_leaves_it_and_takes_the_next_number(
    tmp_path: Path, answer: Any, ending: str, content: bytes
) -> None:
    annotated = tmp_path / f"{STEM}.{ending}"
    annotated.write_bytes(b"annotated")
    for _ in range(2):
        member._save(Client(), answer, tmp_path)  # type: ignore[arg-type]
    assert annotated.read_bytes() == b"annotated"
    for number in (2, 3):
        saved = tmp_path / f"{STEM}-{number}.{ending}"
        assert saved.read_bytes() == content
        assert saved.stat().st_mode & 0o777 == 0o600
    assert len(list(tmp_path.iterdir())) == 3


def test_save_at_once_with_somebody_else_keeps_both(tmp_path: Path) -> None:
    """The name was free when it was chosen, and is taken when the content is whole."""

    def write(file: BinaryIO) -> None:
        if not taken.exists():
            taken.write_bytes(b"theirs")
        file.write(BUNDLE)

    taken = tmp_path / "x.json"
    saved = saving.save_new(tmp_path, "x", "application/fhir+json", write)
    assert (taken.read_bytes(), saved.name, saved.read_bytes()) == (b"theirs", "x-2.json", BUNDLE)


def test_save_by_many_at_once_loses_none(tmp_path: Path) -> None:
    bodies = [str(number).encode() for number in range(8)]

    def save(body: bytes) -> None:
        def write(file: BinaryIO) -> None:
            file.write(body)

        saving.save_new(tmp_path, "x", "application/fhir+json", write)

    threads = [threading.Thread(target=save, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == bodies


@pytest.mark.parametrize(
    ("outcome", "words", "exit_code"),
    [
        (DownloadOutcome(state="failed", detail="author 0xab lied"), "author 0xab lied", ExitCode.DIVERGED),
        (DownloadOutcome(state="open", detail=""), "broke off", ExitCode.UNREACHABLE),
        (
            CommandError("Not found: nothing of this id", ExitCode.NOT_FOUND),
            "broke off",
            ExitCode.UNREACHABLE,
        ),
    ],
)
def test_save_of_what_broke_off_leaves_nothing_and_says_what_is_known(
    tmp_path: Path, outcome: Any, words: str, exit_code: ExitCode
) -> None:
    with pytest.raises(CommandError, match=words) as failed:
        member._save(Client(breaks=True, outcome=outcome), APART, tmp_path)  # type: ignore[arg-type]
    assert failed.value.exit_code is exit_code
    assert list(tmp_path.iterdir()) == []
