"""What can go wrong with a process of this machine; every error descends from :class:`EnginesError`."""


class EnginesError(Exception):
    """The root of all errors of the room ``engines``: what was expected, what came, and what the person can do."""


class EngineNotBuilt(EnginesError):
    """An engine's program is not on this machine; the message has the command that obtains it."""


class EngineFailed(EnginesError):
    """An engine's process did not start, ended by itself, or does not answer; the message names its log."""
