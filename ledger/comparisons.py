"""What verification compares: each thing that the contract's views tell, with the same thing as the events tell it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ledger import words
from ledger.addresses import ZERO_ADDRESS, to_text
from ledger.chain import BlockId
from ledger.contract import MemberKeyDigests
from ledger.heads import head_count
from ledger.state import LedgerState
from ledger.words import Difference, WordLayout, first_difference

NO_DIGEST = bytes(32)
_KEY_PARTS = ("encryption key's SHA-256", "transport key", "digest of name and endpoint")


class Views(Protocol):
    """The contract's views at a block, as ``ledger.contract.ConsentLedger`` has them."""

    def administrator(self, block: BlockId = None) -> bytes: ...
    def minimum_threshold(self, block: BlockId = None) -> int: ...
    def successor(self, block: BlockId = None) -> bytes: ...
    def member_words(self, members: Sequence[bytes], block: BlockId = None) -> list[int]: ...
    def member_key_digests(self, member: bytes, block: BlockId = None) -> MemberKeyDigests: ...
    def patient_words(self, patients: Sequence[bytes], block: BlockId = None) -> list[int]: ...
    def keyring_digests(self, patients: Sequence[bytes], block: BlockId = None) -> list[bytes]: ...
    def record_words(self, record_ids: Sequence[bytes], block: BlockId = None) -> list[int]: ...
    def author_words(self, authors: Sequence[bytes], block: BlockId = None) -> list[int]: ...
    def consent_words(self, consent_ids: Sequence[bytes], block: BlockId = None) -> list[int]: ...
    def access_words(self, patients: Sequence[bytes], block: BlockId = None) -> list[int]: ...


@dataclass(frozen=True)
class Comparison:
    """One kind of thing in one view.

    Attributes:
        step: The step of verification that it belongs to.
        name: What to call the thing of a key.
        keys: The things that the events know of.
        replayed: A thing's value by the events, also in a state that does not know it (yet).
        ask: The values by the contract's view, in the order of the keys.
        difference: Where two unequal values differ first.
    """

    step: int
    name: Callable[[bytes], str]
    keys: Sequence[bytes]
    replayed: Callable[[LedgerState, bytes], Any]
    ask: Callable[[Sequence[bytes], BlockId], Sequence[Any]]
    difference: Callable[[Any, Any], Difference]


def comparisons(state: LedgerState, views: Views) -> Iterator[Comparison]:
    """Everything to compare for a state, in the order of the steps (``ledger.verify``)."""
    yield from _terms(views)
    yield from _members(state, views)
    yield from _patients(state, views)
    yield _words(7, "record", _id_text, list(state.records), _record_word, views.record_words, words.RECORD)
    consents = list(state.consents)
    yield _words(8, "consent", _id_text, consents, _consent_word, views.consent_words, words.CONSENT)
    patients, authors = list(state.patients), list(dict.fromkeys([*state.members, *state.author_words]))
    head = words.CHAIN_HEAD
    yield _words(9, "access chain of patient", to_text, patients, _access_word, views.access_words, head)
    yield _words(10, "publication chain of author", to_text, authors, _author_word, views.author_words, head)


def _terms(views: Views) -> Iterator[Comparison]:
    """The contract's own: one value each, so that the key says nothing."""
    only = [b""]

    def term(name: str, replayed: Callable[[LedgerState], Any], ask: Callable[[BlockId], Any]) -> Comparison:
        return Comparison(
            4,
            lambda _key: "contract",
            only,
            lambda state, _key: replayed(state),
            lambda _keys, block: [ask(block)],
            lambda ours, theirs: Difference(name, _text(ours), _text(theirs)),
        )

    yield term("administrator", lambda state: state.administrator or ZERO_ADDRESS, views.administrator)
    yield term("minimum threshold", lambda state: state.minimum_threshold, views.minimum_threshold)
    yield term("successor", lambda state: state.successor or ZERO_ADDRESS, views.successor)


def _members(state: LedgerState, views: Views) -> Iterator[Comparison]:
    members = list(state.members)
    yield _words(5, "member", to_text, members, _member_word, views.member_words, words.MEMBER)

    def ask(keys: Sequence[bytes], block: BlockId) -> list[tuple[bytes, ...]]:
        found = [views.member_key_digests(key, block) for key in keys]
        return [(one.encryption_key_digest, one.transport_key, one.profile_digest) for one in found]

    yield Comparison(5, lambda key: f"member {to_text(key)}", members, _member_keys, ask, _key_difference)


def _patients(state: LedgerState, views: Views) -> Iterator[Comparison]:
    patients = list(state.patients)
    yield _words(6, "patient", to_text, patients, _patient_word, views.patient_words, words.PATIENT)

    def difference(ours: bytes, theirs: bytes) -> Difference:
        return Difference("keyring digest", _text(ours), _text(theirs))

    yield Comparison(
        6,
        lambda key: f"patient {to_text(key)}",
        patients,
        _keyring_digest,
        views.keyring_digests,
        difference,
    )


def _words(
    step: int,
    noun: str,
    text: Callable[[bytes], str],
    keys: Sequence[bytes],
    replayed: Callable[[LedgerState, bytes], int],
    ask: Callable[[Sequence[bytes], BlockId], Sequence[int]],
    layout: WordLayout,
) -> Comparison:
    def difference(ours: int, theirs: int) -> Difference:
        found = first_difference(layout, ours, theirs)
        assert found is not None
        return found

    return Comparison(step, lambda key: f"{noun} {text(key)}", keys, replayed, ask, difference)


def _member_word(state: LedgerState, key: bytes) -> int:
    member = state.members.get(key)
    return member.word if member is not None else 0


def _member_keys(state: LedgerState, key: bytes) -> tuple[bytes, ...]:
    member = state.members.get(key)
    if member is None or not member.keys:
        return (NO_DIGEST, NO_DIGEST, NO_DIGEST)
    keys = member.current_keys
    return (keys.encryption_key_digest, keys.transport_key, keys.profile_digest)


def _key_difference(ours: tuple[bytes, ...], theirs: tuple[bytes, ...]) -> Difference:
    parts = zip(_KEY_PARTS, ours, theirs, strict=True)
    return next(Difference(name, _text(a), _text(b)) for name, a, b in parts if a != b)


def _patient_word(state: LedgerState, key: bytes) -> int:
    patient = state.patients.get(key)
    return patient.word if patient is not None else 0


def _keyring_digest(state: LedgerState, key: bytes) -> bytes:
    patient = state.patients.get(key)
    return patient.keyring_digest if patient is not None else NO_DIGEST


def _record_word(state: LedgerState, key: bytes) -> int:
    record = state.records.get(key)
    return record.word if record is not None else 0


def _consent_word(state: LedgerState, key: bytes) -> int:
    consent = state.consents.get(key)
    return consent.word if consent is not None else 0


def _access_word(state: LedgerState, key: bytes) -> int:
    return state.access_words.get(key, 0)


def _author_word(state: LedgerState, key: bytes) -> int:
    return state.author_words.get(key, 0)


def _id_text(key: bytes) -> str:
    return "0x" + key.hex()


def _text(value: bytes | int) -> str:
    if isinstance(value, int):
        return str(value)
    return to_text(value) if len(value) == 20 else "0x" + value.hex()


def decisions_in(state: LedgerState) -> int:
    """How many decisions the patients' access chains count."""
    return sum(head_count(word) for word in state.access_words.values())
