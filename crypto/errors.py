"""What can go wrong in this package, one class for each thing that a caller can do about it."""


class CryptoError(Exception):
    """Root of every error that this package raises."""


class FormatError(CryptoError):
    """Bytes or values that are not what the format says: refuse them."""


class OpenError(CryptoError):
    """A sealed thing does not open: another key, another binding, or altered bytes. Which one cannot be told."""


class DigestMismatchError(CryptoError):
    """Bytes that are not those that a digest names: fetch them elsewhere."""


class SignatureError(CryptoError):
    """A signature that is malformed, or not by the expected account."""


class HeaderError(CryptoError):
    """A well-formed header that the network's rules refuse."""


class EpochError(CryptoError):
    """No key is in force at that epoch, or no epoch is left."""


class WrongShareError(CryptoError):
    """Shares that are not those that the header committed to.

    Attributes:
        wrong: pairs of share index (1..n) and the 20-byte address of the custodian who gave it.
    """

    def __init__(self, wrong: tuple[tuple[int, bytes], ...]) -> None:
        self.wrong = wrong
        named = ", ".join(f"share {index} of custodian 0x{custodian.hex()}" for index, custodian in wrong)
        super().__init__(
            f"expected the shares that the header commits to; came others: {named}. "
            "Leave these out and ask other custodians"
        )


class KeyfileError(CryptoError):
    """A file of secrets that cannot be trusted or used: its permissions, kind, size or content."""


class PassphraseError(KeyfileError):
    """The passphrase does not open the file, or the file was altered."""


class RecoveryPhraseError(CryptoError):
    """Words that are not a recovery phrase; the message says which word, never what it was."""
