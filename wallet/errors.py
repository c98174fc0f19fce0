"""What can go wrong in a wallet, one class for each thing that the person can do about it."""


class WalletError(Exception):
    """Root of every error that this package raises."""


class VaultError(WalletError):
    """The vault's file cannot be made, opened or understood."""


class VaultBusy(VaultError):
    """Another process has this vault open: wait until it ends."""


class NodeError(WalletError):
    """Something about one node.

    Attributes:
        node: The node's name or, before that is known, its URL.
    """

    def __init__(self, node: str, words: str) -> None:
        super().__init__(f"{node}: {words}")
        self.node = node


class NodeUnreachable(NodeError):
    """The node did not answer, or not in time: try another one."""


class NodeAnswerInvalid(NodeError):
    """The node answered with something that is not what was agreed, too much, or about another ledger."""


class NodeRefused(NodeError):
    """The node said no.

    Attributes:
        status: The HTTP status.
        code: The stable word of the problem (``wire.problem.Problem.code``).
    """

    def __init__(self, node: str, status: int, code: str, detail: str) -> None:
        super().__init__(node, f"{detail} ({code}, status {status})")
        self.status = status
        self.code = code


class TooFewNodes(WalletError):
    """Fewer than two members' nodes answered; the wallet believes no single one and signs nothing."""


class NodesDisagree(WalletError):
    """Nodes of different members say different things of one final block: at least one lies or is broken.

    Attributes:
        what: What they differ in.
        sides: Groups of node names; each group says the same.
    """

    def __init__(self, what: str, sides: tuple[tuple[str, ...], ...], words: str) -> None:
        super().__init__(words)
        self.what = what
        self.sides = sides


class NotFinalYet(WalletError):
    """Two nodes do not yet report it as final; it is in the journal, and ``Wallet.resume`` carries on."""


class LedgerRefused(WalletError):
    """The contract refused a message; its error, with its arguments, is in the text."""


class UnknownName(WalletError):
    """No member, provider, record or consent of this name, or more than one."""


class InvalidTerms(WalletError):
    """Terms of a consent that nobody can mean, or that the ledger cannot hold."""


class NothingToDo(WalletError):
    """The wish is fulfilled already, or concerns nothing that there is."""


class UnfinishedOperation(WalletError):
    """An earlier operation on the same pseudonym has not ended: resume first."""


class WalletBehind(WalletError):
    """The ledger has a keyring that this wallet does not hold: another copy of it went on, or a backup was old."""


class RecordInvalid(WalletError):
    """A record does not open, or is not what the ledger and its author's signature say it is."""


class RecordNeedsFile(WalletError):
    """A record is too large for memory: name a file to save it in.

    Attributes:
        media_type: What its author says that it is.
        content_bytes: Its size.
    """

    def __init__(self, media_type: str, content_bytes: int) -> None:
        super().__init__(
            f"this record is a file of {content_bytes} bytes ({media_type}): name a file to save it in"
        )
        self.media_type = media_type
        self.content_bytes = content_bytes


class RecoveryError(WalletError):
    """A backup cannot be found, opened or trusted."""
