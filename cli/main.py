"""`phr <who> <verb>`: the commands of patients, hospitals, members, auditors, researchers and operators.

Exit codes are those of `cli.exit_codes.ExitCode`. An error is one line on standard error, never a traceback; with
``--json`` it is also the one document on standard output, unless the answer itself is there already. With
``PHR_TRACEBACK=1`` the traceback of an error is shown too.
"""

import os
import signal
import sys
from typing import TextIO

import typer

from cli import admin, auditor, hospital, member, network, node, patient, researcher
from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.output import clean, documents, emit_json
from cli.texts import _

_INTERRUPTED = 128 + signal.SIGINT
"""What typer makes of Ctrl-C (``typer.core._main``), as if the command had ended so itself."""

app = typer.Typer(
    name="phr",
    help=_("A consent ledger for personal health records."),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help: without importing rich it shows in half the time.
    rich_markup_mode=None,
    epilog=_(
        "Start with: phr network up my-network; then phr patient create --help. "
        "Exit codes: 0 done, 1 failed, 2 the command's words, 3 a file or value, 4 refused, 5 no answer or busy: "
        "try again, 6 not found, 7 diverged, 8 a passphrase or key file, 9 cancelled."
    ),
)
app.add_typer(patient.app, name="patient", help=_("Your own records: who may read what, and who did."))
app.add_typer(hospital.app, name="hospital", help=_("Register patients and publish their records."))
app.add_typer(member.app, name="member", help=_("Request and read what patients consented to."))
app.add_typer(
    auditor.app, name="auditor", help=_("Who read what, when, why; and proof that nothing is missing.")
)
app.add_typer(researcher.app, name="researcher", help=_("Replay the ledger into tables and ask them."))
app.add_typer(node.app, name="node", help=_("A member's own node."))
app.add_typer(network.app, name="network", help=_("A network of members on this machine."))
app.add_typer(admin.app, name="admin", help=_("The consortium's administrator: members and their roles."))


def run() -> None:
    """Run the command of this process, and end it with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal of an old encoding shows a question mark where it lacks a letter.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: list[str]) -> int:
    """Run a command and return its exit code; what it has to say is on standard output and standard error."""
    as_json = "--json" in arguments
    documents.printed = 0
    stdout = sys.stdout
    try:
        exit_code = _execute(arguments, as_json)
        stdout.flush()
        return exit_code
    except SystemExit as ended:
        if sys.stdout is stdout:
            # Shell completion ends so.
            return ended.code if isinstance(ended.code, int) else ExitCode.DONE
        # What typer makes of a broken pipe.
        sys.stdout = stdout
    except BrokenPipeError:
        pass
    except OSError as error:
        # Only writing what was said can fail here: a command's own errors became a line and a code below.
        _write_nothing_more(stdout)
        sys.stderr.write(f"phr: {_('standard output cannot be written')}: {error.strerror or error}\n")
        return ExitCode.FAILED
    # The reader (head, less) has seen enough.
    _write_nothing_more(stdout)
    return ExitCode.DONE


def _write_nothing_more(stdout: TextIO) -> None:
    """Let what Python flushes at exit go nowhere, so that it does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())


def _execute(arguments: list[str], as_json: bool) -> int:
    try:
        result = app(arguments, prog_name="phr", standalone_mode=False)
        if result == _INTERRUPTED:
            sentence = _(
                "cancelled. What was begun may have been done all the same: look before you repeat it"
            )
            return _failed(sentence, ExitCode.CANCELLED, as_json)
        return int(result) if isinstance(result, int) else ExitCode.DONE
    except typer.Exit as ended:
        return ended.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return _failed(_("cancelled"), ExitCode.CANCELLED, as_json)
    except CommandError as error:
        return _failed(str(error), error.exit_code, as_json)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the edge of the program: every error becomes one line and a code
        from cli.failures import exit_code_of, sentence_of

        if os.environ.get("PHR_TRACEBACK"):
            import traceback

            traceback.print_exception(error)
        sentence = sentence_of(error)
        return _failed(sentence, exit_code_of(error), as_json) if sentence else ExitCode.USAGE


def _failed(sentence: str, exit_code: ExitCode, as_json: bool) -> int:
    line = clean(" ".join(sentence.split()))
    if as_json and not documents.printed:
        emit_json({"error": line, "kind": exit_code.name.lower().replace("_", "-"), "exit_code": exit_code})
    sys.stdout.flush()
    sys.stderr.write(f"phr: {line}\n")
    return exit_code
