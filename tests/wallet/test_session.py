"""Whom a wallet asks: the provider who knows the pseudonym, and not always the same others."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from wallet_parts import CHEAP, member, relationship, vault_content

from wallet.content import KnownNode, RelationshipStatus, VaultContent
from wallet.errors import UnknownName
from wallet.journal import DeliveryEntry, KeyringEntry
from wallet.session import Session
from wallet.store import VaultStore
from wallet.transport import new_http_client

MEMBERS = [member(name) for name in ("Seoul Hospital", "Busan Hospital", "Clinic", "Institute", "Insurer")]


def content_with(providers: list[int]) -> VaultContent:
    content = vault_content()
    nodes = tuple(KnownNode(url=item.endpoint, member=item.address, name=item.name) for item in MEMBERS)
    relationships = tuple(
        relationship(content.seed, index, MEMBERS[provider]) for index, provider in enumerate(providers)
    )
    return content.replaced(nodes=nodes, relationships=relationships)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    store = VaultStore.create(tmp_path / "vault", "p", content_with([1, 2, 1]), CHEAP)
    opened = Session(store, new_http_client(), lambda step: None)
    yield opened
    opened.close()


def test_nodes_for_a_pseudonym_begin_with_its_provider_and_spread_the_second(session: Session) -> None:
    orders = [
        [client.name for client in session.nodes(entry.patient)] for entry in session.content.relationships
    ]
    assert [order[0] for order in orders] == ["Busan Hospital", "Clinic", "Busan Hospital"]
    assert len({order[1] for order in orders}) == 3
    assert all(sorted(order) == sorted(item.name for item in MEMBERS) for order in orders)


def test_find_relationship_with_two_pseudonyms_at_one_provider_asks_for_the_pseudonym(
    session: Session,
) -> None:
    first, second, third = session.content.relationships
    assert session.find_relationship("clinic") == second
    assert session.find_relationship("0x" + third.patient.hex()) == third
    with pytest.raises(UnknownName, match="several pseudonyms"):
        session.find_relationship("Busan Hospital")
    frozen = first.model_copy(update={"status": RelationshipStatus.FROZEN})
    session.save(session.content.with_relationship(frozen))
    assert session.find_relationship("Busan  hospital") == third
    with pytest.raises(UnknownName, match="There are"):
        session.find_relationship("Nowhere")


def test_journal_entries_are_kept_once_and_replaced_in_place(session: Session) -> None:
    patient = session.content.relationships[0].patient
    first = DeliveryEntry(patient=patient, consent_id=bytes(32))
    second = KeyringEntry(patient=patient)
    session.journal(first, second, first)
    assert session.content.journal == (first, second)
    third = DeliveryEntry(patient=patient, consent_id=b"3" * 32)
    session.replace_entry(first, third, second)
    assert session.content.journal == (third, second)
    session.replace_entry(second)
    assert session.content.journal == (third,)
