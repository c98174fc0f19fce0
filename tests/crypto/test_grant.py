"""Grant bundles: what a consent hands over, and each way to misuse one."""

from dataclasses import fields, replace

import cbor2
import pytest

from crypto.envelope import open_consent_wrap
from crypto.errors import FormatError, HeaderError, OpenError, SignatureError
from crypto.grant import (
    GrantBundle,
    GrantScope,
    RecordShare,
    grant_info,
    make_grant_bundle,
    open_grant_bundle,
)
from crypto.hpke import EncryptionKey, seal
from crypto.keyring import KeyringSecrets
from crypto.labels import Label
from crypto.signer import AccountKey
from crypto.statement import sign_statement
from vocabulary import Category

PATIENT = AccountKey.from_bytes(b"\x01" * 32)
GRANTEE = EncryptionKey.from_seed(b"\x02" * 32)
CONTRACT, MEMBER = b"\x11" * 20, b"\x44" * 20
SCOPE = GrantScope(31337, CONTRACT, PATIENT.address, b"\x22" * 32, MEMBER, 3)
SECRETS = KeyringSecrets.generate(
    31337, CONTRACT, PATIENT.address, [Category.LABORATORY, Category.IMAGING]
).rotate([Category.IMAGING])
VERSIONS = (*SECRETS.category_secrets(Category.IMAGING), *SECRETS.category_secrets(Category.LABORATORY))


def bundle_of(**changed: object) -> GrantBundle:
    return make_grant_bundle(PATIENT, SCOPE, GRANTEE.public, **({"category_secrets": VERSIONS} | changed))


def open_as_member(bundle: GrantBundle, key: EncryptionKey = GRANTEE, **changed: object):
    return open_grant_bundle(
        bundle, key, **({"chain_id": 31337, "contract": CONTRACT, "grantee": MEMBER} | changed)
    )


def resigned(bundle: GrantBundle, **changed: object) -> GrantBundle:
    """The bundle with fields changed and signed again by the patient: only the sealing can still refuse it."""
    bundle = replace(bundle, **changed)
    document = cbor2.loads(bundle.to_bytes())
    del document["signature"]
    body = cbor2.dumps(document, canonical=True)
    return replace(bundle, signature=sign_statement(PATIENT, Label.GRANT_BUNDLE, body))


def test_open_bundle_of_categories_gives_every_version_in_order():
    opened = open_as_member(GrantBundle.from_bytes(bundle_of().to_bytes()))
    assert opened.record is None
    assert opened.scope == SCOPE
    assert [(s.category, s.epoch_from, s.epoch_until) for s in opened.category_secrets] == [
        (Category.LABORATORY, 1, None),
        (Category.IMAGING, 1, 1),
        (Category.IMAGING, 2, None),
    ]
    assert {s.key for s in opened.category_secrets} == {s.key for s in VERSIONS}
    assert opened.key_of(VERSIONS[0].key.digest) == VERSIONS[0].key
    assert opened.key_of(bytes(32)) is None


def test_open_bundle_of_one_record_gives_its_consent_share_alone(sealed):
    share = open_consent_wrap(sealed.category, sealed.record.consent_wrap, sealed.record.header)
    record = RecordShare(sealed.identity.record_id, share)
    bundle = bundle_of(category_secrets=(), record=record)
    opened = open_as_member(GrantBundle.from_bytes(bundle.to_bytes()))
    assert opened.record == record
    assert opened.category_secrets == ()
    assert share.hex() not in repr(opened) + repr(bundle)


@pytest.mark.parametrize("name", [field.name for field in fields(GrantScope)])
def test_attack_bind_sealed_secrets_to_another_scope_does_not_open(name):
    value = getattr(SCOPE, name)
    other = value + 1 if isinstance(value, int) else b"\x99" * len(value)
    changed = replace(SCOPE, **{name: other})
    bundle = bundle_of()
    # Whoever opens it learns only that it does not: the info is another.
    with pytest.raises(OpenError):
        GRANTEE.open(bundle.sealed, grant_info(changed, bundle.recipient, bundle.keys, None))
    with pytest.raises(SignatureError):
        open_as_member(replace(bundle, scope=changed))


def test_attack_pass_a_bundle_on_to_another_member_is_refused():
    with pytest.raises(HeaderError, match="for another"):
        open_as_member(bundle_of(), grantee=b"\x55" * 20)
    with pytest.raises(HeaderError):
        open_as_member(bundle_of(), chain_id=1)
    with pytest.raises(HeaderError):
        open_as_member(bundle_of(), contract=b"\x12" * 20)


def test_open_with_another_key_names_both():
    other = EncryptionKey.from_seed(b"\x03" * 32)
    with pytest.raises(OpenError, match=f"{GRANTEE.digest.hex()}.*{other.digest.hex()}"):
        open_as_member(bundle_of(), other)


def test_attack_widen_epochs_of_a_granted_key_is_refused():
    bundle = bundle_of()
    wider = replace(bundle.keys[1], epoch_until=None)
    with pytest.raises(OpenError):
        open_as_member(resigned(bundle, keys=(bundle.keys[0], wider, bundle.keys[2])))


def test_attack_patient_names_a_key_but_seals_another_is_found():
    bundle = bundle_of(category_secrets=VERSIONS[:1])
    info = grant_info(SCOPE, bundle.recipient, bundle.keys, None)
    lied = resigned(bundle, sealed=seal(bytes(32), GRANTEE.public, info))
    with pytest.raises(OpenError, match="sealed another"):
        open_as_member(lied)


def test_attack_record_share_passed_as_a_category_key_does_not_open():
    record = bundle_of(category_secrets=(), record=RecordShare(b"\x22" * 32, bytes(32)))
    granted = bundle_of(category_secrets=VERSIONS[:1])
    with pytest.raises(OpenError):
        open_as_member(resigned(granted, sealed=record.sealed))


def test_make_bundle_by_another_signer_is_refused():
    with pytest.raises(SignatureError, match="expected the signer of pseudonym"):
        make_grant_bundle(
            AccountKey.from_bytes(b"\x09" * 32), SCOPE, GRANTEE.public, category_secrets=VERSIONS
        )


def test_make_bundle_of_both_or_neither_or_twice_is_refused():
    record = RecordShare(b"\x22" * 32, bytes(32))
    for changed in ({"record": record}, {"category_secrets": ()}, {"category_secrets": VERSIONS + VERSIONS}):
        with pytest.raises(FormatError):
            bundle_of(**changed)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("chainId", 1, SignatureError),
        ("contract", b"\x99" * 20, SignatureError),
        ("patient", b"\x99" * 20, SignatureError),
        ("consentId", b"\x99" * 32, SignatureError),
        ("grantee", b"\x99" * 20, SignatureError),
        ("epoch", 4, SignatureError),
        ("keyDigest", b"\x99" * 32, SignatureError),
        ("signature", bytes(65), SignatureError),
        ("recordId", b"\x99" * 32, FormatError),
        ("keys", [], FormatError),
        ("sealed", b"", FormatError),
        ("surprise", 1, FormatError),
    ],
)
def test_attack_alter_any_field_of_a_bundle_is_refused(name, value, error):
    document = cbor2.loads(bundle_of().to_bytes()) | {name: value}
    with pytest.raises(error):
        GrantBundle.from_bytes(cbor2.dumps(document, canonical=True))


def test_attack_alter_the_sealed_bytes_is_refused():
    bundle = bundle_of()
    with pytest.raises(SignatureError):
        open_as_member(replace(bundle, sealed=bundle.sealed[:-1] + b"\x00"))
