"""Sizes beyond which a body is refused before it is parsed, and counts beyond which a list is."""

BLOCK_BYTES = 2 * 1024 * 1024
"""One content-addressed block, as in Kubo's ``block/put``."""
BUNDLE_BYTES = 32 * 1024 * 1024
"""One FHIR bundle as a hospital's system hands it over."""
BACKUP_BYTES = 4 * 1024 * 1024
"""A wallet's encrypted backup."""
KEYRING_BYTES = 64 * 1024
"""A keyring document: 33 X-Wing public keys and their frame."""
GRANT_BYTES = 512 * 1024
"""A grant bundle: one X-Wing seal for each version of a category key."""
DEPOSIT_BYTES = 4 * 1024 * 1024
"""A batch of deposits as JSON, the blocks that come with it included."""
JSON_BYTES = 256 * 1024
"""Any other body."""
READ_BYTES = 512 * 1024 * 1024
"""An answer of a member's own node to its own staff."""

MESSAGES_PER_RELAY = 50
RECORDS_PER_REQUEST = 200
DEPOSITS_PER_REQUEST = 40
INTRODUCTION_CHARACTERS = 200
IDENTIFIERS_PER_PATIENT = 20

REQUEST_AGE_SECONDS = 900
"""How long after its creation a signed request is still taken; its nonce is remembered four times as long."""
