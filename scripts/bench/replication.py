#!/usr/bin/env python3
"""What it costs a custodian to look after its replicas when all is well: seconds a pass over all, and a turn.

The records' blocks lie in a real embedded store and their rows in a real database; nothing of a record is opened by
a check that finds it whole, so their contents are made up.

usage: replication.py [RECORDS]      default 10000
"""

import secrets
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from consortium import milliseconds, show
from custody_world import CustodyWorld
from sqlalchemy import insert

from node import replication
from node.peers import OwnCustodian, Peers
from node.replica_store import ReplicaState, ReplicaStore
from node.replication import Replication
from node.tables_custody import block_references, deposits

RECORDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000


def fill(world: CustodyWorld) -> None:
    """As many records of which this custodian holds all."""
    from dataclasses import replace

    sealed = world.seal()
    record = world.land(sealed)
    world.state.records.clear()
    rows, references = [], []
    for number in range(RECORDS):
        record_id, header_digest = secrets.token_bytes(32), secrets.token_bytes(32)
        cid = world.custodian.store.put(number.to_bytes(8, "big") * 1024)
        world.state.records[record_id] = replace(
            record,
            record_id=record_id,
            header_digest=header_digest,
            cid_codec=int(cid.codec),
            cid_digest=cid.digest,
        )
        rows.append(
            {
                "record_id": record_id,
                "header_digest": header_digest,
                "patient": world.patient,
                "author": record.author,
                "share_index": 2,
                "header": sealed.record.header_bytes,
                "owner_wrap": sealed.record.owner_wrap,
                "consent_wrap": sealed.record.consent_wrap,
                "custody_wrap": sealed.record.custody_wraps[1],
                "deadline": world.time + 3600,
                "author_signature": bytes(65),
                "received_at": world.time,
                "on_ledger": True,
            }
        )
        references.append({"cid": str(cid), "holder": header_digest})
    with world.custodian.database.begin() as connection:
        connection.execute(insert(deposits), rows)
        connection.execute(insert(block_references), references)
    world.publish_state()


def main() -> None:
    with TemporaryDirectory(prefix="phr-bench-") as directory:
        world = CustodyWorld(Path(directory))
        try:
            fill(world)
            node = world.custodian
            own = OwnCustodian(node.identity, node.blocks, node.custody, node.release)
            peers = Peers(node.ledger, node.identity.request_key, own)
            task = Replication(
                node.identity, node.ledger, node.blocks, ReplicaStore(node.database), peers, clock=node.clock
            )
            replication.TURN_SECONDS = 3600.0
            began = time.perf_counter()
            while task.report().by_state[ReplicaState.FULL] < RECORDS:
                task.turn()
            first = time.perf_counter() - began
            node.clock.seconds += replication.CHECK_AGAIN_SECONDS + 10
            began = time.perf_counter()
            looked_at = task.turn()
            whole = time.perf_counter() - began
            began = time.perf_counter()
            task.turn()
            idle = time.perf_counter() - began
            began = time.perf_counter()
            task.report()
            report = time.perf_counter() - began
            peers.close()
        finally:
            world.close()
    assert looked_at == RECORDS
    show(
        {
            "records": RECORDS,
            "first_pass_seconds": round(first, 2),
            "pass_over_all_seconds": round(whole, 2),
            "microseconds_a_record": round(whole / RECORDS * 1e6, 1),
            "share_of_one_core_percent": round(100 * whole / replication.CHECK_AGAIN_SECONDS, 3),
            "turn_with_nothing_due_ms": milliseconds(idle),
            "status_ms": milliseconds(report),
        }
    )


if __name__ == "__main__":
    main()
