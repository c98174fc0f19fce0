"""Every domain label, in one place so that no two compositions can share one.

A label starts what is hashed, signed or bound, so that bytes made for one use can never be taken for another's.
A change of any layout takes a new version in its label.
"""

from enum import StrEnum


class Label(StrEnum):
    """The domain label of each composition and document."""

    RECORD_CONTENT = "phr/v1/record-content"
    OWNER_WRAP = "phr/v1/owner-wrap"
    CONSENT_WRAP = "phr/v1/consent-wrap"
    CUSTODY_WRAP = "phr/v1/custody-wrap"
    JOURNAL_WRAP = "phr/v1/journal-wrap"
    SHARE_COMMITMENT = "phr/v1/share-commitment"
    PAYLOAD = "phr/v1/payload"
    PAYLOAD_COMMITMENT = "phr/v1/payload-commitment"
    HEADER = "phr/v1/header"
    STREAMED_CONTENT = "phr/v2/record-content"
    STREAMED_PAYLOAD = "phr/v2/payload"
    STREAMED_HEADER = "phr/v2/header"
    KEYRING = "phr/v1/keyring"
    KEYRING_SECRETS = "phr/v1/keyring-secrets"
    GRANT_SECRETS = "phr/v1/grant-secrets"
    GRANT_BUNDLE = "phr/v1/grant-bundle"
    RELEASE = "phr/v1/release"
    RELEASE_RECEIPT = "phr/v1/release-receipt"
    PERSON_COMMITMENT = "phr/v1/person-commitment"
    KEYSTORE = "phr/v1/keystore"
    KEYSTORE_SECRETS = "phr/v1/keystore-secrets"
    VAULT = "phr/v1/vault"
    BACKUP = "phr/v1/backup"
    BACKUP_LOCATOR = "phr/v1/backup-locator"
    BACKUP_ENCRYPTION_KEY = "phr/v1/backup-encryption-key"
    BACKUP_SIGNING_KEY = "phr/v1/backup-signing-key"

    @property
    def prefix(self) -> bytes:
        """The label in ASCII and one zero byte: no label holds a zero, so none is another's prefix."""
        return self.value.encode("ascii") + b"\x00"
