"""`phr` as a process: at a terminal, before a closed pipe, interrupted; and what hostile names make of it."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from phr_commands import People, run_phr
from records_flow import bundle, condition, observation

from cli.content import show_content
from cli.exit_codes import ExitCode

PHR = [str(Path(sys.executable).with_name("phr"))]
DEADLINE_SECONDS = 60.0
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
HOSTILE = "Evil\x1b]0;owned\x07\x9b31m\u202e\nphr: done"


class Terminal:
    """A process whose three streams are a terminal of 80 columns."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self._screen, inside = pty.openpty()
        self.seen = ""
        self.process = subprocess.Popen(
            PHR + words,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "40", **environment},
        )
        os.close(inside)

    def wait_for(self, text: str) -> None:
        """Reads until the text is on the screen."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while text not in self.plain:
            if time.monotonic() > deadline or not self._read():
                self.process.kill()
                raise AssertionError(f"no {text!r} in {self.plain!r}")

    def send(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def interrupt(self) -> None:
        """Interrupts what waits for an answer; again where it had shown its question and did not read yet."""
        for _attempt in range(3):
            self.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
                return

    def end(self) -> int:
        """Reads to the end; the exit code."""
        while self._read():
            pass
        os.close(self._screen)
        return self.process.wait(DEADLINE_SECONDS)

    def _read(self) -> bool:
        try:
            data = os.read(self._screen, 4096)
        except OSError:
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)

    @property
    def plain(self) -> str:
        return ESCAPES.sub("", self.seen).replace("\r\n", "\n")


def _environment(people: People) -> dict[str, str]:
    return {"PHR_NETWORK": str(people.directory), "PHR_PASSPHRASE_FILE": str(people.passphrase)}


GRANT = ["patient", "grant", "évian", "-c", "laboratory", "--for", "90 days", "--wallet", "minji"]


def test_grant_at_a_terminal_previews_asks_and_no_changes_nothing(people: People) -> None:
    terminal = Terminal(GRANT, _environment(people))
    terminal.wait_for("Sign? [y/N]")
    assert re.search(
        r"Hôpital d'Évian will be able to read \d+ records? of 서울병원: laboratory", terminal.plain
    )
    terminal.send("n\n")
    assert terminal.end() == ExitCode.CANCELLED
    assert "phr: nothing was changed" in terminal.plain
    assert len(people.document("patient", "consents", "--wallet", "minji")) == 1


def test_grant_interrupted_at_its_question_is_cancelled_without_a_traceback(people: People) -> None:
    terminal = Terminal(GRANT, _environment(people))
    terminal.wait_for("Sign? [y/N]")
    terminal.interrupt()
    assert terminal.end() == ExitCode.CANCELLED
    assert "Traceback" not in terminal.plain
    assert "phr: cancelled" in terminal.plain


def test_passphrase_is_asked_for_at_a_terminal_and_not_shown(people: People) -> None:
    environment = {"PHR_NETWORK": str(people.directory), "PHR_PASSPHRASE_FILE": ""}
    terminal = Terminal(["patient", "status", "--wallet", "minji"], environment)
    terminal.wait_for("Passphrase:")
    terminal.send("a wrong one\n")
    assert terminal.end() == ExitCode.LOCKED
    assert "a wrong one" not in terminal.plain


def test_recovery_phrase_mistyped_at_a_terminal_can_be_typed_again(people: People) -> None:
    terminal = Terminal(["patient", "recover", "typed"], _environment(people))
    for _attempt in range(2):
        terminal.wait_for("not shown while you type")
        terminal.seen = ""
        terminal.send("one two three\n")
        terminal.wait_for("24")
    terminal.wait_for("not shown while you type")
    terminal.send((people.files / "minji.phrase").read_text())
    assert terminal.end() == ExitCode.DONE
    assert "Recovered" in terminal.plain


def test_table_at_a_terminal_of_80_columns_is_no_wider_and_breaks_no_number(people: People) -> None:
    terminal = Terminal(["patient", "records", "--wallet", "minji"], _environment(people))
    assert terminal.end() == ExitCode.DONE
    lines = terminal.plain.split("record ", 1)[1].splitlines()
    assert max(map(len, lines)) <= 80
    records = people.document("patient", "records", "--wallet", "minji")
    assert all(record["record_id"][:10] in terminal.plain for record in records)


def test_pipe_closed_by_its_reader_is_no_error(people: People) -> None:
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$0" patient records --wallet minji --json | head -1', *PHR],
        env={**os.environ, **_environment(people)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[\n", "")


def test_disk_full_of_standard_output_is_one_line(people: People) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*PHR, "admin", "members"],
            env={**os.environ, **_environment(people)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == ExitCode.FAILED
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr


def _dangerous(text: str) -> set[str]:
    return {c for c in text if c in "\x1b\x07\x9b\u202e\x7f"}


def test_record_with_terminal_escapes_is_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    # An honest node refuses such a bundle; a dishonest provider publishes it all the same.
    show_content(bundle("1", condition(HOSTILE), observation(5.4, status=HOSTILE)), f"condition of {HOSTILE}")
    shown = capsys.readouterr().out
    assert "Evil" in shown
    assert not _dangerous(shown)
    assert "\nphr: done" not in shown


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff", b"[" * 100_000, b'{"resourceType": "Bundle", "entry": 7}']
)
def test_record_of_junk_is_said_to_be_none(content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    show_content(content, "junk")
    assert capsys.readouterr().out


def test_record_with_a_warning_shows_it_before_the_value_and_markup_as_text(people: People) -> None:
    people.new_patient("warned", "warned")
    wrong = observation(9.9, status="entered-in-error")
    shown = {}
    for record in people.publish("warned", "warned", wrong, condition("[bold]Asthma[/bold]")):
        shown[record["category"]] = people.phr(
            "patient", "read", record["record_id"], "--wallet", "warned"
        ).out
    assert re.search(r"⚠ ENTERED IN ERROR.*9\.9", shown["laboratory"])
    assert "Read the warning before the value" in shown["laboratory"]
    assert "[bold]Asthma[/bold]" in shown["condition"]


def test_member_enrolled_under_a_name_that_drives_terminals_is_shown_harmlessly(people: People) -> None:
    from cli.administration import Administration, Enrolment
    from cli.places import read_network
    from crypto.hpke import EncryptionKey
    from crypto.signer import AccountKey
    from ledger.messages import MemberKeys, sign
    from vocabulary import Role

    place = read_network(people.directory)
    account, encryption = AccountKey.generate(), EncryptionKey.generate().public
    keys = MemberKeys(
        account.address, HOSTILE, "http://127.0.0.1:1", encryption, b"\x07" * 32, 1, int(time.time()) + 3000
    )
    with Administration.open(place, place.administrator_directory / "passphrase") as administration:
        signature = sign(administration.deployment.scope, keys, account.sign_digest)
        administration.enrol(Enrolment(keys, signature), (Role.AUDITOR,))
    for words in (
        ("admin", "members"),
        ("admin", "members", "--json"),
        ("admin", "suspend", "Evil"),
        ("admin", "suspend", "nobody"),
        ("patient", "grant", "nobody", "-c", "lab", "--for", "1 day", "--wallet", "minji"),
        ("patient", "grant", "nobody", "-c", "lab", "--for", "1 day", "--wallet", "minji", "--json"),
    ):
        done = people.phr(*words, expect=None)
        assert not _dangerous(done.out + done.err), words
        assert "\nphr: done" not in done.out + done.err


@pytest.mark.parametrize("junk", [b"", b"\x00" * 64, b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe{}"])
def test_json_files_of_junk_are_refused_in_one_line_and_crash_nothing(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "network.json").write_bytes(junk)
    enrolment = tmp_path / "enrolment.json"
    enrolment.write_bytes(junk)
    for words in (
        ("admin", "members", "--network", tmp_path),
        ("admin", "enrol", enrolment, "--role", "auditor"),
    ):
        done = run_phr(*words, environment={"PHR_NETWORK": str(tmp_path)})
        assert done.exit_code == ExitCode.BAD_INPUT
        assert done.line
