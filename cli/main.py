"""`phr <who> <verb>`: the commands of patients, hospitals, members, auditors, researchers and operators.

Exit codes are those of `cli.exit_codes.ExitCode`. Errors are one line on standard error, never a traceback; with
``PHR_TRACEBACK=1`` the traceback of an unforeseen error is shown too.
"""

import os
import sys
import traceback

import typer

from cli import admin, auditor, hospital, member, network, node, patient, researcher
from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.output import clean
from cli.texts import _

app = typer.Typer(
    name="phr",
    help=_("A consent ledger for personal health records."),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help: without importing rich it shows in half the time.
    rich_markup_mode=None,
    epilog=_("Start with: phr network up my-network; then phr patient create --help"),
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
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: list[str]) -> int:
    """Run a command and return its exit code; what it has to say is on standard output and standard error."""
    try:
        result = app(arguments, standalone_mode=False)
        return int(result) if isinstance(result, int) else ExitCode.DONE
    except typer.Exit as ended:
        return ended.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return _failed(_("cancelled"), ExitCode.CANCELLED)
    except CommandError as error:
        return _failed(str(error), error.exit_code)
    except BrokenPipeError:
        # The reader (head, less) has seen enough; what Python flushes at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except Exception as error:  # noqa: BLE001 - the edge of the program: every error becomes one line and a code
        return _report(error)


def _report(error: Exception) -> int:
    from cli.failures import exit_code_of, is_usage_error, sentence_of

    if is_usage_error(error):
        error.show()  # type: ignore[attr-defined]
        return ExitCode.USAGE
    if os.environ.get("PHR_TRACEBACK"):
        traceback.print_exception(error)
    return _failed(sentence_of(error), exit_code_of(error))


def _failed(sentence: str, exit_code: ExitCode) -> int:
    sys.stderr.write("phr: " + clean(" ".join(sentence.split())) + "\n")
    return exit_code
