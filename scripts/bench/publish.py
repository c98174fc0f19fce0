#!/usr/bin/env python3
"""Publishing a bundle of 1 MiB to three members, against the primitives that nothing could avoid, in one run.

The reference is the sum of: JSON parse and schema validation, zstd, AES-256-GCM, SHA-256, signatures, X-Wing seals,
and one fsync'd file a block and replica. The time of the chain (``ledger``) is apart.
"""

import gc
import hashlib
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import zstandard
from consortium import as_processes, consortium, large_bundle, milliseconds, show
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto.hpke import EncryptionKey, seal
from crypto.signer import AccountKey
from crypto.statement import sign_statement
from records import DEFAULT_LIMITS, prepare
from records.reading import read_bundle
from records.validation import validate

SIZE_BYTES = 1024**2
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 9
MEMBERS = 3
CHAIN_STEPS = {"ledger"}


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def primitives(raw: bytes, directory: Path) -> dict[str, float]:
    """Seconds of each unavoidable primitive for this bundle."""
    payloads = prepare(raw, None)
    contents = [payload.content for payload in payloads]
    compressed = [zstandard.ZstdCompressor(level=3).compress(content) for content in contents]
    keys = [EncryptionKey.generate().public for _ in range(MEMBERS + 3)]
    account, aead = AccountKey.generate(), AESGCM(secrets.token_bytes(32))
    found: dict[str, float] = {}
    found["parse"] = timed(lambda: json.loads(raw))
    bundle = read_bundle(raw, DEFAULT_LIMITS)
    found["validate"] = timed(lambda: validate(bundle))
    found["zstd"] = timed(lambda: [zstandard.ZstdCompressor(level=3).compress(one) for one in contents])
    found["aes_gcm"] = timed(lambda: [aead.encrypt(bytes(12), one, b"") for one in compressed])
    # The content for its signature and commitment; the ciphertext for its CID, here and at each replica.
    hashes = contents * 2 + compressed * (1 + MEMBERS)
    found["sha256"] = timed(lambda: [hashlib.sha256(one).digest() for one in hashes])
    # By the author: the content, and a deposit for each custodian; by each custodian a receipt.
    signatures = len(contents) * (1 + 2 * MEMBERS)
    found["signatures"] = timed(
        lambda: [sign_statement(account, "phr/v1/bench", bytes(32)) for _ in range(signatures)]
    )
    found["x_wing"] = timed(lambda: [seal(bytes(32), key, b"") for _ in contents for key in keys])

    def write(number: int, content: bytes) -> None:
        descriptor = os.open(directory / f"{time.monotonic_ns()}-{number}", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, content)
        os.fsync(descriptor)
        os.close(descriptor)

    replicas = [one for one in compressed for _ in range(MEMBERS)]
    found["fsynced_files"] = timed(lambda: [write(number, one) for number, one in enumerate(replicas)])
    return found


def main() -> None:
    with (
        consortium() as (network, case, _),
        as_processes(network) as nodes,
        tempfile.TemporaryDirectory() as place,
    ):
        gc.collect()
        gc.freeze()  # as a node does, so that the reference is not slowed by the collector
        path = "/staff/publications"
        nodes[0].post(path, large_bundle(case.number, 50_000, seed=99), case.about)
        totals, chains, references = [], [], []
        steps: dict[str, list[float]] = {}
        parts: dict[str, list[float]] = {}
        for number in range(ROUNDS):
            raw = large_bundle(case.number, SIZE_BYTES, seed=number)
            answer: dict[str, object] = {}
            totals.append(
                timed(
                    lambda raw=raw, answer=answer: answer.update(nodes[0].post(path, raw, case.about).json())
                )
            )
            assert answer["state"] == "published", answer
            by_step = answer["seconds_by_step"]
            assert isinstance(by_step, dict)
            chains.append(sum(by_step[name] for name in CHAIN_STEPS))
            for name, seconds in by_step.items():
                steps.setdefault(name, []).append(seconds)
            reference = primitives(raw, Path(place))
            references.append(sum(reference.values()))
            for name, seconds in reference.items():
                parts.setdefault(name, []).append(seconds)
        own = [total - chain for total, chain in zip(totals, chains, strict=True)]
        show(
            {
                "bundle_bytes": len(raw),
                "records": len(answer["records"]),
                "rounds": ROUNDS,
                "publish_ms": milliseconds(median(totals)),
                "chain_ms": milliseconds(median(chains)),
                "without_chain_ms": milliseconds(median(own)),
                "primitives_ms": milliseconds(median(references)),
                "ratio": round(median(own) / median(references), 2),
                "best_without_chain_ms": milliseconds(min(own)),
                "best_primitives_ms": milliseconds(min(references)),
                "ratio_of_the_best": round(min(own) / min(references), 2),
                "steps_ms": {name: milliseconds(median(several)) for name, several in steps.items()},
                "primitives_by_kind_ms": {
                    name: milliseconds(median(several)) for name, several in parts.items()
                },
            }
        )


if __name__ == "__main__":
    main()
