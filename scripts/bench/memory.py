#!/usr/bin/env python3
"""Memory of the nodes while records of 1 MiB that do not compress pass through them: it must stay flat."""

import base64
import secrets
import sys

from consortium import as_processes, consortium, show
from records_flow import bundle

RECORDS = int(sys.argv[1]) if len(sys.argv) > 1 else 200
SIZE_BYTES = 1024**2
SAMPLES = 10


def document(number: int) -> dict[str, object]:
    """A document whose content is noise."""
    noise = base64.b64encode(secrets.token_bytes(SIZE_BYTES * 3 // 4 - 2048)).decode()
    return {
        "resourceType": "DocumentReference",
        "id": f"document-{number}",
        "status": "current",
        "subject": {"reference": "Patient/p"},
        "date": "2024-03-02T10:00:00Z",
        "content": [{"attachment": {"contentType": "application/pdf", "data": noise}}],
    }


def main() -> None:
    with consortium() as (network, case, _), as_processes(network) as nodes:
        resident: list[list[int]] = [[] for _ in nodes]
        ciphertext_bytes = 0
        for number in range(RECORDS):
            answer = (
                nodes[0].post("/staff/publications", bundle(case.number, document(number)), case.about).json()
            )
            assert answer["state"] == "published", answer["detail"]
            ciphertext_bytes += sum(record["ciphertext_bytes"] for record in answer["records"])
            if (number + 1) % (RECORDS // SAMPLES) == 0:
                for node, several in zip(nodes, resident, strict=True):
                    several.append(node.resident_kib // 1024)
        show(
            {
                "records": RECORDS,
                "ciphertext_mib": ciphertext_bytes // 1024**2,
                "author_resident_mib": resident[0],
                "custodians_resident_mib": resident[1:],
                "growth_of_the_second_half_mib": [
                    several[-1] - several[SAMPLES // 2 - 1] for several in resident
                ],
            }
        )


if __name__ == "__main__":
    main()
