"""What can go wrong between this program and the chain; every error descends from :class:`LedgerError`."""

from collections.abc import Mapping


class LedgerError(Exception):
    """The root of all errors of the room ``ledger``."""


class InvalidMessage(LedgerError, ValueError):
    """A field, an address, a signature or a JSON form that cannot stand on the ledger."""


class ChainUnreachable(LedgerError):
    """The chain's JSON-RPC endpoint did not answer, or not in time."""


class ChainHalted(ChainUnreachable):
    """The chain makes no blocks: too few of its validators work. Nothing is sent until it does."""


class ChainNotReady(ChainUnreachable):
    """The endpoint answered that it cannot answer yet: it was just started, or is busy with its newest block."""


class ChainAnswerInvalid(LedgerError):
    """The endpoint answered with something other than what its specification says."""


class AnswerTooLarge(ChainAnswerInvalid):
    """An answer passed the size limit: ask for less at once."""


class BlockUnknown(ChainAnswerInvalid):
    """The endpoint has no such block: it never was, or the endpoint is behind."""


class EndpointContradictsItself(ChainAnswerInvalid):
    """One of several endpoints told what cannot be true by its own other answers."""


class EndpointsDisagree(ChainAnswerInvalid):
    """Endpoints of one chain tell different things, and not enough of them agree to know which is true."""


class RpcRefused(LedgerError):
    """The endpoint answered a request with a JSON-RPC error.

    Attributes:
        code: The JSON-RPC error code.
        message: The endpoint's own words.
        data: Revert data, where the call reached a contract; else empty.
    """

    def __init__(self, method: str, code: int, message: str, data: bytes = b"") -> None:
        super().__init__(f"{method} was refused by the chain's endpoint: {message} (code {code})")
        self.method = method
        self.code = code
        self.message = message
        self.data = data


class NonceUsed(RpcRefused):
    """A transaction was refused because one with its nonce was mined already: another one, or this very one."""


class ContractRefused(LedgerError):
    """The contract reverted with one of its own errors.

    Attributes:
        error_name: The Solidity error's name (``StaleEpoch``), ``Error`` or ``Panic`` for Solidity's own, or
            ``Unknown`` with the raw data where the interface does not know it.
        arguments: Its arguments by name; addresses and byte strings as ``bytes``.
    """

    def __init__(self, error_name: str, arguments: Mapping[str, object], words: str) -> None:
        super().__init__(words)
        self.error_name = error_name
        self.arguments = dict(arguments)


class ChainReplaced(LedgerError):
    """What was read before is no longer on this chain: it was replaced, wiped or rewritten."""


class NotFinal(LedgerError):
    """A transaction was not final in time; it may still become so, and is still in the outbox."""


class TransactionLost(LedgerError):
    """A transaction can never become final: another one took its nonce."""


class EventUnknown(LedgerError):
    """A log of the contract that this program cannot decode: it must not fold a history with a hole."""


class StateInconsistent(LedgerError):
    """An event that cannot follow the state before it: an event was missed, repeated or altered.

    Attributes:
        event_name: The event's name in the contract.
        block_number, log_index: Where it stands on the chain.
        expected: What must hold before it.
    """

    def __init__(self, event_name: str, block_number: int, log_index: int, expected: str) -> None:
        super().__init__(
            f"{event_name} at log {log_index} of block {block_number} cannot follow the state before it: expected "
            f"{expected}; replay from the deployment block"
        )
        self.event_name = event_name
        self.block_number = block_number
        self.log_index = log_index
        self.expected = expected


class SnapshotInvalid(LedgerError):
    """Stored state that is damaged or of another version: replay from the chain instead."""


class UnknownRecord(LedgerError):
    """No record of this id was published: the contract reverts with the same name."""


class UnknownMember(LedgerError):
    """The requester was never enrolled: the contract reverts with the same name."""


class UnknownPurpose(LedgerError):
    """No purpose of use has this code: the contract reverts with the same name."""


class EngineFailed(LedgerError):
    """A chain engine's process did not start, or ended by itself."""


class ReplayTargetExists(LedgerError):
    """There is something already where a replay's files should go; nothing was written."""


class QueryRefused(LedgerError):
    """A query over a replay that is wrong, or does something else than read the replay's tables."""
