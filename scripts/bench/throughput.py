#!/usr/bin/env python3
"""Grants and accesses a second through one node, single and batched, against the same calls sent without a node.

The reference, in the same run: the ledger room's Sender with the same account, one call at a time, each waited for.
"""

import json
import secrets
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from consortium import NodeProcess, as_processes, consortium, show
from node_fixtures import Network

from crypto.signer import AccountKey
from ledger import calls
from ledger.messages import NO_RECORD, AccessRequest, Grant, Publication, sign
from ledger.outbox import MemoryOutbox
from ledger.sender import Sender
from vocabulary import LAST_DAY, Category, Purpose
from wire.limits import MESSAGES_PER_RELAY
from wire.patients import RelayRequest
from wire.signing import sign_request

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 6.0
CLIENTS = 8
RECORDS = 200


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


def main() -> None:
    with consortium() as (network, case, reader):
        scope, contract = network.deployment.scope, network.deployment.address
        patient, grantee = case.patient, reader.address
        records = publish_records(network, patient.address)
        nonce = case.grant(reader, deliver=False).nonce
        account = AccountKey(reader.node.identity.account.secret)
        with as_processes(network) as nodes:
            node = nodes[1]

            def relay(count: int) -> int:
                messages = tuple(
                    network.signed(patient, terms(network, patient.address, grantee)) for _ in range(count)
                )
                body = RelayRequest(messages=messages).model_dump_json().encode()
                headers = sign_request("POST", "/relay", body, grantee, patient.key)
                answer = node.http.post(node.url + "/relay", content=body, headers=headers)
                answer.raise_for_status()
                assert all(outcome["final"] for outcome in answer.json()["outcomes"])
                return count

            def ask(node: NodeProcess, some: list[bytes]) -> int:
                request = {
                    "patient": "0x" + patient.address.hex(),
                    "record_ids": ["0x" + one.hex() for one in some],
                    "purpose": "TREAT",
                    "decide_only": True,
                }
                answer = node.post("/staff/reads", json.dumps(request).encode()).json()
                assert all(record["reason"] == "PERMITTED" for record in answer["records"])
                return len(some)

            figures: dict[str, object] = {
                "clients": CLIENTS,
                "grants_per_second_single": rate(lambda: relay(1), CLIENTS),
                "grants_per_second_batched": rate(lambda: relay(MESSAGES_PER_RELAY), 2),
                "accesses_per_second_single": rate(lambda: ask(node, records[:1]), CLIENTS),
                "accesses_per_second_batched": rate(lambda: ask(node, records), 2),
            }
        sender = Sender(network.anvil.chain(), account.address, account.sign_digest, MemoryOutbox())

        def grant_directly() -> int:
            grant = terms(network, patient.address, grantee)
            signature = sign(scope, grant, patient.account.sign_digest)
            sender.send(contract, calls.grant(grant, signature))
            return 1

        def access_directly() -> int:
            request = AccessRequest(
                records[0], nonce, False, Purpose.TREAT, secrets.token_bytes(32), secrets.token_bytes(32)
            )
            sender.send(contract, calls.request_access(request))
            return 1

        figures["reference_grants_per_second_single"] = rate(grant_directly, CLIENTS)
        figures["reference_accesses_per_second_single"] = rate(access_directly, CLIENTS)
        show(figures)


if __name__ == "__main__":
    main()
