"""How errors of the rooms below become one sentence and an exit code. Imported only when something failed.

Errors are known by name, so that saying "no such file" needs none of the rooms to be imported.
"""

from cli.exit_codes import ExitCode
from cli.texts import _

_KINDS = {
    "crypto.errors.KeyfileError": ExitCode.LOCKED,
    "crypto.errors.RecoveryPhraseError": ExitCode.LOCKED,
    "engines.errors.EngineFailed": ExitCode.UNREACHABLE,
    "engines.errors.EngineNotBuilt": ExitCode.NOT_FOUND,
    "engines.errors.EnginesError": ExitCode.BAD_INPUT,
    "httpx.HTTPError": ExitCode.UNREACHABLE,
    "httpx.InvalidURL": ExitCode.USAGE,
    "ledger.errors.ChainAnswerInvalid": ExitCode.UNREACHABLE,
    "ledger.errors.ChainUnreachable": ExitCode.UNREACHABLE,
    "ledger.errors.ContractRefused": ExitCode.REFUSED,
    "ledger.errors.NotFinal": ExitCode.UNREACHABLE,
    "ledger.errors.QueryRefused": ExitCode.USAGE,
    "ledger.errors.ReplayTargetExists": ExitCode.BAD_INPUT,
    "node.errors.ConfigurationError": ExitCode.BAD_INPUT,
    "node.errors.Conflict": ExitCode.REFUSED,
    "node.errors.InvalidRequest": ExitCode.BAD_INPUT,
    "node.errors.NotFound": ExitCode.NOT_FOUND,
    "pydantic_core._pydantic_core.ValidationError": ExitCode.BAD_INPUT,
    "records.errors.RecordsError": ExitCode.BAD_INPUT,
    "storage.errors.StoreAnswerError": ExitCode.UNREACHABLE,
    "storage.errors.StoreUnavailableError": ExitCode.UNREACHABLE,
    "wallet.errors.InvalidTerms": ExitCode.USAGE,
    "wallet.errors.LedgerRefused": ExitCode.REFUSED,
    "wallet.errors.NodeAnswerInvalid": ExitCode.UNREACHABLE,
    "wallet.errors.NodeUnreachable": ExitCode.UNREACHABLE,
    "wallet.errors.NodesDisagree": ExitCode.DIVERGED,
    "wallet.errors.NotFinalYet": ExitCode.UNREACHABLE,
    "wallet.errors.NothingToDo": ExitCode.REFUSED,
    "wallet.errors.RecordNeedsFile": ExitCode.USAGE,
    "wallet.errors.RecoveryError": ExitCode.NOT_FOUND,
    "wallet.errors.TooFewNodes": ExitCode.UNREACHABLE,
    "wallet.errors.UnfinishedOperation": ExitCode.REFUSED,
    "wallet.errors.UnknownName": ExitCode.NOT_FOUND,
    "wallet.errors.VaultBusy": ExitCode.UNREACHABLE,
    "wallet.errors.VaultError": ExitCode.LOCKED,
}
"""The kind of failure of each class of error and of those derived from it; all others are FAILED."""

_ROOMS = ("cli", "crypto", "engines", "ledger", "node", "records", "storage", "vocabulary", "wallet", "wire")
_PATH_ERRORS = (IsADirectoryError, NotADirectoryError, PermissionError, FileExistsError)
_TOO_MANY_LINKS = 40


def exit_code_of_status(status: int) -> ExitCode:
    """The exit code for an HTTP status with which a node refused."""
    if status in (400, 413, 422):
        return ExitCode.BAD_INPUT
    if status == 404:
        return ExitCode.NOT_FOUND
    if status in (429, 502, 503, 504):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED if status >= 500 else ExitCode.REFUSED


def exit_code_of(error: Exception) -> ExitCode:
    """The exit code for an error of any room."""
    if _is_usage_error(error):
        return ExitCode.USAGE
    for kind in type(error).__mro__:
        code = _KINDS.get(f"{kind.__module__}.{kind.__name__}")
        if code is not None:
            return code
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return exit_code_of_status(status)
    if isinstance(error, FileNotFoundError):
        return ExitCode.NOT_FOUND
    if isinstance(error, _PATH_ERRORS) or getattr(error, "errno", None) == _TOO_MANY_LINKS:
        return ExitCode.BAD_INPUT
    return ExitCode.FAILED


def sentence_of(error: Exception) -> str:
    """What a person reads of an error; nothing where its help has been shown already."""
    if _is_usage_error(error):
        return _usage(error)
    if isinstance(error, OSError) and error.strerror:
        # A file that was opened by its number has no name that means anything to a person.
        named = isinstance(error.filename, str | bytes)
        return f"{error.filename!s}: {error.strerror}" if named else error.strerror
    if isinstance(error, UnicodeDecodeError):
        return _("expected UTF-8 text; byte {position} is not").format(position=error.start)
    if hasattr(error, "errors") and hasattr(error, "error_count"):
        return validation_text(error)
    text = str(error).strip()
    if type(error).__module__.partition(".")[0] in (*_ROOMS, "httpx") and text:
        return text
    return _(
        "unexpected {kind}: {text}. That is a fault of phr; PHR_TRACEBACK=1 shows where it happened"
    ).format(kind=type(error).__name__, text=text or "-")


def validation_text(error: Exception) -> str:
    """The first fault that pydantic found, in a line: where and what, without what came."""
    faults = error.errors(include_url=False, include_input=False)  # type: ignore[attr-defined]
    where = ".".join(str(part) for part in faults[0]["loc"])
    return f"{where}: {faults[0]['msg']}" if where else str(faults[0]["msg"])


def _is_usage_error(error: Exception) -> bool:
    """Whether the words of the command were not understood; such an error knows what to say."""
    return hasattr(error, "format_message") and hasattr(error, "show")


def _usage(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        return ""
    message = str(error.format_message()).rstrip(".")  # type: ignore[attr-defined]
    command = context.command_path if context is not None else "phr"
    return _("{message}. See `{command} --help`").format(message=message, command=command)
