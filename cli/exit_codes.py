"""Exit codes, the same for every command; scripts may rely on them."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Why a command ended."""

    DONE = 0
    FAILED = 1
    """Something that is not of the kinds below."""
    USAGE = 2
    """The words of the command were not understood."""
    BAD_INPUT = 3
    """A file or a value is not what it should be; nothing was written."""
    REFUSED = 4
    """The ledger, a consent or a node said no."""
    UNREACHABLE = 5
    """A node, the chain or the store did not answer, or another process is at work: try again."""
    NOT_FOUND = 6
    """No such member, patient, record, wallet or directory."""
    DIVERGED = 7
    """Verification found a divergence, or nodes contradict each other."""
    LOCKED = 8
    """A passphrase or a recovery phrase is wrong, or a key file is not safe."""
    CANCELLED = 9
    """The person said no at a preview, or pressed Ctrl-C."""
