"""Each composition of docs/envelope.md as a function of a vector's inputs, for the generator and for the test.

``DERIVED`` give bytes that anyone must compute alike. ``OPENED`` open or verify something that was sealed with
fresh randomness once and recorded; their inputs hold the recorded bytes.
"""

from collections.abc import Callable, Mapping
from typing import Any

from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.exceptions import InvalidTag

from crypto.binding import (
    RecordIdentity,
    consent_wrap_info,
    custody_wrap_info,
    journal_wrap_info,
    owner_wrap_info,
    record_context,
)
from crypto.envelope import Header, open_with_owner_key, open_with_shares, read_header, share_commitment
from crypto.errors import OpenError
from crypto.grant import GrantBundle, open_grant_bundle
from crypto.hpke import EncryptionKey
from crypto.jws import sign_detached, verify_detached
from crypto.keyring import Keyring, KeyringSecrets
from crypto.opening import combine_shares, open_owner_wrap
from crypto.payload import Payload, commitment, unpack
from crypto.person import person_commitment
from crypto.recovery import RecoveryPhrase
from crypto.release import ReleaseBinding, ReleaseReceipt, open_release, verify_receipt
from crypto.shamir import combine
from crypto.signer import AccountKey
from crypto.statement import sign_statement, statement_digest, verify_statement
from crypto.streamed_opening import StreamedContent
from crypto.streamed_payload import PayloadHead, StreamPacker, StreamUnpacker
from crypto.vault import open_backup, open_vault
from vocabulary import Category

Inputs = Mapping[str, Any]


def octets(inputs: Inputs, name: str) -> bytes:
    return bytes.fromhex(inputs[name])


def key(inputs: Inputs, name: str) -> EncryptionKey:
    return EncryptionKey.from_seed(octets(inputs, name))


def identity(inputs: Inputs) -> RecordIdentity:
    return RecordIdentity(
        inputs["chainId"],
        octets(inputs, "contract"),
        octets(inputs, "recordId"),
        octets(inputs, "patient"),
        octets(inputs, "author"),
        Category(inputs["category"]),
    )


def release_binding(inputs: Inputs) -> ReleaseBinding:
    return ReleaseBinding(
        inputs["chainId"],
        octets(inputs, "contract"),
        octets(inputs, "patient"),
        inputs["sequence"],
        octets(inputs, "recordId"),
        inputs["shareIndex"],
        inputs["generation"],
        octets(inputs, "custodian"),
    )


def receipt(inputs: Inputs) -> ReleaseReceipt:
    return ReleaseReceipt(
        release_binding(inputs),
        octets(inputs, "requester"),
        octets(inputs, "consentId"),
        octets(inputs, "responseKeyDigest"),
        octets(inputs, "headerDigest"),
        octets(inputs, "sealedDigest"),
        inputs["blockNumber"],
        octets(inputs, "blockHash"),
        inputs["releasedAtSeconds"],
    )


def payload(inputs: Inputs) -> Payload:
    return Payload(
        inputs["mediaType"], octets(inputs, "content"), inputs["signature"], octets(inputs, "salt")
    )


def custody_info(inputs: Inputs, recipient: bytes) -> bytes:
    return custody_wrap_info(
        identity(inputs),
        inputs["generation"],
        inputs["shareIndex"],
        octets(inputs, "custodian"),
        recipient,
        octets(inputs, "ciphertextDigest"),
    )


def keyring(inputs: Inputs) -> Keyring:
    categories = {
        Category(c): ((e, EncryptionKey.from_seed(bytes.fromhex(s))),) for c, e, s in inputs["keys"]
    }
    owner = key(inputs, "ownerSeed")
    scope = inputs["chainId"], octets(inputs, "contract"), octets(inputs, "patient"), inputs["epoch"]
    return KeyringSecrets(*scope, owner, categories).public()


def backup_keys(inputs: Inputs) -> bytes:
    keys = RecoveryPhrase.parse(inputs["words"]).backup_keys()
    return keys.locator + keys.encryption_key + keys.signing_seed


def jws(inputs: Inputs) -> bytes:
    account = AccountKey.from_bytes(octets(inputs, "secret"))
    return sign_detached(
        account, octets(inputs, "content"), inputs["mediaType"], inputs["signedAtSeconds"]
    ).encode()


def packed_stream(inputs: Inputs) -> bytes:
    content = octets(inputs, "content")
    packer = StreamPacker(payload_head({**inputs, "contentSize": len(content)}))
    packed = packer.update(content) + packer.finalize(octets(inputs, "signature"))
    unpacker = StreamUnpacker([packed])
    # Compressed bytes may differ between versions of zstd: what the layout fixes is what they unpack to.
    return unpacker.head.to_bytes() + b"".join(unpacker.content()) + unpacker.signature


def payload_head(inputs: Inputs) -> PayloadHead:
    return PayloadHead(
        inputs["mediaType"], inputs["contentSize"], inputs["protected"], octets(inputs, "salt")
    )


DERIVED: dict[str, Callable[[Inputs], bytes]] = {
    "key-digest": lambda i: key(i, "seed").digest,
    "record-context": lambda i: record_context(identity(i)),
    "owner-wrap-info": lambda i: owner_wrap_info(
        identity(i), octets(i, "keyDigest"), octets(i, "ciphertextDigest")
    ),
    "consent-wrap-info": lambda i: consent_wrap_info(
        identity(i), i["epoch"], octets(i, "keyDigest"), octets(i, "ciphertextDigest")
    ),
    "custody-wrap-info": lambda i: custody_info(i, octets(i, "keyDigest")),
    "journal-wrap-info": lambda i: journal_wrap_info(
        identity(i), octets(i, "keyDigest"), octets(i, "ciphertextDigest")
    ),
    "release-info": lambda i: release_binding(i).info(octets(i, "responseKeyDigest")),
    "share-commitment": lambda i: share_commitment(
        octets(i, "recordId"), i["generation"], i["shareIndex"], octets(i, "share")
    ),
    "streamed-record-context": lambda i: record_context(identity(i), streamed=True),
    "streamed-payload-head": lambda i: payload_head(i).to_bytes(),
    "streamed-payload": packed_stream,
    "payload-commitment": lambda i: commitment(payload(i)),
    "person-commitment": lambda i: person_commitment(
        octets(i, "salt"), octets(i, "member"), i["staffId"], i["role"]
    ),
    "keyring": lambda i: keyring(i).to_bytes(),
    "keyring-digest": lambda i: keyring(i).digest,
    "release-receipt": lambda i: receipt(i).to_bytes(),
    "statement-digest": lambda i: statement_digest(i["label"], octets(i, "body")),
    "statement-signature": lambda i: sign_statement(
        AccountKey.from_bytes(octets(i, "secret")), i["label"], octets(i, "body")
    ),
    "detached-jws": jws,
    "backup-keys": backup_keys,
}


def open_content(inputs: Inputs) -> bytes:
    decryptor = Cobblestone256Decryptor(octets(inputs, "dataKey"), record_context(identity(inputs)))
    try:
        return decryptor.update(octets(inputs, "ciphertext")) + decryptor.finalize()
    except InvalidTag:
        raise OpenError("the ciphertext does not open") from None


def open_wrap(info: Callable[..., bytes], *names: str) -> Callable[[Inputs], bytes]:
    def opener(inputs: Inputs) -> bytes:
        recipient = key(inputs, "seed")
        middle = [inputs[name] for name in names]
        bound = info(identity(inputs), *middle, recipient.digest, octets(inputs, "ciphertextDigest"))
        return recipient.open(octets(inputs, "sealed"), bound)

    return opener


def open_custody(inputs: Inputs) -> bytes:
    recipient = key(inputs, "seed")
    return recipient.open(octets(inputs, "sealed"), custody_info(inputs, recipient.digest))


def checked_header(inputs: Inputs) -> Header:
    return read_header(octets(inputs, "header"), octets(inputs, "headerDigest"), identity(inputs))


def read_as_patient(inputs: Inputs) -> bytes:
    packed = open_with_owner_key(
        key(inputs, "ownerSeed"),
        octets(inputs, "ownerWrap"),
        checked_header(inputs),
        octets(inputs, "ciphertext"),
        identity(inputs),
    )
    return unpack(packed).content


def read_as_grantee(inputs: Inputs) -> bytes:
    shares = {1: octets(inputs, "share1"), 3: octets(inputs, "share3")}
    header = checked_header(inputs)
    packed = open_with_shares(
        octets(inputs, "consentShare"), shares, header, octets(inputs, "ciphertext"), identity(inputs)
    )
    return unpack(packed).content


def streamed(inputs: Inputs, data_key: bytes, header: Header) -> bytes:
    ciphertext = octets(inputs, "ciphertext")
    pieces = [ciphertext[start : start + 1000] for start in range(0, len(ciphertext), 1000)]
    return b"".join(StreamedContent(data_key, header, octets(inputs, "payloadCommitment"), pieces))


def read_streamed_as_patient(inputs: Inputs) -> bytes:
    header = checked_header(inputs)
    return streamed(
        inputs, open_owner_wrap(key(inputs, "ownerSeed"), octets(inputs, "ownerWrap"), header), header
    )


def read_streamed_as_grantee(inputs: Inputs) -> bytes:
    header = checked_header(inputs)
    shares = {1: octets(inputs, "share1"), 3: octets(inputs, "share3")}
    data_key = combine_shares(octets(inputs, "consentShare"), shares, header, identity(inputs))
    return streamed(inputs, data_key, header)


def grant(inputs: Inputs) -> bytes:
    bundle = GrantBundle.from_bytes(octets(inputs, "bundle"))
    opened = open_grant_bundle(
        bundle,
        key(inputs, "seed"),
        chain_id=inputs["chainId"],
        contract=octets(inputs, "contract"),
        grantee=octets(inputs, "grantee"),
    )
    share = b"" if opened.record is None else opened.record.consent_share
    return b"".join(secret.key.seed for secret in opened.category_secrets) + share


def release(inputs: Inputs) -> bytes:
    opened = open_release(octets(inputs, "sealed"), key(inputs, "responseSeed"), release_binding(inputs))
    return opened.share + opened.consent_wrap


def verified_receipt(inputs: Inputs) -> bytes:
    verify_receipt(receipt(inputs), octets(inputs, "signature"))
    return b""


def verified_statement(inputs: Inputs) -> bytes:
    verify_statement(
        inputs["label"], octets(inputs, "body"), octets(inputs, "signature"), octets(inputs, "account")
    )
    return b""


def verified_jws(inputs: Inputs) -> bytes:
    return verify_detached(inputs["jws"], octets(inputs, "content"), octets(inputs, "author")).author


OPENED: dict[str, Callable[[Inputs], bytes]] = {
    "record-content": open_content,
    "owner-wrap": open_wrap(owner_wrap_info),
    "consent-wrap": open_wrap(consent_wrap_info, "epoch"),
    "custody-wrap": open_custody,
    "journal-wrap": open_wrap(journal_wrap_info),
    "shares": lambda i: combine({1: octets(i, "share1"), 3: octets(i, "share3")}, 2),
    "read-as-patient": read_as_patient,
    "read-as-grantee": read_as_grantee,
    "streamed-read-as-patient": read_streamed_as_patient,
    "streamed-read-as-grantee": read_streamed_as_grantee,
    "grant-of-categories": grant,
    "grant-of-a-record": grant,
    "release": release,
    "release-receipt": verified_receipt,
    "statement": verified_statement,
    "detached-jws": verified_jws,
    "vault": lambda i: open_vault(octets(i, "sealed"), i["passphrase"]),
    "backup": lambda i: (
        open_backup(octets(i, "sealed"), RecoveryPhrase.parse(i["words"]).backup_keys()).content
    ),
}
