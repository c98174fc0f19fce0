"""Files that are no bundles, by the commands: published, shared, and saved byte for byte."""

import hashlib
from pathlib import Path

import pytest
from phr_commands import HOSPITAL, IDENTIFIER, SYSTEM, People, Ran

from cli.exit_codes import ExitCode

IMAGE = hashlib.shake_256(b"image").digest(3 * 2**20 + 77)
TO_HOSPITAL = ("--as", HOSPITAL, "--patient", IDENTIFIER)
MINJI = ("--wallet", "minji")


@pytest.fixture(scope="module")
def image(people: People) -> Path:
    path = people.files / "study.bin"
    path.write_bytes(IMAGE)
    return path


def publish(people: People, path: Path, *words: object, expect: int = 0) -> Ran:
    return people.phr("hospital", "publish", path, *TO_HOSPITAL, *words, expect=expect)


DESCRIBED = ("--category", "imaging", "--date", "2026-03-01", "--media-type", "application/octet-stream")


def test_publish_file_then_patient_and_grantee_save_the_same_bytes(people: People, image: Path) -> None:
    people.phr("hospital", "publish", image, *TO_HOSPITAL, *DESCRIBED, "--yes")
    people.settle()
    (record,) = [
        each for each in people.document("patient", "records", *MINJI) if each["category"] == "imaging"
    ]
    saved = people.files / "mine.bin"
    people.phr("patient", "read", record["record_id"], *MINJI, "--out", saved)
    assert saved.read_bytes() == IMAGE
    assert saved.stat().st_mode & 0o777 == 0o600
    people.phr(
        *("patient", "grant", "hanok", "--category", "imaging", "--for", "9 days"),
        *("--introduce", "Kim Minji", *MINJI, "--yes"),
    )
    people.settle()
    words = ("member", "read", "--as", "hanok", "--patient", "Kim Minji", "--category", "imaging")
    shown = people.phr(*words)
    assert "3.0 MiB (application/octet-stream): save it with --out" in shown.out
    directory = people.files / "images"
    people.phr(*words, "--out", directory)
    (found,) = directory.iterdir()
    assert found.read_bytes() == IMAGE
    assert found.name.startswith("imaging-")
    again = people.phr(*words, "--out", directory)
    assert "saved" in again.err
    assert len(list(directory.iterdir())) == 2


def test_patient_read_file_without_out_says_how_to_save_it(people: People, image: Path) -> None:
    publish(people, image, *DESCRIBED, "--yes")
    people.settle()
    (record,) = [
        each for each in people.document("patient", "records", *MINJI) if each["category"] == "imaging"
    ]
    done = people.phr("patient", "read", record["record_id"], *MINJI, expect=ExitCode.USAGE)
    assert f"{len(IMAGE)} bytes" in done.line
    assert "--out" in done.line


def test_publish_same_file_again_publishes_nothing_new(people: People, image: Path) -> None:
    publish(people, image, *DESCRIBED, "--yes")
    again = publish(people, image, *DESCRIBED, "--yes")
    assert "published before" in again.out


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (("--category", "imaging", "--media-type", "image/x-test"), "--date"),
        (("--date", "2026-03-01", "--media-type", "image/x-test"), "--category"),
        (("--category", "imaging", "--date", "2026-03-01"), "--media-type"),
    ],
)
def test_publish_file_that_is_not_fully_described_says_what_to_say(people, image, words, missing) -> None:
    done = publish(people, image, *words, "--yes", expect=ExitCode.USAGE)
    assert missing in done.line


def test_publish_file_that_names_nobody_asks_whose_it_is(people: People, image: Path) -> None:
    done = publish(people, image, *DESCRIBED, expect=ExitCode.USAGE)
    assert "does not say whose it is" in done.line


def test_publish_file_for_an_unknown_patient_is_not_found(people: People, image: Path) -> None:
    words = ("--as", HOSPITAL, "--patient", f"{SYSTEM}|nobody", *DESCRIBED, "--yes")
    people.phr("hospital", "publish", image, *words, expect=ExitCode.NOT_FOUND)


def test_publish_empty_file_is_refused(people: People) -> None:
    path = people.files / "empty.bin"
    path.write_bytes(b"")
    publish(people, path, *DESCRIBED, "--yes", expect=ExitCode.BAD_INPUT)


def test_save_that_breaks_off_leaves_nothing(
    people: People, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(people, image, *DESCRIBED, "--yes")
    people.settle()
    (record,) = [
        each for each in people.document("patient", "records", *MINJI) if each["category"] == "imaging"
    ]
    from storage import BlockNotFoundError
    from wallet.own_copy import NodeBlocks

    real, calls = NodeBlocks.get, []

    def breaking(self: NodeBlocks, cid: object) -> bytes:
        calls.append(cid)
        if len(calls) > 3:
            raise BlockNotFoundError("cut")
        return real(self, cid)

    monkeypatch.setattr(NodeBlocks, "get", breaking)
    directory = people.files / "broken"
    directory.mkdir()
    people.phr(
        "patient", "read", record["record_id"], *MINJI, "--out", directory / "x", expect=ExitCode.FAILED
    )
    assert len(calls) == 4
    assert list(directory.iterdir()) == []


def test_correct_a_record_by_a_file_supersedes_it(people: People) -> None:
    first, second = (people.files / name for name in ("letter.bin", "letter-corrected.bin"))
    first.write_bytes(b"%PDF-1.7 a letter")
    second.write_bytes(b"%PDF-1.7 a better letter")
    done = publish(people, first, "--category", "document", "--date", "2026-02-01", "--yes", "--json")
    (record,) = done.document["records"]
    people.settle()
    words = ("hospital", "correct", record["record_id"], second, *TO_HOSPITAL)
    people.phr(*words, "--yes", expect=ExitCode.USAGE)  # its day is not told
    people.phr(*words, "--date", "2026-02-02", "--yes")
    people.settle()
    views = people.document("hospital", "records", *TO_HOSPITAL)["records"]
    superseded = {view["record_id"]: view["superseded"] for view in views if view["category"] == "document"}
    assert superseded.pop(record["record_id"]) is True
    assert list(superseded.values()) == [False]
