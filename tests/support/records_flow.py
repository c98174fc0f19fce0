"""Publishing, granting and reading over a running consortium, the way that an EMR, a wallet and staff do it."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from node_fixtures import Member, Network, TestPatient

from crypto.grant import GrantScope, make_grant_bundle
from ledger.messages import NO_RECORD, Grant, Revocation, consent_id
from vocabulary import LAST_DAY, Category, Purpose, category_mask, purpose_mask
from wire.patients import GrantDelivery
from wire.staff import Publication, ReadRequest, ReadResponse

SYSTEM = "urn:oid:1.2.3"
_nonces = iter(range(1, 2**31))


def observation(value: float, day: str = "2024-03-02", **extra: Any) -> dict[str, Any]:
    """A laboratory result."""
    return {
        "resourceType": "Observation",
        "id": f"observation-{next(_nonces)}",
        "status": "final",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": "laboratory",
                    }
                ]
            }
        ],
        "code": {"coding": [{"system": "http://loinc.org", "code": "4548-4", "display": "Hemoglobin A1c"}]},
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": day,
        "valueQuantity": {"value": value, "unit": "%"},
    } | extra


def condition(text: str = "Asthma") -> dict[str, Any]:
    """A problem, of another category than ``observation``."""
    return {
        "resourceType": "Condition",
        "id": f"condition-{next(_nonces)}",
        "subject": {"reference": "Patient/p"},
        "code": {"text": text},
        "onsetDateTime": "2023-01-05",
    }


def bundle(number: str, *resources: dict[str, Any]) -> bytes:
    """A FHIR bundle of the patient with a medical record number."""
    patient = {
        "resourceType": "Patient",
        "id": "p",
        "identifier": [{"system": SYSTEM, "value": number}],
        "name": [{"family": "Hwang-Sensitive", "given": ["Jini"]}],
    }
    entries = [
        {"fullUrl": f"http://emr.example/{each['resourceType']}/{each['id']}", "resource": each}
        for each in (patient, *resources)
    ]
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()


def files_of(directory: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below the directory of a running node; what it renames meanwhile is looked for again."""
    while True:
        try:
            yield from [(path, path.read_bytes()) for path in directory.rglob("*") if path.is_file()]
            return
        except FileNotFoundError:
            continue


@dataclass
class Case:
    """A registered patient with its medical record number at a provider."""

    network: Network
    provider: Member
    patient: TestPatient
    number: str

    @classmethod
    def begin(cls, network: Network, provider: Member | None = None) -> "Case":
        provider = provider or network.members[0]
        number = f"MRN-{next(_nonces)}-{id(network)}"
        return cls(network, provider, network.register(provider, ((SYSTEM, number),)), number)

    @property
    def about(self) -> tuple[str, str]:
        """The identifier under which the provider knows the patient."""
        return SYSTEM, self.number

    def post_bundle(self, content: bytes) -> httpx.Response:
        return self.provider.call("POST", "/staff/publications", content, staff=True, about=self.about)

    def publish(self, *resources: dict[str, Any]) -> Publication:
        """A publication that is final on the ledger and seen by all nodes.

        A busy machine may be too slow for the patience of one request: then the node goes on by itself.
        """
        answer = self.post_bundle(bundle(self.number, *(resources or (observation(5.4),))))
        assert answer.status_code == 200, answer.text
        publication = Publication.model_validate_json(answer.content)
        path, deadline = f"/staff/publications/{publication.publication_id}", time.monotonic() + 90
        while publication.state not in ("published", "abandoned"):
            assert time.monotonic() < deadline, publication
            time.sleep(0.1)
            answer = self.provider.call("GET", path, staff=True)
            publication = Publication.model_validate_json(answer.content)
        self.network.wait_for_all()
        return publication

    def grant(
        self, grantee: Member, *, record_id: bytes = NO_RECORD, deliver: bool = True, **changes: Any
    ) -> Grant:
        """A consent on the ledger and, with ``deliver``, its keys at the grantee's node."""
        now = self.network.now()
        terms = Grant(
            **{
                "patient": self.patient.address,
                "grantee": grantee.address,
                "record_id": record_id,
                "categories": category_mask(Category),
                "purposes": purpose_mask([Purpose.TREAT, Purpose.HOPERAT]),
                "valid_from": 0,
                "valid_until": now + 86_400,
                "data_from": 0,
                "data_until": LAST_DAY,
                "max_uses": 0,
                "flags": 0,
                "nonce": next(_nonces),
                "deadline": now + 600,
            }
            | changes
        )
        response = self.network.relay(self.provider, self.patient, terms)
        assert response.outcomes[0].final, response
        if deliver:
            self.deliver(grantee, terms)
        return terms

    def deliver(self, grantee: Member, terms: Grant) -> None:
        scope = self.network.deployment.scope
        keyring = self.patient.keyring
        named = consent_id(scope, terms.patient, terms.grantee, terms.record_id, terms.nonce)
        secrets = [one for category in Category for one in keyring.category_secrets(category)]
        made = make_grant_bundle(
            self.patient.account,
            GrantScope(scope.chain_id, scope.contract, terms.patient, named, terms.grantee, keyring.epoch),
            grantee.node.identity.current_encryption_key.public,
            category_secrets=secrets,
        )
        delivery = GrantDelivery(bundle=made.to_bytes(), introduction="Jini, born in spring")
        answer = grantee.call("POST", "/grants", delivery, key=self.patient.key)
        assert answer.status_code == 200, answer.text

    def revoke(self, terms: Grant) -> None:
        message = Revocation(terms.patient, terms.grantee, terms.record_id, terms.nonce)
        self.network.relay(self.provider, self.patient, message)

    def ask(self, reader: Member, **fields: Any) -> httpx.Response:
        request = ReadRequest(**{"patient": self.patient.address, "purpose": Purpose.TREAT} | fields)
        return reader.call("POST", "/staff/reads", request, staff=True)

    def read(self, reader: Member, **fields: Any) -> ReadResponse:
        answer = self.ask(reader, **fields)
        assert answer.status_code == 200, answer.text
        return ReadResponse.model_validate_json(answer.content)
