"""Files that a person asked for with ``--out``: whole or not at all, for the owner's eyes, never over something else.

Whether a file can be written is looked at before the ledger is asked: an access is recorded for good, and must not be
spent on a path with a typing error.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.texts import _

_ENDINGS = {
    "application/fhir+json": ".json",
    "application/dicom": ".dcm",
    "application/gzip": ".gz",
    "application/x-bam": ".bam",
    "application/x-cram": ".cram",
    "text/x-vcf": ".vcf",
    "text/x-sam": ".sam",
}
"""Where the usual ending of a media type is not in Python's list."""


def check_new_file(path: Path) -> None:
    """Look whether a new file can be made there.

    Raises:
        CommandError: something is there already, or the directory is missing or cannot be written to.
    """
    if os.path.lexists(path):
        raise CommandError(_("{path} exists; name a new file").format(path=path), ExitCode.BAD_INPUT)
    _check_writable(path.parent, path)


def check_directory(path: Path) -> None:
    """Look whether files can be written into a directory that is there, or can be made.

    Raises:
        CommandError: it is something else than a directory, or cannot be written to.
    """
    if path.is_dir():
        return _check_writable(path, path)
    if os.path.lexists(path):
        raise CommandError(
            _("expected a directory; {path} is something else").format(path=path), ExitCode.BAD_INPUT
        )
    _check_writable(path.parent, path)


def _check_writable(directory: Path, path: Path) -> None:
    if not directory.is_dir():
        raise CommandError(
            _("{path}: there is no directory {directory}; make it first").format(
                path=path, directory=directory
            ),
            ExitCode.BAD_INPUT,
        )
    if not os.access(directory, os.W_OK | os.X_OK):
        raise CommandError(
            _("{path}: you may not write in {directory}").format(path=path, directory=directory),
            ExitCode.BAD_INPUT,
        )


def save(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 whose path was looked at before; a symbolic link is never followed."""
    # Imported here: `phr --help` must not wait for cryptography.
    from crypto.private_file import atomic_write_private

    atomic_write_private(path, content)


def save_new(directory: Path, stem: str, media_type: str, write: Callable[[BinaryIO], None]) -> Path:
    """Write a file of mode 0600 under a name that nothing has yet, and return its path.

    ``write`` is called again where somebody took the name meanwhile. When it fails, nothing is there.
    """
    # Imported here: `phr --help` must not wait for cryptography.
    from crypto.errors import KeyfileError
    from crypto.private_file import new_private_file

    while True:
        path = _new_name(directory, stem, media_type)
        try:
            with new_private_file(path) as file:
                write(file)
        except KeyfileError:
            if not os.path.lexists(path):
                raise
        else:
            return path


def _new_name(directory: Path, stem: str, media_type: str) -> Path:
    """A path that nothing has yet, with an ending by which programs know such files."""
    import mimetypes

    ending = _ENDINGS.get(media_type) or mimetypes.guess_extension(media_type) or ".bin"
    path = directory / f"{stem}{ending}"
    number = 2
    while os.path.lexists(path):
        path = directory / f"{stem}-{number}{ending}"
        number += 1
    return path
