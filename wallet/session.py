"""An open wallet: its vault, and the nodes that it talks to. The operations are functions on it."""

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

import httpx

from crypto.signer import AccountKey
from ledger.messages import SignedMessage, sign, to_json
from wallet.agreement import Agreed, View, agree
from wallet.content import KnownNode, Relationship, RelationshipStatus, VaultContent
from wallet.directory import Directory, comparable_members
from wallet.errors import NodeAnswerInvalid, UnknownName
from wallet.journal import JournalEntry
from wallet.nodes import NodeClient
from wallet.store import VaultStore
from wire import patients as wire
from wire.ledger import MemberView
from wire.signing import RequestKey

_View = TypeVar("_View", bound=View)

Progress = Callable[[str], None]
"""Told the name of each step once it is done, such as ``backup stored``."""


class Session:
    """What every operation works on. Not for several threads."""

    def __init__(self, store: VaultStore, http: httpx.Client, progress: Progress) -> None:
        self._store, self._http = store, http
        self.progress = progress
        self._clients: dict[bytes, NodeClient] = {}

    # ---- the vault

    @property
    def content(self) -> VaultContent:
        """The vault's content as last saved."""
        return self._store.content

    def save(self, content: VaultContent) -> None:
        """Saves the content durably."""
        self._store.save(content)

    def journal(self, *entries: JournalEntry, content: VaultContent | None = None) -> None:
        """Saves ``content`` with entries added to the journal: before their effect."""
        base = content or self.content
        self.save(base.replaced(journal=_once((*base.journal, *entries))))

    def replace_entry(
        self, old: JournalEntry, *new: JournalEntry, content: VaultContent | None = None
    ) -> None:
        """Saves ``content`` with an entry replaced by others, or by none: it is done."""
        base = content or self.content
        journal: list[JournalEntry] = []
        for entry in base.journal:
            journal.extend(new if entry == old else (entry,))
        self.save(base.replaced(journal=_once(journal)))

    def close(self) -> None:
        """Ends connections and frees the vault."""
        self._http.close()
        self._store.close()

    # ---- keys

    def account(self, patient: bytes) -> AccountKey:
        """The account key of a pseudonym."""
        return self.content.account(patient)

    def request_key(self, patient: bytes) -> RequestKey:
        """What signs requests of a pseudonym."""
        return RequestKey.of_patient(self.account(patient))

    def signed(self, patient: bytes, message: SignedMessage) -> wire.SignedMessage:
        """A ledger message of a pseudonym, signed, as nodes take it."""
        signature = sign(self.content.scope, message, self.account(patient).sign_digest)
        return wire.SignedMessage(kind=type(message).__name__, message=to_json(message), signature=signature)

    # ---- nodes

    def nodes(self, patient: bytes | None = None) -> list[NodeClient]:
        """The nodes to ask for a pseudonym, in the order of asking, each checked to be of this wallet's ledger.

        The pseudonym's provider knows it already, so its node comes first. The others start at another place for
        each pseudonym: no node shall see more of one person's pseudonyms than need be.
        """
        known = list(self.content.nodes)
        if patient is not None:
            relationship = self.content.relationship(patient)
            turn = relationship.index % max(1, len(known))
            known = known[turn:] + known[:turn]
            known.sort(key=lambda node: node.member != relationship.provider)
        return [self._client(node) for node in known]

    def _client(self, node: KnownNode) -> NodeClient:
        client = self._clients.get(node.member)
        if client is None or (client.url, client.name) != (node.url.rstrip("/"), node.name):
            client = NodeClient(node.url, node.member, node.name, self._http, self.content.pin)
            self._clients[node.member] = client
        return client

    def node_of(self, member: MemberView) -> NodeClient:
        """The node of a member at the endpoint that the ledger names."""
        return self._client(_known(member))

    def directory(self) -> Directory:
        """The members as two nodes agree on them; the vault's list of nodes follows them.

        A node counts only if it was asked at the endpoint that the ledger names for its member: else one operator
        could say at two URLs to be two members.

        Raises:
            TooFewNodes, NodesDisagree: see ``wallet.agreement.agree``.
        """
        clients = self.nodes()
        while True:
            agreed = agree(clients, NodeClient.members, comparable_members, "the members")
            directory = Directory.of(agreed.view)
            wrong = {
                answer.member
                for answer in agreed.answers
                if not self._is_at_its_endpoint(answer.member, directory)
            }
            if not wrong:
                break
            clients = [client for client in clients if client.member not in wrong]
        nodes = tuple(_known(member) for member in directory.members if member.active)
        order = {node.member: position for position, node in enumerate(self.content.nodes)}
        nodes = tuple(sorted(nodes, key=lambda node: order.get(node.member, len(order))))
        if nodes != self.content.nodes:
            self.save(self.content.replaced(nodes=nodes))
        return directory

    def _is_at_its_endpoint(self, address: bytes, directory: Directory) -> bool:
        member = directory.by_address(address)
        client = self._clients[address]
        return member is not None and member.active and member.endpoint.rstrip("/") == client.url

    # ---- views that nodes agree on

    def agreed(
        self,
        patient: bytes,
        fetch: Callable[[NodeClient, RequestKey], _View],
        comparable: Callable[[_View], Hashable],
        what: str,
    ) -> Agreed[_View]:
        """What two nodes say alike of a pseudonym."""
        key = self.request_key(patient)
        return agree(self.nodes(patient), lambda client: fetch(client, key), comparable, what)

    def patient(self, patient: bytes) -> wire.PatientView:
        """A pseudonym's state on the ledger."""
        return self.agreed(patient, _registered_patient, _without_final, "the pseudonym's state").view

    def records(self, patient: bytes) -> wire.RecordsView:
        """A pseudonym's records, in the order of publication."""
        agreed = self.agreed(patient, NodeClient.records, _comparable_records, "the records")
        for record in agreed.view.records:
            _require_own(agreed.nodes[0], record.patient, patient)
        return agreed.view

    def consents(self, patient: bytes) -> wire.ConsentsView:
        """A pseudonym's consents."""
        return self.agreed_consents(patient).view

    def agreed_consents(self, patient: bytes) -> Agreed[wire.ConsentsView]:
        """A pseudonym's consents, and who agreed on them."""
        agreed = self.agreed(patient, NodeClient.consents, _comparable_consents, "the consents")
        for consent in agreed.view.consents:
            _require_own(agreed.nodes[0], consent.patient, patient)
        return agreed

    def history(self, patient: bytes) -> Agreed[wire.HistoryView]:
        """Decisions on a pseudonym's records; releases and own reads are each node's own knowledge."""
        agreed = self.agreed(patient, NodeClient.history, _comparable_accesses, "the access history")
        sequences = sorted(access.sequence for access in agreed.view.accesses)
        if sequences != list(range(1, len(sequences) + 1)):
            raise NodeAnswerInvalid(
                " and ".join(agreed.nodes),
                "expected every access from 1 on; some are left out or twice there",
            )
        for access in agreed.view.accesses:
            _require_own(agreed.nodes[0], access.patient, patient)
        return agreed

    # ---- relationships

    def registered(self) -> tuple[Relationship, ...]:
        """The relationships whose pseudonym is on the ledger."""
        return tuple(
            entry for entry in self.content.relationships if entry.status is not RelationshipStatus.REQUESTED
        )

    def find_relationship(self, text: str) -> Relationship:
        """The relationship of a provider's name or of a pseudonym's address.

        Raises:
            UnknownName: none, or several with one provider; give the pseudonym then.
        """
        wanted = " ".join(text.split()).casefold()
        found = [
            entry
            for entry in self.content.relationships
            if wanted in (" ".join(entry.provider_name.split()).casefold(), "0x" + entry.patient.hex())
        ]
        current = [entry for entry in found if entry.status is not RelationshipStatus.FROZEN] or found
        if len(current) == 1:
            return current[0]
        if current:
            pseudonyms = ", ".join("0x" + entry.patient.hex() for entry in current)
            raise UnknownName(f"several pseudonyms with {text!r}: give one of {pseudonyms}")
        known = ", ".join(entry.provider_name for entry in self.content.relationships) or "none yet"
        raise UnknownName(
            f"expected a provider of this wallet's relationships; came {text!r}. There are: {known}"
        )


def _once(entries: Iterable[JournalEntry]) -> tuple[JournalEntry, ...]:
    unique: list[JournalEntry] = []
    for entry in entries:
        if entry not in unique:
            unique.append(entry)
    return tuple(unique)


def _known(member: MemberView) -> KnownNode:
    return KnownNode(url=member.endpoint.rstrip("/"), member=member.address, name=member.name)


def _registered_patient(client: NodeClient, key: RequestKey) -> wire.PatientView:
    view = client.patient(key)
    if view is None:
        raise NodeAnswerInvalid(client.name, "the ledger there does not know this pseudonym")
    return view


def _require_own(node: str, came: bytes, patient: bytes) -> None:
    if came != patient:
        raise NodeAnswerInvalid(node, "expected what concerns the pseudonym that asked; came another's")


def _without_final(view: wire.PatientView) -> Hashable:
    return tuple(value for name, value in view if name != "final")


def _comparable_records(view: wire.RecordsView) -> Hashable:
    return tuple(sorted(view.records, key=lambda record: record.record_id))


def _comparable_consents(view: wire.ConsentsView) -> Hashable:
    return tuple(sorted(view.consents, key=lambda consent: consent.consent_id))


def _comparable_accesses(view: wire.HistoryView) -> Hashable:
    return tuple(sorted(view.accesses, key=lambda access: access.sequence))
