"""Looks at what a demonstration left, and fails when it is not what the story promises."""

import json
import sys
from pathlib import Path


def check(directory: Path) -> list[str]:
    """What is wrong with the demonstration's result; empty when nothing is."""
    summary = json.loads((directory / "summary.json").read_text())
    facts = summary["facts"]
    wrong = []

    def expect(truth: bool, sentence: str) -> None:
        if not truth:
            wrong.append(sentence)

    people = [fact for fact in facts.values() if isinstance(fact, dict) and "wallet" in fact]
    expect(len(people) >= 1, "expected at least one patient")
    for person in people:
        published = sum(person["published"].values())
        expect(len(person["pseudonyms"]) == 2, "expected two pseudonyms")
        expect(
            len(set(person["pseudonyms"].values())) == 2, "expected different pseudonyms at the two hospitals"
        )
        expect(person["records_seen"] == published > 0, "expected the patient to see all that was published")
        expect(person["records_after_recovery"] == published, "expected all records again after recovery")
        expect(
            person["consents_after_recovery"] == person["consents"],
            "expected all consents again after recovery",
        )
        expect(person["read_by_clinic"] > 0, "expected the clinic to read")
        expect(
            person["receipt_permits"] == person["read_by_clinic"],
            "expected the receipt to name what was read",
        )
        expect(person["without_consent"] == ["NO_CONSENT"], "expected a denial for want of consent")
        expect(person["after_revocation"] == ["CONSENT_REVOKED"], "expected a denial after the revocation")
    expect(facts["verified"] is True, "expected a complete verification")
    expect(facts["denials"] >= 2 * len(people), "expected the denials in the history")
    expect(
        facts["replayed"]["accesses"] == facts["accesses"],
        "expected as many accesses replayed as in the history",
    )
    killed = facts.get("validator_killed")
    if killed is not None:
        expect(killed["caught_up_to"] > killed["block"], "expected the killed validator to catch up")
    for name, rows in facts["replayed"].items():
        expect(rows > 0, f"expected rows in {name}")
        expect((directory / "replay" / f"{name}.parquet").stat().st_size > 0, f"expected {name}.parquet")
    return wrong


def main() -> int:
    """Check the directory named on the command line."""
    wrong = check(Path(sys.argv[1]))
    for sentence in wrong:
        print(f"demo result: {sentence}", file=sys.stderr)
    print("demo result: " + ("as promised" if not wrong else f"{len(wrong)} things are wrong"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
