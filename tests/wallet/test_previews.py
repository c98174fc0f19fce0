"""Previews: what a person is told before signing is what the signature does."""

from hypothesis import given
from hypothesis import strategies as st
from wallet_parts import NOW, block, consent, digest, member, record, relationship

from vocabulary import Category, DayPeriod, Purpose, Reason, Role
from wallet.content import KnownConsent
from wallet.directory import Directory
from wallet.overview import ConsentState, covers, state_of, summary_of
from wallet.previews import plan_grant, plan_revocation
from wallet.terms import GrantWish, Terms
from wire.ledger import MemberView
from wire.patients import AccessView

SEED = bytes(range(32))
HOSPITAL, OTHER = member("Seoul Hospital"), member("Busan Hospital")
CLINIC, INSTITUTE = member("Clinic"), member("Institute", Role.RESEARCHER)
FIRST, SECOND = relationship(SEED, 0, HOSPITAL), relationship(SEED, 1, OTHER)
NAMES = {FIRST.patient: FIRST.provider_name, SECOND.patient: SECOND.provider_name}
DAYS = DayPeriod(738_000, 738_010)


def wish(**changes: object) -> GrantWish:
    values: dict[str, object] = {
        "grantees": ("Clinic",),
        "purposes": (Purpose.TREAT,),
        "valid_days": 1,
        "categories": (Category.LABORATORY, Category.GENOMICS),
    }
    return GrantWish(**{**values, **changes})  # type: ignore[arg-type]


def plan(grantees: list[MemberView], known: tuple[KnownConsent, ...] = (), **changes: object):  # type: ignore[no-untyped-def]
    wanted = wish(**changes)
    terms = Terms.of(wanted, wanted.categories or (Category.LABORATORY,), NOW)
    holders = [
        (FIRST, [record(FIRST.patient, period=DAYS), record(FIRST.patient, Category.IMAGING, DAYS)]),
        (SECOND, [record(SECOND.patient, period=DAYS), record(SECOND.patient, restricted=True)]),
    ]
    return plan_grant(wanted, terms, grantees, holders, known, NAMES)


def known(patient: bytes, grantee: MemberView) -> KnownConsent:
    return KnownConsent(
        patient=patient,
        consent_id=digest("known", patient, grantee.address),
        grantee=grantee.address,
        grantee_name=grantee.name,
        record_id=None,
        nonce=1,
        terms=Terms.of(wish(), (Category.LABORATORY,), NOW),
    )


def test_plan_grant_counts_only_records_that_the_terms_cover() -> None:
    preview = plan([CLINIC])
    assert [(grant.provider_name, grant.records) for grant in preview.grants] == [
        ("Seoul Hospital", 1),
        ("Busan Hospital", 1),
    ]
    assert preview.grants[0].records_by_category == ((Category.LABORATORY, 1),)


def test_plan_grant_outside_the_data_period_covers_nothing() -> None:
    preview = plan([CLINIC], data_period=DayPeriod(738_001, 738_010))
    assert [grant.records for grant in preview.grants] == [0, 0]


def test_plan_grant_from_two_pseudonyms_warns_that_they_are_linked() -> None:
    (linked,) = plan([CLINIC]).linked
    assert linked.grantee_name == "Clinic"
    assert linked.provider_names == ("Busan Hospital", "Seoul Hospital")


def test_plan_grant_to_one_who_has_both_already_warns_no_more() -> None:
    assert plan([CLINIC], (known(FIRST.patient, CLINIC), known(SECOND.patient, CLINIC))).linked == ()


def test_plan_grant_links_with_an_older_consent_of_another_pseudonym() -> None:
    wanted = wish()
    terms = Terms.of(wanted, wanted.categories, NOW)
    preview = plan_grant(wanted, terms, [CLINIC], [(FIRST, [])], [known(SECOND.patient, CLINIC)], NAMES)
    assert len(preview.linked) == 1


def test_plan_grant_names_sensitive_categories_and_roles_that_lack() -> None:
    preview = plan([INSTITUTE])
    assert preview.sensitive == (Category.GENOMICS,)
    assert "consumer" in preview.warnings[0]
    assert plan([INSTITUTE], purposes=(Purpose.HRESCH,)).warnings == ()


@given(
    valid_from=st.integers(0, 4),
    valid_until=st.integers(0, 4),
    max_uses=st.integers(0, 2),
    uses=st.integers(0, 2),
    revoked=st.booleans(),
    now=st.integers(0, 4),
)
def test_state_of_any_consent_is_active_exactly_when_the_ledger_would_count_it(
    valid_from: int, valid_until: int, max_uses: int, uses: int, revoked: bool, now: int
) -> None:
    view = consent(
        FIRST.patient,
        CLINIC.address,
        valid_from=valid_from,
        valid_until=valid_until,
        max_uses=max_uses,
        uses=uses,
        revoked=revoked,
    )
    counts = not revoked and valid_from <= now < valid_until and not (max_uses and uses >= max_uses)
    assert (state_of(view, now) is ConsentState.ACTIVE) == counts


def test_covers_restricted_record_only_by_its_own_consent() -> None:
    hidden = record(FIRST.patient, restricted=True)
    assert not covers(consent(FIRST.patient, CLINIC.address), hidden)
    assert covers(consent(FIRST.patient, CLINIC.address, record_id=hidden.record_id), hidden)


def access(
    consent_id: bytes, record_id: bytes, sequence: int, reason: Reason = Reason.PERMITTED
) -> AccessView:
    return AccessView(
        patient=FIRST.patient,
        sequence=sequence,
        record_id=record_id,
        requester=CLINIC.address,
        consent_id=consent_id,
        purpose=Purpose.TREAT,
        reason=reason,
        time=NOW,
        block_number=1,
        transaction_hash=bytes(32),
        response_key_digest=bytes(32),
        person_commitment=bytes(32),
    )


def test_plan_revocation_counts_what_is_lost_and_what_was_read() -> None:
    directory = Directory(block(), (CLINIC, HOSPITAL, OTHER))
    laboratory = [record(FIRST.patient, period=DAYS, name=str(number)) for number in range(3)]
    leaving = consent(FIRST.patient, CLINIC.address)
    kept_one = consent(FIRST.patient, CLINIC.address, record_id=laboratory[0].record_id, nonce=2)
    staying = consent(FIRST.patient, OTHER.address, nonce=3)
    over = consent(FIRST.patient, HOSPITAL.address, nonce=4, valid_until=NOW)
    summary = summary_of(leaving, FIRST, directory, NOW, {})
    preview = plan_revocation(
        summary,
        (Category.LABORATORY,),
        [leaving, kept_one, staying, over],
        laboratory,
        [
            access(leaving.consent_id, laboratory[1].record_id, 1),
            access(leaving.consent_id, laboratory[1].record_id, 2),
            access(leaving.consent_id, laboratory[2].record_id, 3, Reason.PURPOSE_NOT_COVERED),
            access(kept_one.consent_id, laboratory[0].record_id, 4),
        ],
        {OTHER.address: OTHER.name},
        NOW,
    )
    assert (preview.records_lost, preview.records_read, preview.reads) == (2, 1, 2)
    assert preview.staying == ("Busan Hospital",)
