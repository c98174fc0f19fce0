"""Python's decision against the contract's, on generated worlds: they may never disagree.

Each world is set up on a real chain; then every combination of consent, record, purpose, requester and boundary time
is asked of both, and a drawn sequence of requests is really sent, so that uses are counted. Fields are drawn from
small ranges, so that boundaries meet.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import pytest
from chain_fixtures import NODE_MODULES, LedgerWorld, Validators
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ledger import calls, events, messages
from ledger.anvil import Anvil, find_anvil
from ledger.decide import AccessQuery, decide
from ledger.errors import ContractRefused, LedgerError, UnknownMember, UnknownPurpose, UnknownRecord
from ledger.messages import (
    NO_RECORD,
    AccessGroup,
    AccessRequest,
    DenyPolicy,
    Freeze,
    Grant,
    RelationshipEnd,
    Restriction,
    Revocation,
)
from ledger.refusals import refusal
from ledger.state import LedgerState
from vocabulary import LAST_DAY, Purpose, Reason, Role

WORLDS = 4
LEAST_DECISIONS = 2_000
STEP_SECONDS = 200
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
WORD = b"\x07" * 32
PURPOSES = (Purpose.TREAT, Purpose.HRESCH, Purpose.BTG)
REQUESTER_ROLES = (
    (Role.CONSUMER,),
    (Role.RESEARCHER,),
    (Role.CONSUMER, Role.RESEARCHER),
    (Role.AUDITOR, Role.CUSTODIAN, Role.PROVIDER),
    (Role.CONSUMER, Role.RESEARCHER),
)
"""The last one is suspended after the set-up."""
STATUSES = ("plain", "plain", "plain", "superseded", "restricted", "retracted", "restricted and retracted")

days = st.sampled_from([0, 0, 1, 2, 3, LAST_DAY, LAST_DAY])
category_masks = st.sampled_from([1, 2, 3, 5, 7, 7, 7])
purpose_masks = st.lists(st.sampled_from(PURPOSES), min_size=1).map(
    lambda some: sum({one.bit for one in some})
)


@dataclass(frozen=True)
class RecordPlan:
    """A record of the patient numbered ``patient``."""

    patient: int
    category: int
    period: tuple[int, int]
    status: str


@dataclass(frozen=True)
class ConsentPlan:
    """A consent; ``record`` is None for one by categories, ``fate`` what becomes of it."""

    patient: int
    requester: int
    record: int | None
    categories: int
    purposes: int
    valid: tuple[int, int]
    data: tuple[int, int]
    max_uses: int
    fate: str


@dataclass(frozen=True)
class Plan:
    """A world: what each patient denies (masks), the records, the consents, and requests to be really sent."""

    denied: list[tuple[int, int]]
    records: list[RecordPlan]
    consents: list[ConsentPlan]
    sent: list[tuple[int, list[int], int, int]]


PATIENTS = ("active", "active", "relationship ended", "frozen")


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    ordered = st.tuples(days, days).map(lambda pair: (min(pair), max(pair)))
    denied = st.sampled_from(
        [(0, 0), (0, 0), (1, 0), (6, 0), (0, Purpose.TREAT.bit), (0, Purpose.HRESCH.bit)]
    )
    records = [
        RecordPlan(draw(st.sampled_from([0, 0, 0, 1, 2, 3])), draw(st.integers(0, 2)), draw(ordered), status)
        for status in STATUSES
    ]
    # In every world, so that each reason is met: a patient who denies nothing, one who denies a category and a
    # purpose, and a frozen one, each with records.
    policies = [(0, 0), (1, Purpose.TREAT.bit), draw(denied), draw(denied)]
    records[0] = replace(records[0], patient=0)
    records[1] = replace(records[1], patient=1, category=0)
    records[2] = replace(records[2], patient=1, category=1)
    records[3] = replace(records[3], patient=3)
    consents = [
        ConsentPlan(
            patient=records[draw(st.integers(0, 2)) if record is None else record].patient,
            requester=draw(st.sampled_from([0, 1, 2, 2, 2, 2, 3, 4])),
            record=record,
            categories=draw(category_masks),
            purposes=draw(purpose_masks),
            valid=draw(
                st.tuples(st.integers(-1, 2), st.integers(1, 3)).map(
                    lambda two: (min(two[0], two[1] - 1), two[1])
                )
            ),
            data=draw(ordered),
            max_uses=draw(st.integers(0, 2)),
            fate=draw(st.sampled_from(["granted", "granted", "granted", "revoked", "revoked unseen"])),
        )
        for record in draw(
            st.lists(st.one_of(st.none(), st.none(), st.integers(0, 6)), min_size=10, max_size=12)
        )
    ]
    consents.extend(always(records[0], uses=draw(st.integers(1, 2))))
    request = st.tuples(
        st.integers(0, len(consents) - 1),
        st.lists(st.integers(0, 6), min_size=1, max_size=4),
        st.sampled_from(PURPOSES),
        st.integers(1, STEP_SECONDS // 4),
    )
    return Plan(policies, records, consents, draw(st.lists(request, min_size=8, max_size=10)))


def always(record: RecordPlan, uses: int) -> list[ConsentPlan]:
    """Consents on the first patient's ``record``: a wide one, whose uses run out, and one too narrow each way."""
    purposes = sum(one.bit for one in PURPOSES)
    wide = ConsentPlan(0, 2, None, 7, purposes, (-1, 3), (0, LAST_DAY), uses, "granted")
    start, end = record.period
    beside = (start + 1, LAST_DAY) if start < LAST_DAY else (0, end - 1)
    return [
        wide,
        replace(wide, categories=7 & ~(1 << record.category)),
        replace(wide, purposes=Purpose.HRESCH.bit),
        replace(wide, data=beside),
    ]


class Built:
    """A plan set up on the chain."""

    def __init__(self, world: LedgerWorld, plan: Plan) -> None:
        self.world, self.plan = world, plan
        self.provider = world.enrol(Role.PROVIDER)
        self.requesters = [world.enrol(*roles) for roles in REQUESTER_ROLES]
        self.patients = [world.register(self.provider) for _ in PATIENTS]
        self.base = world.now()
        self.records = self._publish()
        self.terms = [self._terms(number, consent) for number, consent in enumerate(plan.consents)]
        self._land_consents()
        self._change()
        self.state: LedgerState = world.state()

    def _relay(self, several: list[bytes]) -> None:
        """Relays calls of which none may fail."""
        receipt = self.world.transact(self.provider, calls.relay(several))
        decoded = [events.decode(log) for log in receipt.logs]
        skipped = [refusal(one.reason) for one in decoded if isinstance(one, events.RelayItemSkipped)]
        assert not skipped, skipped

    def _publish(self) -> list[bytes]:
        made = [
            self.world.publication(
                self.patients[record.patient],
                category=record.category,
                start_day=record.period[0],
                end_day=record.period[1],
            )
            for record in self.plan.records
        ]
        self.world.transact(self.provider, calls.publish_batch(made))
        author, scope = self.provider.address, self.world.scope
        return [messages.record_id(scope, author, one.patient, one.nonce) for one in made]

    def _terms(self, number: int, consent: ConsentPlan) -> Grant:
        return self.world.terms(
            self.patients[consent.patient],
            self.requesters[consent.requester],
            record_id=NO_RECORD if consent.record is None else self.records[consent.record],
            categories=consent.categories,
            purposes=consent.purposes,
            valid_from=self.base + consent.valid[0] * STEP_SECONDS,
            valid_until=self.base + consent.valid[1] * STEP_SECONDS,
            data_from=consent.data[0],
            data_until=consent.data[1],
            max_uses=consent.max_uses,
            nonce=number,
        )

    def _land_consents(self) -> None:
        several = []
        for consent, terms in zip(self.plan.consents, self.terms, strict=True):
            patient = self.patients[consent.patient]
            if consent.fate != "revoked unseen":
                several.append(calls.grant(terms, self.world.sign(patient, terms)))
            if consent.fate != "granted":
                revocation = Revocation(terms.patient, terms.grantee, terms.record_id, terms.nonce)
                several.append(calls.revoke(revocation, self.world.sign(patient, revocation)))
        self._relay(several)

    def _change(self) -> None:
        several = []
        for record, record_id in zip(self.plan.records, self.records, strict=True):
            patient = self.patients[record.patient]
            if record.status == "superseded":
                several.append(calls.correct(self.world.publication(patient), record_id))
            if "restricted" in record.status:
                restriction = Restriction(patient.address, record_id, True, 1)
                several.append(calls.restrict_record(restriction, self.world.sign(patient, restriction)))
            if "retracted" in record.status:
                several.append(calls.retract(record_id))
        for status, patient, denied in zip(PATIENTS, self.patients, self.plan.denied, strict=True):
            policy = DenyPolicy(patient.address, *denied, 1)
            several.append(calls.change_deny_policy(policy, self.world.sign(patient, policy)))
            if status == "relationship ended":
                end = RelationshipEnd(patient.address, self.provider.address, 1)
                several.append(calls.end_relationship(end, self.world.sign(patient, end)))
            elif status == "frozen":
                freeze = Freeze(patient.address, 1)
                several.append(calls.freeze_patient(freeze, self.world.sign(patient, freeze)))
        self._relay(several)
        suspended = calls.set_member_active(self.requesters[-1].address, False)
        self.world.transact(self.world.administrator, suspended)

    def combinations(self) -> Iterator[tuple[AccessQuery, int]]:
        """Every record and purpose under each consent, at its boundary times; and the same asked wrongly."""
        for terms, consent in zip(self.terms, self.plan.consents, strict=True):
            grantee, named = terms.grantee, consent.record is not None
            times = (terms.valid_from - 1, terms.valid_from, terms.valid_until - 1, terms.valid_until)
            own = [one for one in self.records if self.state.records[one].patient == terms.patient]
            for record_id, purpose, time in product(own, (Purpose.TREAT, Purpose.HRESCH), times):
                yield AccessQuery(grantee, record_id, terms.nonce, named, purpose), time
            for record_id in set(self.records) - set(own):
                yield AccessQuery(grantee, record_id, terms.nonce, named, Purpose.TREAT), terms.valid_from
            record_id, time = self.records[consent.record or 0], terms.valid_until - 1
            for purpose in Purpose:
                yield AccessQuery(grantee, record_id, terms.nonce, named, purpose), time
            for requester in self.requesters:
                yield AccessQuery(requester.address, record_id, terms.nonce, named, Purpose.TREAT), time
            yield AccessQuery(grantee, record_id, terms.nonce, not named, Purpose.TREAT), time
            yield AccessQuery(grantee, record_id, terms.nonce + 100, named, Purpose.TREAT), time

    def counted(self, time: int) -> list[tuple[int, int, Purpose]]:
        """Consent, record and purpose of the requests that would be permitted now and use up a limited consent."""
        found = []
        for number, (terms, consent) in enumerate(zip(self.terms, self.plan.consents, strict=True)):
            for record, purpose in product(range(len(self.records)), PURPOSES):
                named = consent.record is not None
                query = AccessQuery(terms.grantee, self.records[record], terms.nonce, named, purpose)
                if terms.max_uses and decide(self.state, query, time).permitted:
                    found.append((number, record, purpose))
        return found


def request_of(query: AccessQuery) -> AccessRequest:
    return AccessRequest(query.record_id, query.consent_nonce, query.record_scope, query.purpose, WORD, WORD)


def contract_reasons(world: LedgerWorld, several: list[tuple[AccessQuery, int]]) -> list[Reason]:
    """What the contract answers to each query at its time, without a transaction."""
    asked = [
        [
            {
                "from": "0x" + query.requester.hex(),
                "to": "0x" + world.deployment.address.hex(),
                "data": "0x" + calls.request_access(request_of(query)).hex(),
            },
            "latest",
            {},
            {"time": hex(time)},
        ]
        for query, time in several
    ]
    answers: list[str] = []
    for start in range(0, len(asked), 250):
        answers.extend(world.chain.request_many("eth_call", asked[start : start + 250]))
    return [Reason(int(answer, 16)) for answer in answers]


def assert_same(query: AccessQuery, time: int, python: Reason, contract: Reason) -> None:
    assert python is contract, (
        f"at {time} Python decides {python.name}, the contract {contract.name}: {query}"
    )


def ask_and_compare(built: Built, seen: Counter[Reason]) -> None:
    """Asks both for every combination, without a transaction."""
    several = list(built.combinations())
    for (query, time), contract in zip(several, contract_reasons(built.world, several), strict=True):
        python = decide(built.state, query, time).reason
        assert_same(query, time, python, contract)
        seen[python] += 1


def send_and_compare(built: Built, seen: Counter[Reason]) -> None:
    """Really sends the plan's requests, one transaction each, and decides each again in Python on the state before."""
    world = built.world
    for number, (consent_number, record_numbers, purpose, seconds) in enumerate(built.plan.sent):
        # Every second request is one that is permitted and counted, where there is any: so that uses run out.
        counted = built.counted(world.now() + seconds) if number % 2 == 0 else []
        if counted:
            consent_number, record_number, purpose = counted[consent_number % len(counted)]
            record_numbers = [record_number, *record_numbers]
        terms, consent = built.terms[consent_number], built.plan.consents[consent_number]
        requester = built.requesters[consent.requester]
        named = consent.record is not None
        records = [terms.record_id] if named else [built.records[index] for index in record_numbers]
        patient = built.state.records[records[0]].patient
        records = [one for one in records if built.state.records[one].patient == patient]
        queries = [AccessQuery(requester.address, one, terms.nonce, named, purpose) for one in records]
        if len(queries) == 1 and seconds % 2:
            call = calls.request_access(request_of(queries[0]))
        else:
            group = AccessGroup(terms.nonce, named, tuple(records))
            call = calls.request_access_batch(purpose, WORD, WORD, [group, group])
            queries = queries * 2
        if isinstance(world.host, Anvil):
            world.host.set_next_block_time(world.now() + seconds)
        receipt = world.transact(requester, call)
        decoded = [events.decode(log) for log in receipt.logs]
        logged = [one for event in decoded for one in events.accesses(event)]  # type: ignore[arg-type]
        assert [one.record_id for one in logged] == [query.record_id for query in queries]
        working = built.state.copy()
        for query, one in zip(queries, logged, strict=True):
            decision = decide(working, query, one.access.time)
            assert_same(query, one.access.time, decision.reason, Reason(one.access.reason))
            assert decision.consent_id == one.access.consent_id
            assert decision.patient == one.patient
            unused = decide(working, query, one.access.time, check_uses=False)
            expected = Reason.PERMITTED if decision.reason is Reason.USES_EXHAUSTED else decision.reason
            assert unused.reason is expected
            if decision.permitted and working.consents[decision.consent_id].max_uses:
                used = working.consents[decision.consent_id]
                working.consents[decision.consent_id] = replace(used, uses=used.uses + 1)
            seen[decision.reason] += 1
        built.state = world.state()
        assert built.state.consents == working.consents


@pytest.fixture(scope="module")
def moving_anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    """A chain whose time these tests move."""
    directory = tmp_path_factory.mktemp("moving-anvil")
    with Anvil(directory, binary=find_anvil(NODE_MODULES), block_seconds=None) as running:
        yield running


def test_python_and_contract_decide_alike_on_generated_worlds(moving_anvil: Anvil) -> None:
    seen: Counter[Reason] = Counter()

    @given(plans())
    # Not shrunk: the message names the disagreement, and shrinking whole worlds takes minutes.
    @settings(max_examples=WORLDS, deadline=None, phases=PHASES, suppress_health_check=list(HealthCheck))
    def compare(plan: Plan) -> None:
        world = LedgerWorld(moving_anvil)
        try:
            built = Built(world, plan)
            ask_and_compare(built, seen)
            send_and_compare(built, seen)
            ask_and_compare(built, seen)
        finally:
            world.close()

    compare()
    assert seen.total() >= LEAST_DECISIONS
    assert set(seen) == set(Reason), f"never reached: {set(Reason) - set(seen)}"


@pytest.mark.network
def test_python_and_contract_decide_alike_on_validators(validators: Validators) -> None:
    """A smaller sample: nobody moves the time of this chain, and each request waits for its block."""
    seen: Counter[Reason] = Counter()

    @given(plans())
    @settings(max_examples=2, deadline=None, phases=PHASES, suppress_health_check=list(HealthCheck))
    def compare(plan: Plan) -> None:
        world = LedgerWorld(validators)
        try:
            send_and_compare(Built(world, plan), seen)
        finally:
            world.close()

    compare()
    assert seen.total() > 0


def test_what_the_contract_reverts_python_raises(ledger_world: LedgerWorld) -> None:
    world = ledger_world
    provider, member = world.enrol(Role.PROVIDER), world.enrol(Role.CONSUMER)
    record_id = world.publish(provider, world.register(provider))
    stranger = world.new_account().address
    wrong: list[tuple[AccessQuery, type[LedgerError]]] = [
        (AccessQuery(member.address, b"\x01" * 32, 0, False, Purpose.TREAT), UnknownRecord),
        (AccessQuery(stranger, record_id, 0, False, Purpose.TREAT), UnknownMember),
        (AccessQuery(member.address, record_id, 0, False, 8), UnknownPurpose),
        (AccessQuery(member.address, record_id, 0, False, 255), UnknownPurpose),
        (AccessQuery(stranger, b"\x01" * 32, 0, False, 8), UnknownPurpose),
        (AccessQuery(stranger, b"\x01" * 32, 0, False, Purpose.BTG), UnknownMember),
    ]
    state = world.state()
    for query, error in wrong:
        with pytest.raises(error):
            decide(state, query, world.now())
        with pytest.raises(ContractRefused) as refused:
            world.contract.simulate(calls.request_access(request_of(query)), query.requester)
        assert refused.value.error_name == error.__name__
