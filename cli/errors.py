"""Errors of the command line."""

from cli.exit_codes import ExitCode


class CommandError(Exception):
    """A command cannot go on: one line for the person, and an exit code for scripts."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
