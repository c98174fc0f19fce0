"""The two hash chains on the ledger: each patient's accesses and each author's publications.

A head word is head224 << 32 | count32. Each link hashes the whole word before it, so that nothing can be taken out,
put in or altered without another head. The formulas are the contract's, "access head word" and "author head word".
"""

from eth_hash.auto import keccak

from ledger.events import LoggedAccess, RecordPublished
from ledger.messages import LedgerScope

COUNT_MASK = (1 << 32) - 1
ACCESS_HEAD_LABEL = keccak(b"phr/v1/access-head")


def head_count(word: int) -> int:
    """How many links a head word counts."""
    return word & COUNT_MASK


def first_access_word(scope: LedgerScope, patient: bytes) -> int:
    """The access head word of a patient (20 bytes) at registration: no access yet."""
    preimage = ACCESS_HEAD_LABEL + _word(scope.chain_id) + _address(scope.contract) + _address(patient)
    return _truncated(preimage)


def next_access_word(word: int, access: LoggedAccess) -> int:
    """The access head word after one decision."""
    made = access.access
    rest = access_digest(
        made.consent_id,
        access.requester,
        made.purpose,
        made.response_key_digest,
        made.person_commitment,
        made.time,
    )
    return linked_access_word(word, made.sequence, made.reason, access.record_id, rest)


def access_digest(
    consent_id: bytes,
    requester: bytes,
    purpose: int,
    response_key_digest: bytes,
    person_commitment: bytes,
    time: int,
) -> bytes:
    """What all decisions of one group have in common (32 bytes): the last part of each one's link."""
    common = consent_id + _address(requester) + _word(purpose)
    return keccak(common + response_key_digest + person_commitment + _word(time))


def linked_access_word(word: int, sequence: int, reason: int, record_id: bytes, digest: bytes) -> int:
    """The access head word after one decision whose group has the ``digest`` of :func:`access_digest`."""
    return _truncated(_word(word) + _word(sequence << 8 | reason) + record_id + digest) | head_count(word) + 1


def next_author_word(word: int, event: RecordPublished) -> int:
    """The author head word after one publication; 0 comes before an author's first."""
    made = event.publication
    link = _word(word) + event.record_id + made.header_digest + _word(made.cid_codec) + made.cid_digest
    return _truncated(link) | head_count(word) + 1


def _truncated(preimage: bytes) -> int:
    return int.from_bytes(keccak(preimage)[:28], "big") << 32


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _address(address: bytes) -> bytes:
    return address.rjust(32, b"\0")
