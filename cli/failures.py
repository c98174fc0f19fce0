"""How errors of the rooms below become one sentence and an exit code. Imported only when something failed."""

from cli.exit_codes import ExitCode
from cli.texts import _


def is_usage_error(error: Exception) -> bool:
    """Whether the words of the command were not understood; such an error knows how to show itself."""
    return hasattr(error, "show") and hasattr(error, "format_message")


def exit_code_of(error: Exception) -> ExitCode:
    """The exit code for an error of any room."""
    import httpx

    from crypto.errors import KeyfileError, RecoveryPhraseError
    from ledger.errors import ChainUnreachable, ContractRefused, LedgerError
    from records.errors import RecordsError

    if isinstance(error, KeyfileError | RecoveryPhraseError):
        return ExitCode.LOCKED
    if isinstance(error, RecordsError):
        return ExitCode.BAD_INPUT
    if isinstance(error, ContractRefused):
        return ExitCode.REFUSED
    if isinstance(error, ChainUnreachable | httpx.HTTPError):
        return ExitCode.UNREACHABLE
    if isinstance(error, FileNotFoundError):
        return ExitCode.NOT_FOUND
    if isinstance(error, OSError | LedgerError):
        return ExitCode.FAILED
    # Rooms that name the kind of failure themselves.
    named = getattr(error, "exit_code", None)
    return ExitCode(named) if isinstance(named, int) else ExitCode.FAILED


def sentence_of(error: Exception) -> str:
    """What a person reads of an error."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = str(error).strip()
    if text:
        return text
    return _("unexpected {kind}; set PHR_TRACEBACK=1 to see where").format(kind=type(error).__name__)
