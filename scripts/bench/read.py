#!/usr/bin/env python3
"""A consented, logged read of a record of 1 MiB through real nodes, from request to plaintext, by step, in percentiles.

The reference is the unavoidable part of one custodian's answer and of opening, timed in the same run: X-Wing opens
and seals, signatures, AES-256-GCM, SHA-256, zstd and the base64 of the answer. ``read_ms`` is what the caller waits.

usage: read.py [ROUNDS [ENGINE]]      default 15 rounds on anvil; bft: four validators
"""

import base64
import hashlib
import json
import secrets
import sys
import time
from statistics import median, quantiles

import zstandard
from consortium import as_processes, consortium, large_bundle, milliseconds, show
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto.hpke import EncryptionKey, seal
from crypto.jws import sign_detached, verify_detached
from crypto.signer import AccountKey
from crypto.statement import recover_statement, sign_statement
from ledger.engine import ANVIL, ENGINES

SIZE_BYTES = 1024**2
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 15
ENGINE = ENGINES[sys.argv[2]] if len(sys.argv) > 2 else ANVIL
CHAIN_STEPS = {"ledger"}


def primitives(content: bytes) -> float:
    """Seconds of what a read with t = 2 cannot do without."""
    key, account, aead = EncryptionKey.generate(), AccountKey.generate(), AESGCM(secrets.token_bytes(32))
    sealed = seal(bytes(1200), key.public, b"")
    compressed = zstandard.ZstdCompressor(level=3).compress(content)
    ciphertext = aead.encrypt(bytes(12), compressed, b"")
    signature = sign_statement(account, "phr/v1/bench", bytes(32))
    jws = sign_detached(account, content, "application/fhir+json", 1)
    start = time.perf_counter()
    for _ in range(2):  # each of two custodians: open the own wrap, seal, sign; the reader: open, check
        key.open(sealed, b"")
        answer = seal(bytes(1200), key.public, b"")
        sign_statement(account, "phr/v1/bench", bytes(32))
        key.open(answer, b"")
        recover_statement("phr/v1/bench", bytes(32), signature)
    hashlib.sha256(ciphertext).digest()
    hashlib.sha256(ciphertext).digest()
    packed = aead.decrypt(bytes(12), ciphertext, b"")
    opened = zstandard.ZstdDecompressor().decompress(packed)
    hashlib.sha256(opened).digest()
    verify_detached(jws, opened, account.address)
    base64.b64decode(base64.b64encode(opened))
    return time.perf_counter() - start


def percentiles(seconds: list[float]) -> dict[str, float]:
    """p50, p90 and p99 in milliseconds."""
    hundredths = quantiles(seconds, n=100, method="inclusive")
    return {f"p{n}": milliseconds(hundredths[n - 1]) for n in (50, 90, 99)}


def main() -> None:
    with consortium(ENGINE) as (network, case, _), as_processes(network) as nodes:
        raw = large_bundle(case.number, SIZE_BYTES)
        nodes[0].post("/staff/publications", raw, case.about)
        request = json.dumps({"patient": "0x" + case.patient.address.hex(), "purpose": "TREAT"}).encode()
        time.sleep(1.5)  # the reader's node sees the record's block
        totals, chains, references = [], [], []
        steps: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            start = time.perf_counter()
            answer = nodes[1].post("/staff/reads", request).json()
            totals.append(time.perf_counter() - start)
            (record,) = answer["records"]
            assert record["failure"] is None, record["failure"]
            for name, seconds in answer["seconds_by_step"].items():
                steps.setdefault(name, []).append(seconds)
            chains.append(sum(answer["seconds_by_step"][name] for name in CHAIN_STEPS))
            references.append(primitives(base64.b64decode(record["content"])))
        own = [total - chain for total, chain in zip(totals, chains, strict=True)]
        show(
            {
                "content_bytes": len(base64.b64decode(record["content"])),
                "engine": ENGINE.name,
                "rounds": ROUNDS,
                "read_ms": percentiles(totals),
                "chain_ms": percentiles(chains),
                "without_chain_ms": milliseconds(median(own)),
                "slowest_without_chain_ms": milliseconds(max(own)),
                "primitives_ms": milliseconds(median(references)),
                "ratio": round(median(own) / median(references), 2),
                "best_without_chain_ms": milliseconds(min(own)),
                "best_primitives_ms": milliseconds(min(references)),
                "ratio_of_the_best": round(min(own) / min(references), 2),
                "steps_ms": {name: percentiles(several) for name, several in steps.items()},
            }
        )


if __name__ == "__main__":
    main()
