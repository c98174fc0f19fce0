"""What a consent hands to its grantee: no key but those whose records it may cover, or one record's share."""

from collections.abc import Sequence

from crypto import CryptoError
from crypto.grant import GrantBundle, GrantScope, RecordShare, make_grant_bundle
from crypto.keyring import CategorySecret, KeyringSecrets
from crypto.opening import open_consent_wrap
from vocabulary import Category, DayPeriod, category_mask
from wallet.directory import Directory
from wallet.errors import NodeAnswerInvalid, NothingToDo, RecordInvalid
from wallet.journal import DeliveryEntry
from wallet.own_copy import fetch_own_copy
from wallet.session import Session
from wire.ledger import MemberView
from wire.patients import ConsentView, GrantDelivery, RecordView


def needed_secrets(
    secrets: KeyringSecrets,
    ledger_epoch: int,
    categories: Sequence[Category],
    data_period: DayPeriod,
    records: Sequence[RecordView],
) -> tuple[CategorySecret, ...]:
    """The key versions that open records which a consent covers, now or later.

    A version that is in force at ``ledger_epoch`` or after it may seal records to come. An older one is needed
    only for a record that there is: nothing is published under an old epoch.

    Args:
        secrets: the keyring, of ``ledger_epoch`` or the next one.
        records: all of the pseudonym.
    """
    needed = []
    for category in categories:
        epochs = {
            record.epoch
            for record in records
            if record.category == category
            and not record.retracted
            and data_period.covers(DayPeriod(record.start_day, record.end_day))
        }
        for secret in secrets.category_secrets(category):
            until = secret.epoch_until
            in_force = until is None or until >= ledger_epoch
            if in_force or any(secret.epoch_from <= epoch <= (until or epoch) for epoch in epochs):
                needed.append(secret)
    return tuple(needed)


def deliver(session: Session, entry: DeliveryEntry, directory: Directory) -> None:
    """Hands a live consent's secrets to its grantee's node, and takes the entry out of the journal.

    A consent that is revoked or over needs nothing; its entry goes too.

    Raises:
        NodeError: the grantee's node did not acknowledge; the entry stays.
    """
    consents = session.consents(entry.patient)
    consent = next((item for item in consents.consents if item.consent_id == entry.consent_id), None)
    if consent is None or consent.revoked or consent.valid_until <= consents.final.time:
        session.replace_entry(entry)
        return
    relationship = session.content.relationship(entry.patient)
    hand_over(session, consent, relationship.secrets, directory)
    session.replace_entry(entry)
    session.progress(f"secrets delivered to {directory.name_of(consent.grantee)}")


def hand_over(session: Session, consent: ConsentView, secrets: KeyringSecrets, directory: Directory) -> None:
    """Makes the bundle of a consent and gives it to the grantee's node.

    Raises:
        NodeError: the node did not acknowledge.
        NothingToDo: the grantee is no active member any more.
    """
    grantee = directory.by_address(consent.grantee)
    if grantee is None or not grantee.active:
        raise NothingToDo(f"{directory.name_of(consent.grantee)} is no active member; it gets no secrets")
    bundle = _bundle(session, consent, secrets, grantee)
    known = {entry.consent_id: entry for entry in session.content.consents}.get(consent.consent_id)
    delivery = GrantDelivery(
        bundle=bundle.to_bytes(), introduction="" if known is None else known.introduction
    )
    key = session.request_key(consent.patient)
    acknowledged = session.node_of(grantee).deliver_grant(key, delivery)
    if acknowledged.consent_id != consent.consent_id or acknowledged.member != grantee.address:
        raise NodeAnswerInvalid(
            grantee.name, "expected an acknowledgement of this consent; came one of another"
        )


def _bundle(
    session: Session, consent: ConsentView, secrets: KeyringSecrets, grantee: MemberView
) -> GrantBundle:
    patient, content = consent.patient, session.content
    scope = GrantScope(
        chain_id=content.chain_id,
        contract=content.contract,
        patient=patient,
        consent_id=consent.consent_id,
        grantee=consent.grantee,
        epoch=secrets.epoch,
    )
    account = session.account(patient)
    records = session.records(patient).records
    if consent.record_id is not None:
        record = next((item for item in records if item.record_id == consent.record_id), None)
        if record is None:
            raise RecordInvalid(f"the ledger has no record 0x{consent.record_id.hex()} of this pseudonym")
        share = record_share(session, record, secrets)
        return make_grant_bundle(account, scope, grantee.encryption_key, record=share)
    keys = needed_secrets(
        secrets,
        session.patient(patient).epoch,
        consent.categories,
        DayPeriod(consent.data_from, consent.data_until),
        records,
    )
    if not keys:
        labels = ", ".join(category.label for category in consent.categories)
        raise NothingToDo(f"the keyring has no keys for {labels}")
    return make_grant_bundle(account, scope, grantee.encryption_key, category_secrets=keys)


def record_share(session: Session, record: RecordView, secrets: KeyringSecrets) -> RecordShare:
    """One record's consent share, out of its consent wrap.

    Raises:
        RecordInvalid: the wrap does not open, or no key of its epoch is in the vault.
    """
    copy = fetch_own_copy(session, record)
    try:
        key = secrets.category_key_at(record.category, copy.header.epoch)
        return RecordShare(record.record_id, open_consent_wrap(key, copy.consent_wrap, copy.header))
    except CryptoError as error:
        raise RecordInvalid(f"record 0x{record.record_id.hex()}: lock 1 does not open: {error}") from error


def intersects(consent: ConsentView, categories: Sequence[Category]) -> bool:
    """Whether a consent by category covers some of ``categories``."""
    return consent.record_id is None and bool(category_mask(consent.categories) & category_mask(categories))
