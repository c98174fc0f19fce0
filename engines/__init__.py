"""The real engines as processes of this machine: the chain, Kubo and PostgreSQL, each in a directory of its own.

Prepares their directories (keys, configuration, logs), starts, watches, stops and opens them again. Speaks none of
their protocols: that is ``ledger``'s, ``storage``'s and ``node``'s.
"""

from engines.binaries import find_binary
from engines.errors import EngineFailed, EngineNotBuilt, EnginesError
from engines.processes import Background, wait_for

__all__ = ["Background", "EngineFailed", "EngineNotBuilt", "EnginesError", "find_binary", "wait_for"]
