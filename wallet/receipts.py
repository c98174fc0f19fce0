"""The receipt of a revocation: what may have been read before it. Revocation cannot unread."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vocabulary import Category, Purpose, Reason
from wallet.agreement import ask_all
from wallet.directory import Directory
from wallet.errors import NodeError, TooFewNodes
from wallet.overview import ConsentSummary, find_summary
from wallet.session import Session
from wire.ledger import BlockReference
from wire.patients import HistoryView, ReleaseView


@dataclass(frozen=True, slots=True)
class PermitEvidence:
    """A permitted access: the record may have been read. Releases say that custodians handed shares out."""

    record_id: bytes
    category: Category | None
    sequence: int
    requester_name: str
    time: int
    """Seconds since 1970, chain time."""
    purpose: Purpose
    releases: tuple[tuple[str, int], ...]
    """Name of each custodian that is known to have released its share, and when. None is no proof of no reading."""


@dataclass(frozen=True, slots=True)
class RevocationReceipt:
    """What a patient keeps of a revocation."""

    consent: ConsentSummary
    as_of: BlockReference
    """The final block at which two nodes report the consent as revoked."""
    confirmed_by: tuple[str, ...]
    permits: tuple[PermitEvidence, ...]
    """Everything permitted under the consent, the oldest first."""
    epoch: int | None = None
    """The keyring's epoch from now on; None when nothing was rotated."""
    rotated: tuple[Category, ...] = ()
    staying: tuple[str, ...] = ()
    undelivered: tuple[str, ...] = ()
    """Those who stay and have not got the new secrets yet: they cannot read new records until a resume delivers."""
    keyring_nodes: tuple[str, ...] = ()
    keyring_detail: str = ""
    """Why no new keys were made though they should, or why two nodes do not have the new keyring yet; else empty."""
    history_detail: str = ""
    """Why it is not known what was permitted, ``permits`` being empty then; ask for the receipt later. Else empty."""


def node_histories(session: Session, patient: bytes) -> list[tuple[bytes, HistoryView]]:
    """Each answering node's member and view: releases and own reads are known to the node that served them only."""
    key, clients = session.request_key(patient), session.nodes(patient)
    answers = zip(clients, ask_all(clients, lambda node: node.history(key)), strict=True)
    return [(client.member, answer) for client, answer in answers if not isinstance(answer, NodeError)]


def releases_by_sequence(
    histories: Sequence[tuple[bytes, HistoryView]], patient: bytes, directory: Directory
) -> Mapping[int, tuple[tuple[str, int], ...]]:
    """Releases by access sequence, joined from all nodes; a node vouches for no custodian but its own member."""
    found: dict[int, dict[bytes, ReleaseView]] = defaultdict(dict)
    for member, view in histories:
        for release in view.releases:
            if release.patient == patient and release.custodian == member:
                found[release.sequence].setdefault(release.custodian, release)
    return {
        sequence: tuple(
            sorted((directory.name_of(custodian), release.time) for custodian, release in releases.items())
        )
        for sequence, releases in found.items()
    }


def build_receipt(session: Session, consent_id: bytes, directory: Directory) -> RevocationReceipt:
    """The receipt of a revoked consent, from what two nodes agree on; it can be made again at any time.

    Raises:
        UnknownName: this wallet has no such consent.
        TooFewNodes, NodesDisagree: see ``wallet.agreement``.
    """
    summary = find_summary(session, consent_id)
    history = session.history(summary.patient)
    categories = {record.record_id: record.category for record in session.records(summary.patient).records}
    return RevocationReceipt(
        consent=summary,
        as_of=history.view.final,
        confirmed_by=history.nodes,
        permits=_permits(
            history.view,
            consent_id,
            categories,
            releases_by_sequence(node_histories(session, summary.patient), summary.patient, directory),
            directory,
        ),
    )


def receipt_in_any_case(session: Session, consent_id: bytes, directory: Directory) -> RevocationReceipt:
    """As ``build_receipt``, without the permits if the history cannot be had.

    Any member can make a patient's history longer than a wallet takes, by asking and being denied; that must not hide
    that the revocation is final.
    """
    try:
        return build_receipt(session, consent_id, directory)
    except TooFewNodes as error:
        summary = find_summary(session, consent_id)
        agreed = session.agreed_consents(summary.patient)
        return RevocationReceipt(
            consent=summary,
            as_of=agreed.view.final,
            confirmed_by=agreed.nodes,
            permits=(),
            history_detail=str(error),
        )


def _permits(
    history: HistoryView,
    consent_id: bytes,
    categories: Mapping[bytes, Category],
    releases: Mapping[int, tuple[tuple[str, int], ...]],
    directory: Directory,
) -> tuple[PermitEvidence, ...]:
    return tuple(
        PermitEvidence(
            record_id=access.record_id,
            category=categories.get(access.record_id),
            sequence=access.sequence,
            requester_name=directory.name_of(access.requester),
            time=access.time,
            purpose=access.purpose,
            releases=releases.get(access.sequence, ()),
        )
        for access in sorted(history.accesses, key=lambda item: item.sequence)
        if access.consent_id == consent_id and access.reason is Reason.PERMITTED
    )
