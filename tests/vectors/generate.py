"""Writes tests/vectors/crypto.json: run it when a composition changes, which takes a new label.

    .venv/bin/python tests/vectors/generate.py

Inputs are fixed. What is derived comes out the same at each run; what is sealed takes fresh randomness, so its
recorded bytes are for opening only. For each input of each vector there is a negative vector: that input altered,
and the failure that must follow ("different" for what is derived).
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from compositions import DERIVED, OPENED, identity, payload, receipt, release_binding

from crypto.binding import journal_wrap_info
from crypto.envelope import (
    Custodian,
    Recipients,
    open_consent_wrap,
    open_custody_wrap,
    open_owner_wrap,
    seal_record,
)
from crypto.grant import GrantScope, RecordShare, make_grant_bundle
from crypto.hpke import EncryptionKey
from crypto.keyring import CategorySecret
from crypto.passphrase import PassphraseCost
from crypto.payload import pack
from crypto.recovery import RecoveryPhrase
from crypto.release import seal_release, sign_receipt
from crypto.shamir import split
from crypto.signer import AccountKey
from crypto.statement import sign_statement
from crypto.streamed_sealing import StreamSealer
from crypto.vault import seal_backup, seal_vault
from vocabulary import Category

OUTPUT = Path(__file__).with_name("crypto.json")
RECORD = {
    "chainId": 31337,
    "contract": "11" * 20,
    "recordId": "22" * 32,
    "patient": "33" * 20,
    "author": "44" * 20,
    "category": 6,
}
WORDS = (
    "legal winner thank year wave sausage worth useful " * 2
    + "legal winner thank year wave sausage worth title"
)
OTHER_WORDS = "zoo " * 23 + "vote"


def seed(name: str) -> str:
    return hashlib.sha256(f"phr test vector: {name}".encode()).hexdigest()


def key(name: str) -> EncryptionKey:
    return EncryptionKey.from_seed(bytes.fromhex(seed(name)))


def account(name: str) -> AccountKey:
    return AccountKey.from_bytes(bytes.fromhex(seed(name)))


def altered(value: Any) -> Any:
    """Another value of the same kind and size."""
    if isinstance(value, int):
        return value + 1
    if isinstance(value, list):
        return value[:-1]
    try:
        data = bytearray.fromhex(value)
        data[-1] ^= 1
        return data.hex()
    except ValueError:
        return OTHER_WORDS if value == WORDS else value[:-1] + ("a" if value[-1] != "a" else "b")


BINDING = {
    "chainId": 31337,
    "contract": "11" * 20,
    "patient": "33" * 20,
    "sequence": 9,
    "recordId": "22" * 32,
    "shareIndex": 2,
    "generation": 1,
    "custodian": account("custodian").address.hex(),
}
RECEIPT = BINDING | {
    "requester": "66" * 20,
    "consentId": "77" * 32,
    "responseKeyDigest": "88" * 32,
    "headerDigest": "99" * 32,
    "sealedDigest": "aa" * 32,
    "blockNumber": 1234,
    "blockHash": "bb" * 32,
    "releasedAtSeconds": 1_700_000_000,
}
DIGESTS = {"keyDigest": "55" * 32, "ciphertextDigest": "66" * 32}
PAYLOAD = {
    "mediaType": "application/fhir+json",
    "content": b'{"resourceType":"Bundle","type":"collection"}'.hex(),
    "signature": "header..signature",
    "salt": "77" * 32,
}
JWS = {"content": PAYLOAD["content"], "mediaType": "application/fhir+json", "signedAtSeconds": 1_700_000_000}
STATEMENT = {"label": "phr/v1/release-receipt", "body": b"body".hex()}

STREAMED = {"mediaType": "application/dicom", "protected": "protected", "salt": "77" * 32}

DERIVED_INPUTS: dict[str, dict[str, Any]] = {
    "key-digest": {"seed": seed("owner")},
    "record-context": RECORD,
    "owner-wrap-info": RECORD | DIGESTS,
    "consent-wrap-info": RECORD | DIGESTS | {"epoch": 3},
    "custody-wrap-info": RECORD | DIGESTS | {"generation": 1, "shareIndex": 2, "custodian": "c1" * 20},
    "journal-wrap-info": RECORD | DIGESTS,
    "release-info": BINDING | {"responseKeyDigest": "88" * 32},
    "share-commitment": {"recordId": "22" * 32, "generation": 1, "shareIndex": 2, "share": "0a" * 32},
    "streamed-record-context": RECORD,
    "streamed-payload-head": STREAMED | {"contentSize": 300 * 2**20},
    "streamed-payload": STREAMED | {"content": b"an image, say".hex(), "signature": "0b" * 64},
    "payload-commitment": PAYLOAD,
    "person-commitment": {"salt": "55" * 32, "member": "44" * 20, "staffId": "dr-kim", "role": "physician"},
    "keyring": {
        **{name: RECORD[name] for name in ("chainId", "contract", "patient")},
        "epoch": 3,
        "ownerSeed": seed("owner"),
        "keys": [[6, 1, seed("laboratory")], [7, 3, seed("imaging")]],
    },
    "release-receipt": RECEIPT,
    "statement-digest": STATEMENT,
    "statement-signature": STATEMENT | {"secret": seed("account")},
    "detached-jws": JWS | {"secret": seed("author")},
    "backup-keys": {"words": WORDS},
}
DERIVED_INPUTS["keyring-digest"] = DERIVED_INPUTS["keyring"]


def opened_inputs() -> dict[str, tuple[dict[str, Any], str, dict[str, str]]]:
    """For each composition: inputs, the failure of an altered one, and exceptions to it by input."""
    record_identity = identity(RECORD)
    custodians = [Custodian(bytes([0xC1 + n]) * 20, key(f"custodian {n}").public) for n in range(3)]
    record = seal_record(
        pack(payload(PAYLOAD)),
        record_identity,
        3,
        key("owner").public,
        key("laboratory").public,
        custodians,
        2,
        cid_of=lambda block: "b" + hashlib.sha256(block).hexdigest(),
        journal_public=key("author").public,
    )
    header = record.header
    shares = [
        open_custody_wrap(key(f"custodian {n}"), wrap, header, custodians[n].address)
        for n, wrap in enumerate(record.custody_wraps)
    ]
    info = journal_wrap_info(record_identity, key("author").digest, header.ciphertext_digest)
    assert record.journal_wrap is not None
    consent_share = key("author").open(record.journal_wrap, info)
    wrap = RECORD | {"ciphertextDigest": header.ciphertext_digest.hex()}
    read = RECORD | {
        "header": record.header_bytes.hex(),
        "headerDigest": header.digest.hex(),
        "ciphertext": record.ciphertext.hex(),
    }
    read_failures = {"header": "DigestMismatchError", "headerDigest": "DigestMismatchError"} | {
        "ciphertext": "DigestMismatchError"
    }
    secret_shares = split(bytes.fromhex(seed("secret")), 2, 3)
    patient = account("patient")
    scope = GrantScope(31337, b"\x11" * 20, patient.address, b"\x77" * 32, b"\x44" * 20, 3)
    secrets = [
        CategorySecret(Category.LABORATORY, 1, None, key("laboratory")),
        CategorySecret(Category.IMAGING, 1, 2, key("imaging")),
    ]
    of_categories = make_grant_bundle(patient, scope, key("grantee").public, category_secrets=secrets)
    of_record = make_grant_bundle(
        patient, scope, key("grantee").public, record=RecordShare(record_identity.record_id, consent_share)
    )
    granted = {"seed": seed("grantee"), "chainId": 31337, "contract": "11" * 20, "grantee": "44" * 20}
    grant_failures = {"seed": "OpenError", "bundle": "SignatureError"}
    release = seal_release(shares[1], record.consent_wrap, key("response").public, release_binding(BINDING))
    signer = account("account")
    statement = sign_statement(signer, STATEMENT["label"], bytes.fromhex(STATEMENT["body"]))
    keys = RecoveryPhrase.parse(WORDS).backup_keys()
    cheap = PassphraseCost(memory_kib=64, iterations=1, lanes=1, scrypt_n=2)
    author_jws = DERIVED["detached-jws"](DERIVED_INPUTS["detached-jws"]).decode()
    return {
        **streamed_inputs(),
        "record-content": (
            RECORD
            | {
                "dataKey": open_owner_wrap(key("owner"), record.owner_wrap, header).hex(),
                "ciphertext": record.ciphertext.hex(),
            },
            "OpenError",
            {},
        ),
        "owner-wrap": (wrap | {"seed": seed("owner"), "sealed": record.owner_wrap.hex()}, "OpenError", {}),
        "consent-wrap": (
            wrap | {"epoch": 3, "seed": seed("laboratory"), "sealed": record.consent_wrap.hex()},
            "OpenError",
            {},
        ),
        "custody-wrap": (
            wrap
            | {"generation": 1, "shareIndex": 2, "custodian": custodians[1].address.hex()}
            | {"seed": seed("custodian 1"), "sealed": record.custody_wraps[1].hex()},
            "OpenError",
            {},
        ),
        "journal-wrap": (
            wrap | {"seed": seed("author"), "sealed": record.journal_wrap.hex()},
            "OpenError",
            {},
        ),
        # Shares carry no check of their own: an altered one gives another secret, and only commitments tell.
        "shares": ({"share1": secret_shares[0].hex(), "share3": secret_shares[2].hex()}, "different", {}),
        "read-as-patient": (
            read | {"ownerSeed": seed("owner"), "ownerWrap": record.owner_wrap.hex()},
            "HeaderError",
            read_failures | {"ownerSeed": "OpenError", "ownerWrap": "DigestMismatchError"},
        ),
        "read-as-grantee": (
            read
            | {"consentShare": consent_share.hex(), "share1": shares[0].hex(), "share3": shares[2].hex()},
            "HeaderError",
            read_failures
            | {"consentShare": "OpenError", "share1": "WrongShareError", "share3": "WrongShareError"},
        ),
        "grant-of-categories": (
            granted | {"bundle": of_categories.to_bytes().hex()},
            "HeaderError",
            grant_failures,
        ),
        "grant-of-a-record": (
            granted | {"bundle": of_record.to_bytes().hex()},
            "HeaderError",
            grant_failures,
        ),
        "release": (BINDING | {"responseSeed": seed("response"), "sealed": release.hex()}, "OpenError", {}),
        "release-receipt": (
            RECEIPT | {"signature": sign_receipt(account("custodian"), receipt(RECEIPT)).hex()},
            "SignatureError",
            {},
        ),
        "statement": (
            STATEMENT | {"account": signer.address.hex(), "signature": statement.hex()},
            "SignatureError",
            {},
        ),
        "detached-jws": (
            {"jws": author_jws, "content": JWS["content"], "author": account("author").address.hex()},
            "SignatureError",
            {"jws": "FormatError"},
        ),
        "vault": (
            {"passphrase": "correct horse", "sealed": seal_vault(b"vault", "correct horse", cheap).hex()},
            "PassphraseError",
            {"sealed": "FormatError"},
        ),
        "backup": (
            {"words": WORDS, "sealed": seal_backup(b"vault", keys, 7).hex()},
            "HeaderError",
            {"sealed": "SignatureError"},
        ),
    }


def streamed_inputs() -> dict[str, tuple[dict[str, Any], str, dict[str, str]]]:
    """As ``opened_inputs``, of a content that is sealed in pieces; its author signs, since a reader checks that."""
    author = account("author")
    of_author = RECORD | {"author": author.address.hex(), "category": 7}
    custodians = [Custodian(bytes([0xC1 + n]) * 20, key(f"custodian {n}").public) for n in range(3)]
    content = b"an image of more than one chunk " * 1000
    sealer = StreamSealer(
        identity(of_author),
        author,
        media_type="application/dicom",
        content_bytes=len(content),
        signed_at_seconds=1_700_000_000,
    )
    ciphertext = sealer.update(content) + sealer.finalize()
    recipients = Recipients(
        3,
        key("owner").public,
        key("imaging").public,
        custodians,
        2,
        journal_public=key("author").public,
    )
    record = sealer.wrap("b" + hashlib.sha256(ciphertext).hexdigest(), recipients)
    header = record.header
    shares = [
        open_custody_wrap(key(f"custodian {n}"), wrap, header, custodians[n].address)
        for n, wrap in enumerate(record.custody_wraps)
    ]
    read = of_author | {
        "header": record.header_bytes.hex(),
        "headerDigest": header.digest.hex(),
        "payloadCommitment": sealer.payload_commitment.hex(),
        "ciphertext": ciphertext.hex(),
    }
    failures = {
        "header": "DigestMismatchError",
        "headerDigest": "DigestMismatchError",
        "payloadCommitment": "DigestMismatchError",
        "ciphertext": "DigestMismatchError",
    }
    return {
        "streamed-read-as-patient": (
            read | {"ownerSeed": seed("owner"), "ownerWrap": record.owner_wrap.hex()},
            "HeaderError",
            failures | {"ownerSeed": "OpenError", "ownerWrap": "DigestMismatchError"},
        ),
        "streamed-read-as-grantee": (
            read
            | {
                "consentShare": open_consent_wrap(key("imaging"), record.consent_wrap, header).hex(),
                "share1": shares[0].hex(),
                "share3": shares[2].hex(),
            },
            "HeaderError",
            failures
            | {"consentShare": "OpenError", "share1": "WrongShareError", "share3": "WrongShareError"},
        ),
    }


def main() -> None:
    """Vectors that are recorded stay as they are, byte for byte: old records must open for ever.

    To record one anew, take it out of the file first.
    """
    before = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {"derived": [], "opened": []}
    recorded = {kind: {vector["name"]: vector for vector in before[kind]} for kind in before}
    derived = []
    for name, inputs in DERIVED_INPUTS.items():
        output = DERIVED[name](inputs)
        negative = [
            {"input": field, "value": altered(value), "failure": "different"}
            for field, value in inputs.items()
        ]
        derived.append({"name": name, "inputs": inputs, "output": output.hex(), "negative": negative})
    opened = []
    for name, (inputs, failure, exceptions) in opened_inputs().items():
        negative = [
            {"input": field, "value": altered(value), "failure": exceptions.get(field, failure)}
            for field, value in inputs.items()
        ]
        opened.append(
            {"name": name, "inputs": inputs, "output": OPENED[name](inputs).hex(), "negative": negative}
        )
    derived = [recorded["derived"].get(vector["name"], vector) for vector in derived]
    opened = [recorded["opened"].get(vector["name"], vector) for vector in opened]
    OUTPUT.write_text(json.dumps({"derived": derived, "opened": opened}, indent=1) + "\n")


if __name__ == "__main__":
    main()
