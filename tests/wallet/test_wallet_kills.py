"""kill -9 in the middle of what a wallet does: after a resume it is as if nothing had happened, and never half done."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_fixtures import Network
from records_flow import observation
from wallet_flow import PASSPHRASE, Person, consented
from wallet_parts import CHEAP

from vocabulary import Category, Reason
from wallet import ConsentState, Wallet

LAB = Category.LABORATORY
SUPPORT = Path(__file__).parents[1] / "support"

_SCRIPT = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from vocabulary import Category, Purpose
    from wallet import GrantWish, Wallet
    from wallet_parts import CHEAP

    path, verb, argument, fatal = sys.argv[1:]

    def progress(step):
        print(step, flush=True)
        if step == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    with Wallet.open(Path(path), os.environ["PASSPHRASE"], cost=CHEAP, progress=progress) as wallet:
        print("ready", flush=True)
        if verb == "revoke":
            wallet.revoke(bytes.fromhex(argument))
        elif verb == "deny":
            wallet.deny((Category.LABORATORY,))
        elif verb == "register":
            wallet.request_registration(argument)
        else:
            wish = GrantWish((argument,), (Purpose.TREAT,), 1, categories=(Category.LABORATORY,))
            wallet.grant(wallet.preview_grant(wish))
    """
)


def start(person: Person, verb: str, argument: str, fatal: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(SUPPORT), "PASSPHRASE": PASSPHRASE}
    return subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, str(person.path), verb, argument, fatal],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )


def run_until_killed(person: Person, verb: str, argument: str, fatal: str) -> list[str]:
    """Runs an operation in a process that kills itself right after a step; returns the steps before."""
    person.wallet.close()
    with start(person, verb, argument, fatal) as process:
        assert process.stdout is not None
        steps = process.stdout.read().splitlines()
    assert process.returncode == -signal.SIGKILL, steps
    person.network.wait_for_all()
    person.wallet = Wallet.open(person.path, PASSPHRASE, cost=CHEAP, progress=person.steps.append)
    return steps


@pytest.fixture
def person(network: Network, tmp_path: Path) -> Iterator[Person]:
    made = Person.begin(network, tmp_path)
    yield made
    made.wallet.close()


def test_revoke_killed_after_each_step_then_resumed_is_revoked_once_and_loses_no_key(person: Person) -> None:
    hospital, leaves, stays = person.network.members
    patient = person.wallet.relationships[0].patient
    person.grant(stays, LAB)
    epoch = 1
    for fatal in (
        "revocation journalled",
        "backup stored",
        "new secrets delivered",
        "the revocation: sent",
        "the revocation: final",
        "revocation final",
    ):
        leaving = person.grant(leaves, LAB)
        steps = run_until_killed(person, "revoke", leaving.hex(), fatal)
        assert steps[-1] == fatal
        epoch += 1
        report = person.wallet.resume()
        assert report.left == (), (fatal, report)
        assert person.wallet.unfinished == ()
        states = {item.consent_id: item.state for item in person.wallet.consents()}
        assert states[leaving] is ConsentState.REVOKED, fatal
        view = person.network.members[0].node.ledger.snapshot().patient(patient)
        assert view is not None
        held = person.wallet.relationships[0].secrets
        assert (view.epoch, view.keyring_digest) == (epoch, held.public().digest), fatal
        assert held.epoch == epoch, fatal

    person.network.wait_for_all()
    (later,) = person.publish(hospital, observation(6.0))
    assert person.wallet.read(later).content
    assert person.read_by(stays, patient, later).records[0].content
    assert person.read_by(leaves, patient, later).records[0].reason is Reason.CONSENT_REVOKED


def test_revoke_killed_and_the_vault_lost_is_carried_on_by_the_recovered_wallet(
    person: Person, tmp_path: Path
) -> None:
    hospital, leaves, stays = person.network.members
    patient = person.wallet.relationships[0].patient
    person.grant(stays, LAB)
    leaving = person.grant(leaves, LAB)
    run_until_killed(person, "revoke", leaving.hex(), "the revocation: sent")
    person.wallet.close()
    urls = [member.url for member in person.network.members[:2]]
    person.wallet, report = Wallet.recover(
        tmp_path / "new", PASSPHRASE, person.phrase, urls, cost=CHEAP, progress=person.steps.append
    )
    assert report.missing == ()  # the new keys were acknowledged by two nodes before the ledger heard of them
    assert person.wallet.resume().left == ()
    assert {item.state for item in person.wallet.consents()} == {ConsentState.ACTIVE, ConsentState.REVOKED}
    person.network.wait_for_all()
    (later,) = person.publish(hospital, observation(6.0))
    assert person.wallet.read(later).content
    assert person.read_by(stays, patient, later).records[0].content


def test_revoke_killed_then_the_pseudonym_frozen_is_resumed_without_new_keys(person: Person) -> None:
    _, leaves, _ = person.network.members
    leaving = person.grant(leaves, LAB)
    run_until_killed(person, "revoke", leaving.hex(), "revocation journalled")
    person.wallet.freeze()
    assert person.wallet.resume().left == ()
    (summary,) = person.wallet.consents()
    assert summary.state is ConsentState.REVOKED
    assert person.wallet.relationships[0].secrets.epoch == 1


@pytest.mark.parametrize("fatal", ["grant journalled", "the grant: sent", "grant final", "the grant: final"])
def test_grant_killed_after_a_step_then_resumed_is_granted_once_and_delivered(
    person: Person, fatal: str
) -> None:
    hospital, reader, _ = person.network.members
    patient = person.wallet.relationships[0].patient
    (record_id,) = person.publish(hospital)
    run_until_killed(person, "grant", reader.name, fatal)
    assert person.wallet.unfinished
    assert person.wallet.resume().left == ()
    assert [item.state for item in person.wallet.consents()] == [ConsentState.ACTIVE]
    assert any(found.patient == patient for found in consented(reader))
    assert person.read_by(reader, patient, record_id).records[0].content


@pytest.mark.parametrize("fatal", ["message journalled", "the deny policy: sent", "the deny policy: final"])
def test_deny_killed_after_a_step_then_resumed_is_in_force_once(person: Person, fatal: str) -> None:
    patient = person.wallet.relationships[0].patient
    run_until_killed(person, "deny", "", fatal)
    assert len(person.wallet.unfinished) == 1
    assert person.wallet.resume().left == ()
    assert person.wallet.unfinished == ()
    person.network.wait_for_all()
    view = person.network.members[1].node.ledger.snapshot().patient(patient)
    assert view is not None
    assert (view.deny_categories, view.policy_nonce) == (LAB.bit, 1)


def test_register_killed_after_the_backup_then_asked_again_takes_the_same_pseudonym(person: Person) -> None:
    other = person.network.members[1]
    run_until_killed(person, "register", other.name, "backup stored")
    before = person.wallet.relationships[1].patient
    assert person.register(other).patient == before
    assert len(person.wallet.relationships) == 2


def test_revoke_killed_at_arbitrary_moments_then_resumed_always_ends_revoked(person: Person) -> None:
    _, leaves, _ = person.network.members
    patient = person.wallet.relationships[0].patient
    for moment in (0.05, 0.2, 0.35):
        leaving = person.grant(leaves, LAB)
        person.wallet.close()
        with start(person, "revoke", leaving.hex(), "never") as process:
            assert process.stdout is not None
            while process.stdout.readline() != "ready\n":
                assert process.poll() is None
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.kill()
        person.network.wait_for_all()
        person.wallet = Wallet.open(person.path, PASSPHRASE, cost=CHEAP, progress=person.steps.append)
        assert person.wallet.resume().left == ()
        states = {item.consent_id: item.state for item in person.wallet.consents()}
        if (
            states[leaving] is not ConsentState.REVOKED
        ):  # killed before it was journalled: then nothing happened
            assert states[leaving] is ConsentState.ACTIVE
            person.wallet.revoke(leaving)
        person.network.wait_for_all()
        view = person.network.members[0].node.ledger.snapshot().patient(patient)
        held = person.wallet.relationships[0].secrets
        assert view is not None
        assert (view.epoch, view.keyring_digest) == (held.epoch, held.public().digest)
