#!/usr/bin/env python3
"""Grants, publications and accesses a second through a node, single and batched: on validators and on Anvil in one run.

The reference of each engine is the ledger room's Sender with the same account and no node: one call at a time, each
waited for. ``finality`` is how long one such call takes to be final when nothing else is going on.

On validators a client waits for a block most of the time: more clients tell what the processor allows.

usage: throughput.py [--seconds 6] [--clients 8] [engine ...]
"""

import argparse
import itertools
import json
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import quantiles

from consortium import NodeProcess, as_processes, consortium, milliseconds, show
from node_fixtures import Network, TestPatient
from records_flow import Case, bundle, observation

from crypto.signer import AccountKey
from ledger import calls
from ledger.engine import ENGINES, Engine
from ledger.messages import NO_RECORD, AccessRequest, Grant, Publication, sign
from ledger.outbox import MemoryOutbox
from ledger.sender import Sender
from vocabulary import LAST_DAY, Category, Purpose
from wire.limits import MESSAGES_PER_RELAY
from wire.patients import RelayRequest
from wire.signing import sign_request

_parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
_parser.add_argument("--seconds", type=float, default=6.0, help="of each figure")
_parser.add_argument(
    "--clients", type=int, default=8, help="a quarter of them send batches of grants or accesses"
)
_parser.add_argument("engines", nargs="*", choices=ENGINES, default=list(ENGINES))
_chosen = _parser.parse_args()
SECONDS: float = _chosen.seconds
CLIENTS: int = _chosen.clients
CHOSEN = [ENGINES[name] for name in _chosen.engines]
RECORDS = 200
FINALITY_ROUNDS = 20


def rate(action: Callable[[], int], clients: int) -> float:
    """How many things a second ``action`` gets done, in ``clients`` threads for ``SECONDS``."""
    end = time.perf_counter() + SECONDS

    def work() -> int:
        done = 0
        while time.perf_counter() < end:
            done += action()
        return done

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        done = sum(future.result() for future in [pool.submit(work) for _ in range(clients)])
    return round(done / (time.perf_counter() - start), 1)


def terms(network: Network, patient: bytes, grantee: bytes) -> Grant:
    now = network.now()
    return Grant(
        patient=patient,
        grantee=grantee,
        record_id=NO_RECORD,
        categories=Category.LABORATORY.bit,
        purposes=Purpose.TREAT.bit,
        valid_from=0,
        valid_until=now + 86_400,
        data_from=0,
        data_until=LAST_DAY,
        max_uses=0,
        flags=0,
        nonce=secrets.randbits(64),
        deadline=now + 1800,
    )


def publish_records(network: Network, patient: bytes) -> list[bytes]:
    """Records whose content nobody needs: only decisions are asked for."""
    node = network.members[0].node
    deadline = network.now() + 3000
    publications = [
        Publication(
            patient=patient,
            category=Category.LABORATORY,
            start_day=0,
            end_day=LAST_DAY,
            epoch=1,
            nonce=secrets.randbits(63),
            deadline=deadline,
            cid_codec=0x55,
            cid_digest=secrets.token_bytes(32),
            header_digest=secrets.token_bytes(32),
            payload_commitment=secrets.token_bytes(32),
        )
        for _ in range(RECORDS)
    ]
    for start in range(0, RECORDS, 20):
        node.sender.send(network.deployment.address, calls.publish_batch(publications[start : start + 20]))
    network.wait_for_all()
    state = node.ledger.snapshot().state
    return [key for key, record in state.records.items() if record.patient == patient]


@dataclass
class Load:
    """What clients do through the nodes of one consortium."""

    network: Network
    patient: TestPatient
    grantee: bytes
    records: list[bytes]
    cases: Iterator[Case]
    provider: NodeProcess
    node: NodeProcess

    def relay(self, count: int) -> int:
        """Grants, in one request."""
        messages = tuple(
            self.network.signed(self.patient, terms(self.network, self.patient.address, self.grantee))
            for _ in range(count)
        )
        body = RelayRequest(messages=messages).model_dump_json().encode()
        headers = sign_request("POST", "/relay", body, self.grantee, self.patient.key)
        answer = self.node.http.post(self.node.url + "/relay", content=body, headers=headers)
        answer.raise_for_status()
        assert all(outcome["final"] for outcome in answer.json()["outcomes"])
        return count

    def ask(self, some: list[bytes]) -> int:
        """Accesses, in one request."""
        request = {
            "patient": "0x" + self.patient.address.hex(),
            "record_ids": ["0x" + one.hex() for one in some],
            "purpose": "TREAT",
            "decide_only": True,
        }
        answer = self.node.post("/staff/reads", json.dumps(request).encode()).json()
        assert all(record["reason"] == "PERMITTED" for record in answer["records"])
        return len(some)

    def publish(self, records: int) -> int:
        """A bundle with a result a year, each of which becomes a record; all in one transaction."""
        case = next(self.cases)
        results = [observation(secrets.randbelow(10**9) / 1e8, f"{2024 - n}-03-02") for n in range(records)]
        answer = self.provider.post("/staff/publications", bundle(case.number, *results), case.about).json()
        assert (answer["state"], len(answer["records"])) == ("published", records), answer
        return records


def measure(engine: Engine) -> dict[str, object]:
    """The figures of one engine."""
    with consortium(engine) as (network, case, reader):
        contract = network.deployment.address
        records = publish_records(network, case.patient.address)
        nonce = case.grant(reader, deliver=False).nonce
        account = AccountKey(reader.node.identity.account.secret)
        cases = itertools.cycle([Case.begin(network) for _ in range(CLIENTS)])
        with as_processes(network) as nodes:
            load = Load(network, case.patient, reader.address, records, cases, nodes[0], nodes[1])
            figures: dict[str, object] = {
                "grants_single": rate(lambda: load.relay(1), CLIENTS),
                "grants_batched": rate(lambda: load.relay(MESSAGES_PER_RELAY), CLIENTS // 4),
                "publications_single": rate(lambda: load.publish(1), CLIENTS),
                "publications_batched": rate(lambda: load.publish(20), CLIENTS),
                "accesses_single": rate(lambda: load.ask(records[:1]), CLIENTS),
                "accesses_batched": rate(lambda: load.ask(records), CLIENTS // 4),
            }
        sender = Sender(network.chain, account.address, account.sign_digest, MemoryOutbox())

        def grant_directly() -> int:
            grant = terms(network, case.patient.address, reader.address)
            signature = sign(network.deployment.scope, grant, case.patient.account.sign_digest)
            sender.send(contract, calls.grant(grant, signature))
            return 1

        def access_directly() -> int:
            request = AccessRequest(
                records[0], nonce, False, Purpose.TREAT, secrets.token_bytes(32), secrets.token_bytes(32)
            )
            sender.send(contract, calls.request_access(request))
            return 1

        figures["reference_grants_single"] = rate(grant_directly, CLIENTS)
        figures["reference_accesses_single"] = rate(access_directly, CLIENTS)
        figures["finality_ms"] = finality(grant_directly)
    return figures


def finality(send: Callable[[], int]) -> dict[str, float]:
    """How long one call takes from sending until it is final, alone on the chain."""
    seconds = []
    for _ in range(FINALITY_ROUNDS):
        start = time.perf_counter()
        send()
        seconds.append(time.perf_counter() - start)
    hundredths = quantiles(seconds, n=100, method="inclusive")
    return {f"p{n}": milliseconds(hundredths[n - 1]) for n in (50, 90, 99)}


def main() -> None:
    show({"clients": CLIENTS, "per_second": {engine.name: measure(engine) for engine in CHOSEN}})


if __name__ == "__main__":
    main()
