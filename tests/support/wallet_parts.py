"""Made-up parts for tests of the wallet's pure logic: contents, members, records, consents."""

import hashlib
import secrets

from crypto.keyring import KeyringSecrets
from crypto.passphrase import PassphraseCost
from crypto.recovery import RecoveryPhrase
from vocabulary import UNDATED, Category, DayPeriod, Purpose, Role
from wallet.content import (
    BackupAccess,
    KnownNode,
    Relationship,
    RelationshipStatus,
    VaultContent,
)
from wallet.pseudonyms import pseudonym_key
from wire.ledger import BlockReference, MemberView
from wire.patients import ConsentView, RecordView

CHEAP = PassphraseCost(memory_kib=64, iterations=1, lanes=1, scrypt_n=2)
CHAIN_ID = 31337
CONTRACT = bytes(range(20))
NOW = 1_800_000_000


def digest(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def block(number: int = 7, branch: str = "main", time: int = NOW) -> BlockReference:
    return BlockReference(number=number, hash=digest("block", number, branch), time=time)


def member(name: str, *roles: Role, active: bool = True) -> MemberView:
    return MemberView(
        address=digest("member", name)[:20],
        name=name,
        endpoint=f"http://{name.replace(' ', '-').lower()}.example",
        roles=roles or (Role.PROVIDER, Role.CONSUMER, Role.CUSTODIAN),
        active=active,
        key_version=1,
        encryption_key=digest("key", name) * 38,
        transport_key=digest("transport", name),
    )


def record(
    patient: bytes,
    category: Category = Category.LABORATORY,
    period: DayPeriod = UNDATED,
    epoch: int = 1,
    *,
    restricted: bool = False,
    retracted: bool = False,
    name: str = "",
) -> RecordView:
    return RecordView(
        record_id=digest("record", patient, category, period, epoch, name),
        patient=patient,
        author=digest("author")[:20],
        category=category,
        start_day=period.start_day,
        end_day=period.end_day,
        epoch=epoch,
        superseded=False,
        retracted=retracted,
        restricted=restricted,
        status_nonce=0,
        cid="bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",
        header_digest=digest("header"),
        payload_commitment=digest("commitment"),
        published_at=NOW,
    )


def consent(
    patient: bytes,
    grantee: bytes,
    categories: tuple[Category, ...] = (Category.LABORATORY,),
    *,
    record_id: bytes | None = None,
    valid_from: int = NOW - 10,
    valid_until: int = NOW + 1000,
    data: DayPeriod = UNDATED,
    max_uses: int = 0,
    uses: int = 0,
    revoked: bool = False,
    nonce: int = 1,
) -> ConsentView:
    return ConsentView(
        consent_id=digest("consent", patient, grantee, record_id, nonce),
        patient=patient,
        grantee=grantee,
        record_id=record_id,
        categories=categories,
        purposes=(Purpose.TREAT,),
        valid_from=valid_from,
        valid_until=valid_until,
        data_from=data.start_day,
        data_until=data.end_day,
        max_uses=max_uses,
        uses=uses,
        nonce=nonce,
        revoked=revoked,
    )


def relationship(
    seed: bytes, index: int, provider: MemberView, categories: tuple[Category, ...] = (Category.LABORATORY,)
) -> Relationship:
    patient = pseudonym_key(seed, index).address
    return Relationship(
        index=index,
        patient=patient,
        provider=provider.address,
        provider_name=provider.name,
        status=RelationshipStatus.ACTIVE,
        keyring=KeyringSecrets.generate(CHAIN_ID, CONTRACT, patient, categories).to_bytes(),
    )


def vault_content(phrase: RecoveryPhrase | None = None) -> VaultContent:
    seed = secrets.token_bytes(32)
    keys = (phrase or RecoveryPhrase.generate()).backup_keys()
    hospital = member("Seoul Hospital")
    return VaultContent(
        seed=seed,
        chain_id=CHAIN_ID,
        contract=CONTRACT,
        genesis_hash=digest("genesis"),
        deployment_block=1,
        nodes=(KnownNode(url=hospital.endpoint, member=hospital.address, name=hospital.name),),
        backup=BackupAccess(
            locator=keys.locator,
            encryption_key=keys.encryption_key,
            signing_seed=keys.signing_seed,
            version=3,
        ),
        relationships=(relationship(seed, 0, hospital),),
    )
