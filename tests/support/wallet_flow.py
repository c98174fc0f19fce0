"""A person with a wallet in a running consortium: registering, being published for, read by others."""

import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node_fixtures import Member, Network
from records_flow import SYSTEM, bundle, observation
from wallet_parts import CHEAP

from vocabulary import Category, Purpose
from wallet import GrantWish, Wallet
from wallet.content import Relationship
from wire.staff import ConsentedPatient, Publication, ReadRequest, ReadResponse

PASSPHRASE = "correct horse battery staple"
_numbers = itertools.count(1)


@dataclass
class Person:
    """Somebody with a wallet; ``numbers`` are their medical record numbers by provider's name."""

    network: Network
    wallet: Wallet
    path: Path
    phrase: Any
    numbers: dict[str, str] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)

    @classmethod
    def begin(
        cls, network: Network, directory: Path, providers: int = 1, urls: list[str] | None = None
    ) -> "Person":
        """A new wallet, registered with the first ``providers`` members; it first meets ``urls``, or two of them."""
        steps: list[str] = []
        path = directory / f"wallet-{next(_numbers)}" / "vault"
        met = urls or [member.url for member in network.members[:2]]
        wallet, phrase = Wallet.create(path, PASSPHRASE, met, cost=CHEAP, progress=steps.append)
        person = cls(network, wallet, path, phrase, steps=steps)
        for provider in network.members[:providers]:
            person.register(provider)
        return person

    def register(self, provider: Member) -> Relationship:
        """Registers with a provider, whose staff confirm the code."""
        ticket = self.wallet.request_registration(provider.name)
        number = f"MRN-{next(_numbers)}-{ticket.patient.hex()[:6]}"
        approval = {"code": ticket.code, "identifiers": [{"system": SYSTEM, "value": number}]}
        answer = provider.call("POST", "/staff/registrations", json.dumps(approval).encode(), staff=True)
        assert answer.status_code == 200, answer.text
        self.network.wait_for_all()
        self.numbers[provider.name] = number
        (relationship,) = self.wallet.complete_registrations()
        return relationship

    def reopen(self) -> None:
        """Closes the wallet and opens it again from its file."""
        self.wallet.close()
        self.wallet = Wallet.open(self.path, PASSPHRASE, cost=CHEAP, progress=self.steps.append)

    def publish(self, provider: Member, *resources: dict[str, Any]) -> tuple[bytes, ...]:
        """The provider publishes for this person; returns the record ids."""
        number = self.numbers[provider.name]
        content = bundle(number, *(resources or (observation(5.4),)))
        answer = provider.call("POST", "/staff/publications", content, staff=True, about=(SYSTEM, number))
        assert answer.status_code == 200, answer.text
        self.network.wait_for_all()
        publication = Publication.model_validate_json(answer.content)
        return tuple(record.record_id for record in publication.records)

    def grant(self, grantee: Member, *categories: Category, **changes: Any) -> bytes:
        """Grants treatment for a day, final and delivered; returns the (only) consent's id."""
        fields: dict[str, Any] = {
            "grantees": (grantee.name,),
            "purposes": (Purpose.TREAT,),
            "valid_days": 1,
            "categories": categories,
            "introduction": "Jini, born in spring",
        }
        outcome = self.wallet.grant(self.wallet.preview_grant(GrantWish(**{**fields, **changes})))
        (granted,) = outcome.consents
        assert granted.final, granted.detail
        assert granted.delivered, granted.detail
        assert not outcome.backup_detail
        self.network.wait_for_all()
        return granted.consent_id

    def read_by(self, reader: Member, patient: bytes, *record_ids: bytes) -> ReadResponse:
        """What a member's staff get for records of one of this person's pseudonyms."""
        request = ReadRequest(
            patient=patient,
            purpose=Purpose.TREAT,
            record_ids=record_ids,
            categories=() if record_ids else tuple(Category),
        )
        answer = reader.call("POST", "/staff/reads", request, staff=True)
        assert answer.status_code == 200, answer.text
        self.network.wait_for_all()
        return ReadResponse.model_validate_json(answer.content)


def consented(member: Member) -> list[ConsentedPatient]:
    """The patients who granted a member something, as its staff see them."""
    answer = member.call("GET", "/staff/consents", staff=True)
    assert answer.status_code == 200, answer.text
    return [ConsentedPatient.model_validate(item) for item in json.loads(answer.content)]
