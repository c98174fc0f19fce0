"""The grant bundle: what a patient's consent hands to its grantee, so that lock 1 opens without the patient.

Either the secret of every category-key version whose records the consent may cover, or one record's consent
share. Secrets are one HPKE message to the grantee's key; the whole is signed by the pseudonym.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from crypto import canonical
from crypto.binding import category_field
from crypto.canonical import Fields
from crypto.errors import FormatError, HeaderError, OpenError, SignatureError
from crypto.fields import (
    ADDRESS_BYTES,
    CHAIN_ID_BITS,
    DIGEST_BYTES,
    EPOCH_BITS,
    SECRET_BYTES,
    require_octets,
    require_uint,
)
from crypto.hpke import OVERHEAD_BYTES, EncryptionKey, key_digest, seal
from crypto.keyring import CategorySecret
from crypto.labels import Label
from crypto.signer import SIGNATURE_BYTES, Signer
from crypto.statement import sign_statement, verify_statement
from vocabulary import Category

MAX_BUNDLE_BYTES = 2**20
MAX_KEYS = 4096


@dataclass(frozen=True, slots=True)
class GrantScope:
    """Which consent a bundle serves. Of two bundles for one consent, the one of the higher ``epoch`` is newer.

    Attributes:
        consent_id: as on the ledger, 32 bytes.
        grantee: the member's account, 20 bytes.
        epoch: the keyring's epoch at which the bundle was made.
    """

    chain_id: int
    contract: bytes
    patient: bytes
    consent_id: bytes
    grantee: bytes
    epoch: int

    def __post_init__(self) -> None:
        require_uint("chain id", self.chain_id, CHAIN_ID_BITS)
        require_octets("contract", self.contract, ADDRESS_BYTES)
        require_octets("patient", self.patient, ADDRESS_BYTES)
        require_octets("consent id", self.consent_id, DIGEST_BYTES)
        require_octets("grantee", self.grantee, ADDRESS_BYTES)
        require_uint("epoch", self.epoch, EPOCH_BITS)


@dataclass(frozen=True, slots=True)
class RecordShare:
    """One record's consent share, 32 bytes: what a grant of a single record hands over."""

    record_id: bytes
    consent_share: bytes = field(repr=False)

    def __post_init__(self) -> None:
        require_octets("record id", self.record_id, DIGEST_BYTES)
        require_octets("consent share", self.consent_share, SECRET_BYTES)


@dataclass(frozen=True, slots=True)
class GrantedKey:
    """The public side of one handed-over key: where it applies, and the digest by which headers name it."""

    category: Category
    epoch_from: int
    epoch_until: int | None
    key_digest: bytes


@dataclass(frozen=True, slots=True)
class GrantBundle:
    """A signed bundle. Exactly one of ``keys`` (not empty) and ``record_id`` says what ``sealed`` holds."""

    scope: GrantScope
    recipient: bytes
    keys: tuple[GrantedKey, ...]
    record_id: bytes | None
    sealed: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if bool(self.keys) == (self.record_id is not None):
            raise FormatError(
                "grant bundle: expected either category keys or one record; came both or neither"
            )
        if len(self.keys) > MAX_KEYS:
            raise FormatError(f"grant bundle: expected at most {MAX_KEYS} keys; came {len(self.keys)}")
        order = [(key.category, key.epoch_from) for key in self.keys]
        if order != sorted(set(order)):
            raise FormatError(
                "grant bundle: expected keys by category and epoch, each once; came another order"
            )
        require_octets(
            "grant bundle: sealed secrets",
            self.sealed,
            OVERHEAD_BYTES + SECRET_BYTES * max(1, len(self.keys)),
        )
        require_octets("grant bundle: signature", self.signature, SIGNATURE_BYTES)

    def to_bytes(self) -> bytes:
        """The canonical bytes, signature included."""
        return canonical.encode(
            Label.GRANT_BUNDLE,
            {
                **_terms(self.scope, self.recipient, self.keys, self.record_id),
                "sealed": self.sealed,
                "signature": self.signature,
            },
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "GrantBundle":
        """The bundle in ``data``, its signature checked: the pseudonym made it.

        Raises:
            FormatError: it is not the canonical encoding of a bundle, or over 1 MiB.
            SignatureError: the patient that it names did not sign it.
        """
        fields = canonical.decode(data, Label.GRANT_BUNDLE, MAX_BUNDLE_BYTES)
        bundle = cls(
            scope=GrantScope(
                chain_id=fields.uint("chainId", CHAIN_ID_BITS),
                contract=fields.octets("contract", ADDRESS_BYTES),
                patient=fields.octets("patient", ADDRESS_BYTES),
                consent_id=fields.octets("consentId", DIGEST_BYTES),
                grantee=fields.octets("grantee", ADDRESS_BYTES),
                epoch=fields.uint("epoch", EPOCH_BITS),
            ),
            recipient=fields.octets("keyDigest", DIGEST_BYTES),
            keys=tuple(_read_key(entry) for entry in fields.maps("keys", MAX_KEYS)),
            record_id=fields.octets("recordId", DIGEST_BYTES) if "recordId" in fields else None,
            sealed=fields.octets_up_to("sealed", MAX_BUNDLE_BYTES),
            signature=fields.octets("signature", SIGNATURE_BYTES),
        )
        fields.done()
        bundle.verify()
        return bundle

    def verify(self) -> None:
        """Checks the pseudonym's signature.

        Raises:
            SignatureError: the patient that the bundle names did not sign it.
        """
        body = _signed_body(_terms(self.scope, self.recipient, self.keys, self.record_id), self.sealed)
        verify_statement(Label.GRANT_BUNDLE, body, self.signature, self.scope.patient)


@dataclass(frozen=True, slots=True)
class OpenedGrant:
    """What a grantee holds after opening a bundle: category secrets, or one record's consent share."""

    scope: GrantScope
    category_secrets: tuple[CategorySecret, ...]
    record: RecordShare | None

    def key_of(self, category_key_digest: bytes) -> EncryptionKey | None:
        """The key that a header names by ``category_key_digest`` (32 bytes), if this grant hands it over."""
        for secret in self.category_secrets:
            if secret.key.digest == category_key_digest:
                return secret.key
        return None


def make_grant_bundle(
    signer: Signer,
    scope: GrantScope,
    grantee_public: bytes,
    *,
    category_secrets: Sequence[CategorySecret] = (),
    record: RecordShare | None = None,
) -> GrantBundle:
    """Seals secrets to the grantee's key (1216 bytes) and signs the whole as the pseudonym.

    Raises:
        SignatureError: ``signer`` is not the patient of ``scope``.
        FormatError: not exactly one of ``category_secrets`` and ``record`` came, or a version came twice.
    """
    if signer.address != scope.patient:
        raise SignatureError(
            f"expected the signer of pseudonym 0x{scope.patient.hex()}; came 0x{signer.address.hex()}"
        )
    ordered = sorted(category_secrets, key=lambda secret: (secret.category, secret.epoch_from))
    keys = tuple(
        GrantedKey(secret.category, secret.epoch_from, secret.epoch_until, secret.key.digest)
        for secret in ordered
    )
    record_id = None if record is None else record.record_id
    recipient = key_digest(grantee_public)
    terms = _terms(scope, recipient, keys, record_id)
    plaintext = b"".join(secret.key.seed for secret in ordered) + (
        b"" if record is None else record.consent_share
    )
    sealed = seal(plaintext, grantee_public, grant_info(scope, recipient, keys, record_id))
    signature = sign_statement(signer, Label.GRANT_BUNDLE, _signed_body(terms, sealed))
    return GrantBundle(scope, recipient, keys, record_id, sealed, signature)


def open_grant_bundle(
    bundle: GrantBundle, key: EncryptionKey, *, chain_id: int, contract: bytes, grantee: bytes
) -> OpenedGrant:
    """Opens a bundle as ``grantee``, checking everything but the ledger's consent itself.

    1. The pseudonym signed it. 2. It is for this ledger and this grantee. 3. It is sealed to ``key``.
    4. Each secret is the key whose digest the patient named.

    Raises:
        SignatureError: check 1 fails.
        HeaderError: check 2 fails: the bundle is for another ledger or member.
        OpenError: check 3 or 4 fails.
    """
    bundle.verify()
    scope = bundle.scope
    if (scope.chain_id, scope.contract, scope.grantee) != (chain_id, contract, grantee):
        raise HeaderError("grant bundle: expected one for this ledger and this member; came one for another")
    if key.digest != bundle.recipient:
        raise OpenError(
            f"grant bundle: expected the key 0x{bundle.recipient.hex()}; came 0x{key.digest.hex()}"
        )
    plaintext = key.open(bundle.sealed, grant_info(scope, bundle.recipient, bundle.keys, bundle.record_id))
    if bundle.record_id is not None:
        return OpenedGrant(scope, (), RecordShare(bundle.record_id, plaintext))
    secrets = []
    for position, granted in enumerate(bundle.keys):
        seed = plaintext[position * SECRET_BYTES : (position + 1) * SECRET_BYTES]
        secret = EncryptionKey.from_seed(seed)
        if secret.digest != granted.key_digest:
            raise OpenError(
                f"grant bundle: expected the secret of key 0x{granted.key_digest.hex()} for "
                f"{granted.category.label}; its patient sealed another"
            )
        secrets.append(CategorySecret(granted.category, granted.epoch_from, granted.epoch_until, secret))
    return OpenedGrant(scope, tuple(secrets), None)


def grant_info(
    scope: GrantScope, recipient: bytes, keys: tuple[GrantedKey, ...], record_id: bytes | None
) -> bytes:
    """The HPKE info of a bundle's secrets: label and zero, SHA-256 of the canonical terms (32).

    The terms hold the scope, the recipient's key digest and the list of what is sealed.
    """
    terms = canonical.encode(Label.GRANT_SECRETS, _terms(scope, recipient, keys, record_id))
    return Label.GRANT_SECRETS.prefix + hashlib.sha256(terms).digest()


def _terms(
    scope: GrantScope, recipient: bytes, keys: tuple[GrantedKey, ...], record_id: bytes | None
) -> dict[str, object]:
    terms: dict[str, object] = {
        "chainId": scope.chain_id,
        "contract": scope.contract,
        "patient": scope.patient,
        "consentId": scope.consent_id,
        "grantee": scope.grantee,
        "epoch": scope.epoch,
        "keyDigest": recipient,
        "keys": [_key_fields(key) for key in keys],
    }
    return terms if record_id is None else {**terms, "recordId": record_id}


def _signed_body(terms: dict[str, object], sealed: bytes) -> bytes:
    return canonical.encode(Label.GRANT_BUNDLE, {**terms, "sealed": sealed})


def _key_fields(key: GrantedKey) -> dict[str, object]:
    fields: dict[str, object] = {
        "category": key.category.value,
        "epochFrom": key.epoch_from,
        "keyDigest": key.key_digest,
    }
    return fields if key.epoch_until is None else {**fields, "epochUntil": key.epoch_until}


def _read_key(fields: Fields) -> GrantedKey:
    key = GrantedKey(
        category=category_field(fields),
        epoch_from=fields.uint("epochFrom", EPOCH_BITS),
        epoch_until=fields.uint("epochUntil", EPOCH_BITS) if "epochUntil" in fields else None,
        key_digest=fields.octets("keyDigest", DIGEST_BYTES),
    )
    fields.done()
    return key
