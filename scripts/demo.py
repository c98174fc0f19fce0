"""The whole story, played with the same commands that people use. One line a step, and its time.

Leaves a directory (default ./demo-run) in which every command of the README can be tried, and its ``summary.json``.
With ``--network`` it plays on the real engines (default ./demo-network), and kills a validator in the middle.
"""

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from demo_faults import bring_back_the_validator, kill_a_validator
from demo_patients import DemoPatient, generate
from demo_story import PHR, ROOT, DemoFailed, Story

SYNTHEA = ROOT / ".venv" / "synthea" / "bin" / "synthea"
SEOUL, BUSAN, CLINIC = "Seoul Hospital", "Busan Hospital", "Hanok Clinic"
REFUSED = 4
REAL_ENGINES = ("--engine", "bft", "--storage", "kubo", "--database", "postgres")


def play(directory: Path, people: int, seed: int, engines: tuple[str, ...]) -> Story:
    """Play the story in a new directory, on the engines that these options of ``phr network up`` name."""
    story = Story(directory)
    patients: list[DemoPatient] = []
    material = directory / "patients"

    def start() -> str:
        document = story.phr("network", "up", str(directory), *engines)
        ready = Counter(part["kind"] for part in document["parts"] if part["state"] == "ready")
        return (
            ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in ready.items()) + " ready"
        )

    def create_patients() -> str:
        material.mkdir()
        patients.extend(generate(SYNTHEA, material, people, seed))
        sizes = [f"{path.stat().st_size / 1e6:.1f} MB" for patient in patients for path in patient.bundles]
        return f"{', '.join(patient.name for patient in patients)}: bundles of {', '.join(sizes)}"

    story.step("chain, contract, members enrolled, nodes", start)
    story.step("Synthea generates patients", create_patients)
    for number, patient in enumerate(patients):
        _live(story, patient, material, kill_a_validator if engines and number == 0 else None)
    if engines:
        bring_back_the_validator(story)
    _audit(story)
    return story


def _live(
    story: Story, patient: DemoPatient, material: Path, fault: Callable[[Story], None] | None = None
) -> None:
    """One patient's story; the fault, where there is one, comes before the patient grants."""
    wallet = patient.name.lower().replace(" ", "-")
    passphrase, phrase = material / f"{wallet}.passphrase", material / f"{wallet}.phrase"
    descriptor = os.open(passphrase, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(18) + "\n")
    unlock = ("--passphrase-file", str(passphrase))
    own = ("--wallet", wallet, *unlock)
    facts: dict[str, Any] = story.facts.setdefault(patient.name, {})
    facts["wallet"], facts["identifier"] = wallet, patient.identifier

    def create() -> str:
        story.phr("patient", "create", wallet, "--phrase-file", str(phrase), *unlock)
        return "backup at two members, 24 words on paper"

    def register(hospital: str) -> str:
        ticket = story.phr("patient", "register", hospital, *own)
        story.phr("hospital", "register", ticket["code"], "--as", hospital, "--patient", patient.identifier)
        facts.setdefault("pseudonyms", {})[hospital] = ticket["pseudonym"]
        return f"code {ticket['code']} at the desk, pseudonym {ticket['pseudonym'][:10]}…"

    def publish(hospital: str, bundle: Path) -> str:
        done = story.phr(
            "hospital", "publish", str(bundle), "--as", hospital, "--patient", patient.identifier
        )
        facts.setdefault("published", {})[hospital] = len(done["records"])
        sealed = sum(record["ciphertext_bytes"] for record in done["records"])
        return f"{len(done['records'])} records, {sealed / 1e6:.2f} MB sealed, 3 custodians"

    def see() -> str:
        records = story.phr("patient", "records", *own)
        facts["records_seen"] = len(records)
        return f"{len(records)} records of {len({record['provider'] for record in records})} hospitals in one view"

    def read_own() -> str:
        (newest, *_rest) = story.phr("patient", "records", "--category", "laboratory", *own)
        opened = story.phr("patient", "read", newest["record_id"], *own)
        checks = len(opened["checks"])
        return (
            f"{opened['category']} of {opened['provider']}: {len(opened['content'])} bytes, {checks} checks"
        )

    def grant() -> str:
        done = story.phr(
            *("patient", "grant", CLINIC, "--category", "laboratory,medication", "--for", "90 days"),
            *("--purpose", "treatment", "--introduce", patient.name, "--yes", *own),
        )
        if not all(consent["final"] and consent["delivered"] for consent in done["consents"]):
            raise DemoFailed(f"a grant is not complete: {done}")
        facts["consents"] = len(done["consents"])
        return f"laboratory and medication, for treatment, until {done['last_day']}"

    def read() -> str:
        opened = []
        for pseudonym in facts["pseudonyms"].values():
            answer = story.phr(
                "member", "read", "--as", CLINIC, "--patient", pseudonym, "--category", "laboratory"
            )
            opened += [record for record in answer["records"] if record["content"]]
        if not opened:
            raise DemoFailed("the clinic could read nothing")
        facts["read_by_clinic"] = len(opened)
        return f"{len(opened)} laboratory records, each access on the ledger before it opened"

    def refused(member: str, text: str) -> str:
        asked = (
            "member",
            "read",
            "--as",
            member,
            "--patient",
            facts["pseudonyms"][SEOUL],
            "--category",
            "laboratory",
        )
        answer = story.phr(*asked, expect=REFUSED)
        if any(record["content"] for record in answer["records"]):
            raise DemoFailed("a refused request came back with content")
        reasons = sorted({record["reason"] for record in answer["records"]})
        facts[text] = reasons
        return f"refused: {', '.join(reasons).lower().replace('_', ' ')}; on the ledger"

    def revoke() -> str:
        receipts = story.phr("patient", "revoke", CLINIC, "--yes", *own)
        read_before = sum(len(receipt["may_have_been_read"]) for receipt in receipts)
        facts["receipt_permits"] = read_before
        return f"{len(receipts)} consents; the receipt names {read_before} records that had been read"

    def recover() -> str:
        done = story.phr("patient", "recover", f"{wallet}-new-phone", "--phrase-file", str(phrase), *unlock)
        if done["missing"]:
            raise DemoFailed(f"the recovered wallet misses something: {done['missing']}")
        seen = story.phr("patient", "records", "--wallet", f"{wallet}-new-phone", *unlock)
        consents = story.phr("patient", "consents", "--all", "--wallet", f"{wallet}-new-phone", *unlock)
        facts["records_after_recovery"], facts["consents_after_recovery"] = len(seen), len(consents)
        return f"{done['relationships']} relationships, {len(consents)} consents, {len(seen)} records again"

    name = patient.name.split()[0]
    story.step(f"{name} creates a wallet", create)
    story.step(f"{name} registers with {SEOUL}", lambda: register(SEOUL))
    story.step(f"{name} registers with {BUSAN}", lambda: register(BUSAN))
    story.step(f"{SEOUL} publishes", lambda: publish(SEOUL, patient.bundles[0]))
    story.step(f"{BUSAN} publishes", lambda: publish(BUSAN, patient.bundles[1]))
    story.step(f"{name} sees both as one", see)
    story.step(f"{name} reads an own record", read_own)
    if fault is not None:
        fault(story)
    story.step(f"{name} grants {CLINIC} for 90 days", grant)
    story.step(f"{CLINIC} reads", read)
    story.step(f"{BUSAN} asks {SEOUL}'s records without consent", lambda: refused(BUSAN, "without_consent"))
    story.step(f"{name} revokes", revoke)
    story.step(f"{CLINIC} tries to read again", lambda: refused(CLINIC, "after_revocation"))
    story.step(f"{name} recovers the wallet on a new device", recover)


def _audit(story: Story) -> None:
    """What the auditor and the researcher see of it all."""

    def history() -> str:
        entries = story.phr("auditor", "history")
        denied = sum(entry["reason"] != "PERMITTED" for entry in entries)
        story.facts["accesses"], story.facts["denials"] = len(entries), denied
        return f"{len(entries)} accesses, {denied} of them denied"

    def verify() -> str:
        verification = story.phr("auditor", "verify", "--member", SEOUL)
        story.facts["verified"] = verification["complete"]
        return f"complete: {len(verification['steps'])} checks up to block {verification['block_number']}"

    def replay() -> str:
        done = story.phr("researcher", "replay", str(story.directory / "replay"))
        story.facts["replayed"] = done["rows"]
        return f"{done['event_count']} events into {len(done['rows'])} Parquet files"

    def ask() -> str:
        answer = story.phr(
            *("researcher", "query", str(story.directory / "replay")),
            "SELECT category, count(*) AS records FROM records GROUP BY category ORDER BY records DESC LIMIT 3",
        )
        story.facts["most_published"] = answer["rows"]
        return "most published: " + ", ".join(f"{category} {count}" for category, count in answer["rows"])

    story.step("the auditor prints the history", history)
    story.step("the auditor verifies that it is complete", verify)
    story.step("the researcher replays the chain", replay)
    story.step("the researcher asks a question", ask)


def main() -> int:
    """Play the story; the exit status is 0 when it went as it should."""
    parser = argparse.ArgumentParser(
        prog="./scripts/demo", description="Play the whole story on this machine."
    )
    parser.add_argument(
        "directory", type=Path, nargs="?", help="default demo-run, with --network demo-network"
    )
    parser.add_argument(
        "--network", action="store_true", help="on validators, Kubo and PostgreSQL (./scripts/network build)"
    )
    parser.add_argument("--keep", action="store_true", help="leave the network running")
    parser.add_argument("--patients", type=int, default=1, help="how many patients (default 1)")
    parser.add_argument("--seed", type=int, default=42, help="Synthea's seed (default 42)")
    given = parser.parse_args()
    shown: Path = given.directory or Path("demo-network" if given.network else "demo-run")
    directory = shown.absolute()
    _clear(directory)
    try:
        story = play(directory, given.patients, given.seed, REAL_ENGINES if given.network else ())
    except DemoFailed as failure:
        print(f"demo: {failure}", file=sys.stderr)
        _phr_down(directory)
        return 1
    except BaseException:
        _phr_down(directory)
        raise
    summary = {
        "seconds": round(time.monotonic() - story.began, 1),
        "steps": story.steps,
        "facts": story.facts,
    }
    (directory / "summary.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    print(f"\nAll went as it should, in {summary['seconds']} s. What it left is in {shown}:")
    wallet = next(
        fact["wallet"] for fact in story.facts.values() if isinstance(fact, dict) and "wallet" in fact
    )
    if given.directory or given.network:
        print(f"  name it to phr with   export PHR_NETWORK={shown}")
    if given.keep:
        print("  the network is running; stop it with   .venv/bin/phr network down")
    else:
        _phr_down(directory)
        print("  start it again with   .venv/bin/phr network up")
    print(f"  then try              .venv/bin/phr patient history --wallet {wallet} \\")
    print(f"                          --passphrase-file {shown}/patients/{wallet}.passphrase")
    return 0


def _clear(directory: Path) -> None:
    """Make room: an earlier demonstration's directory is stopped and deleted; anything else is left alone."""
    if not directory.exists():
        return
    if not any((directory / name).exists() for name in ("network.json", "network.json.new")):
        raise SystemExit(
            f"demo: {directory} is there and is no earlier demonstration; name another directory"
        )
    _phr_down(directory)
    if (directory / "postgres").exists():
        # Root's cluster lies elsewhere: only what made it knows where.
        from engines.postgres_cluster import remove_cluster

        remove_cluster(directory / "postgres")
    shutil.rmtree(directory)


def _phr_down(directory: Path) -> None:
    subprocess.run([*PHR, "network", "down", str(directory), "--json"], capture_output=True)


if __name__ == "__main__":
    sys.exit(main())
