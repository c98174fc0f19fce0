"""Every command as its users run it, on a real network: what they get, as tables and as documents."""

import csv
import json
import os
from pathlib import Path
from typing import Any

from phr_commands import (
    AUTHORITY,
    CLINIC,
    HOSPITAL,
    IDENTIFIER,
    SECOND,
    SYSTEM,
    People,
    make_private,
    run_phr,
)
from records_flow import condition, observation

from cli.exit_codes import ExitCode

KEYS = Path(__file__).with_name("json_keys.json")
MINJI = ("--wallet", "minji")
CLINIC_OF_MINJI = ("--as", "hanok", "--patient", "Kim Minji")


def shape(value: Any) -> Any:
    """A document's keys, whatever the values: what scripts rely on."""
    if isinstance(value, dict):
        if set(value) <= {"seal", "store", "deposit", "send"} or all(
            isinstance(v, float) for v in value.values()
        ):
            return "seconds by step"
        return {key: shape(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return ""


def test_json_of_every_user_has_the_keys_that_were_promised(people: People) -> None:
    """Rewrite tests/cli/json_keys.json with UPDATE_SNAPSHOTS=1 when keys change on purpose."""
    record = people.document("patient", "records", *MINJI)[0]["record_id"]
    consent = people.document("patient", "consents", *MINJI)[0]["consent_id"]
    tables, exported = people.files / "keys-tables", people.files / "keys.json"
    commands = [
        ("patient", "status", *MINJI),
        ("patient", "records", *MINJI),
        ("patient", "read", record, *MINJI),
        ("patient", "consents", *MINJI),
        ("patient", "backup", *MINJI),
        ("patient", "resume", *MINJI),
        ("hospital", "patients", "--as", HOSPITAL),
        ("hospital", "records", "--as", HOSPITAL, "--patient", IDENTIFIER),
        ("member", "patients", "--as", "hanok"),
        ("member", "request", *CLINIC_OF_MINJI, "--category", "laboratory"),
        ("member", "read", *CLINIC_OF_MINJI, "--category", "laboratory"),
        ("patient", "history", *MINJI),
        ("auditor", "history"),
        ("auditor", "verify", "--member", HOSPITAL),
        ("auditor", "export", exported),
        ("researcher", "replay", tables),
        (
            "researcher",
            "query",
            tables,
            "SELECT category, count(*) AS records FROM records GROUP BY category",
        ),
        ("node", "status", people.directory / "members" / "서울병원"),
        ("admin", "members"),
    ]
    found = {" ".join(map(str, words[:2])): shape(people.document(*words)) for words in commands}
    refusal = people.phr("patient", "revoke", consent, *MINJI, "--json", expect=ExitCode.USAGE)
    # It ends with another exit code when a part is not ready for a moment.
    found["network status"] = shape(people.phr("network", "status", "--json", expect=None).document)
    found["a refusal"] = shape(refusal.document)
    found["an exported row"] = shape(json.loads(exported.read_bytes())[0])
    if os.environ.get("UPDATE_SNAPSHOTS"):
        KEYS.write_text(json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    assert found == json.loads(KEYS.read_text())


def test_publish_shows_a_row_a_category_and_with_all_a_row_a_record(people: People) -> None:
    bundle = people.bundle(observation(5.4), condition())
    publish = ("hospital", "publish", bundle, "--as", HOSPITAL, "--patient", IDENTIFIER)
    first = people.phr(*publish).out.splitlines()
    rows = people.phr(*publish, "--all").out.splitlines()
    assert [line.split()[:2] for line in first[2:4]] == [["condition", "1"], ["laboratory", "1"]]
    assert first[-1] == "2 new records are published."
    assert sum(line.startswith("0x") and "was there already" in line for line in rows) == 2
    assert "nothing was published again" in rows[-1]


def test_member_read_saves_the_original_bytes_for_the_owner_alone(people: People) -> None:
    folder = people.files / "read"
    done = people.phr("member", "read", *CLINIC_OF_MINJI, "--category", "lab", "--out", folder)
    saved = sorted(folder.iterdir())
    assert len(saved) >= 1
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in saved)
    assert all(json.loads(path.read_bytes())["resourceType"] == "Bundle" for path in saved)
    assert "laboratory of 2024-03-02 – 2025-01-09, by 서울병원" in done.out
    assert "Hemoglobin A1c" in done.out


def test_member_read_to_where_nothing_can_be_saved_asks_the_ledger_nothing(people: People) -> None:
    before = len(people.document("auditor", "history"))
    target = people.files / "not-a-directory"
    target.write_text("mine")
    done = people.phr("member", "read", *CLINIC_OF_MINJI, "--out", target, expect=ExitCode.BAD_INPUT)
    assert "expected a directory" in done.line
    assert target.read_text() == "mine"
    assert len(people.document("auditor", "history")) == before


def test_member_request_without_consent_is_refused_and_still_one_document(people: People) -> None:
    patient = people.document("hospital", "patients", "--as", HOSPITAL)[0]["patient"]
    done = people.phr(
        "member", "request", "--as", SECOND, "--patient", patient, "--json", expect=ExitCode.REFUSED
    )
    assert {record["reason"] for record in done.document["records"]} == {"NO_CONSENT"}
    assert "denied (no consent)" in done.line


def test_member_patient_of_two_pseudonyms_is_never_guessed_and_named_by_provider(people: People) -> None:
    people.new_patient("twice", "twice-1")
    people.register("twice", "twice-2", SECOND)
    people.publish("twice", "twice-1")
    people.publish("twice", "twice-2", provider=SECOND)
    people.phr(
        *("patient", "grant", "hanok", "-c", "laboratory", "--for", "1 week", "--introduce", "Lee Seo-yeon"),
        *("--wallet", "twice", "--yes"),
    )
    people.settle()
    asked = ("member", "request", "--as", "hanok", "--patient", "lee seo-yeon", "-c", "laboratory")
    refused = people.phr(*asked, expect=ExitCode.NOT_FOUND)
    assert HOSPITAL in refused.line
    assert SECOND in refused.line
    assert "--at" in refused.line
    answer = people.document(*asked, "--at", "évian")
    assert [record["reason"] for record in answer["records"]] == ["PERMITTED"]
    lines = [
        line for line in people.phr("member", "patients", "--as", "hanok").out.splitlines() if "Lee" in line
    ]
    assert len(lines) == 2
    assert all("laboratory 1" in line for line in lines)


def test_revoke_previews_then_gives_a_receipt_of_what_was_read(people: People) -> None:
    people.new_patient("revoker", "revoker")
    own = ("--wallet", "revoker")
    people.publish("revoker", "revoker")
    people.phr(
        *(
            "patient",
            "grant",
            SECOND,
            "-c",
            "laboratory",
            "--for",
            "2 weeks",
            "--introduce",
            "Revoker",
            *own,
            "--yes",
        )
    )
    people.settle()
    people.phr("member", "read", "--as", SECOND, "--patient", "Revoker")
    people.settle()
    unanswered = people.phr("patient", "revoke", SECOND, *own, expect=ExitCode.USAGE)
    assert "loses access to 1 record of 서울병원; 1 of them may have been read" in unanswered.out
    assert people.document("patient", "consents", *own)[0]["state"] == "active"
    (receipt,) = people.document("patient", "revoke", SECOND, *own, "--yes")
    assert len(receipt["may_have_been_read"]) == 1
    assert len(receipt["confirmed_by"]) >= 2
    again = people.phr(
        "member", "read", "--as", SECOND, "--patient", "Revoker", "-c", "laboratory", expect=None
    )
    assert again.exit_code in (ExitCode.REFUSED, ExitCode.NOT_FOUND)
    nothing = people.phr("patient", "revoke", SECOND, *own, expect=ExitCode.NOT_FOUND)
    assert "no consent in force" in nothing.line


def test_policy_of_a_patient_closes_and_opens_records(people: People) -> None:
    people.new_patient("careful", "careful")
    own = ("--wallet", "careful")
    record = people.publish("careful", "careful")[0]["record_id"]
    denied = people.document("patient", "deny", "-c", "laboratory", "--purpose", "research", *own, "--yes")
    assert denied["changes"][0]["denied_categories"] == ["laboratory"]
    assert denied["changes"][0]["denied_purposes"] == ["HRESCH"]
    allowed = people.document("patient", "allow", "-c", "lab", "--purpose", "HRESCH", *own, "--yes")
    assert allowed["changes"][0]["denied_categories"] == []
    assert people.document("patient", "restrict", record, *own, "--yes")["restricted"] is True
    assert people.document("patient", "records", *own)[0]["restricted"] is True
    assert people.document("patient", "unrestrict", record, *own)["restricted"] is False
    assert people.document("patient", "end", HOSPITAL, *own, "--yes")["provider"] == HOSPITAL
    assert people.document("patient", "freeze", *own, "--yes")["frozen"]
    assert people.document("patient", "status", *own)["relationships"][0]["status"] == "frozen"


def test_recover_from_paper_brings_the_same_wallet_back(people: People) -> None:
    # Somebody of this test alone: after new keys the old wallet is behind, for every test that follows.
    people.new_patient("lost-phone", "lost-phone")
    records = people.publish("lost-phone", "lost-phone")
    phrase = people.files / "lost-phone.phrase"
    done = people.document("patient", "recover", "new-phone", "--phrase-file", phrase)
    assert done["missing"] == []
    assert people.document("patient", "records", "--wallet", "new-phone") == records
    assert len(records) == 1
    renewed = people.document("patient", "renew-keys", "--wallet", "new-phone")
    assert len(renewed["renewed"]) == 1


def test_correct_and_retract_mark_the_old_record(people: People) -> None:
    token = f"{SYSTEM}|corrected"
    people.new_patient("corrected", "corrected")
    people.publish("corrected", "corrected")
    of = ("--as", HOSPITAL, "--patient", token)
    old = people.document("hospital", "records", *of)["records"][0]["record_id"]
    corrected = people.bundle(observation(5.6), number="corrected")
    people.phr("hospital", "correct", old[:10], corrected, *of, "--yes")
    people.settle()
    after = {record["record_id"]: record for record in people.document("hospital", "records", *of)["records"]}
    assert after[old]["superseded"] is True
    (new,) = (number for number in after if number != old)
    assert people.document("hospital", "retract", new, *of, "--yes")["retracted"] is True
    assert "retracted" in people.phr("hospital", "records", *of).out


def test_auditor_learns_who_the_person_was_and_by_their_own_token(people: People) -> None:
    token = people.files / "park.token"
    node = people.directory / "members" / "hanok-clinic-red"
    people.phr("node", "staff", node, "park", "--role", "physician", "--token-file", token)
    people.phr("member", "request", *CLINIC_OF_MINJI, "-c", "lab", "--token-file", token)
    people.settle()
    last = people.document("auditor", "history", "--limit", "1")[0]
    opened = people.document("auditor", "open", last["patient"][:10], last["sequence"], "--as", AUTHORITY)
    assert (opened["staff_id"], opened["role"], opened["matches_the_ledger"]) == ("park", "physician", True)
    people.phr("node", "staff", node, "park", "--end")
    ended = people.phr("member", "patients", "--as", "hanok", "--token-file", token, expect=None)
    assert ended.exit_code == ExitCode.REFUSED


def test_auditor_export_of_no_decisions_has_a_header_and_of_all_a_row_each(people: People) -> None:
    none, some = people.files / "none.csv", people.files / "some.csv"
    people.phr("auditor", "export", none, "--until", "2020-01-01")
    people.phr("auditor", "export", some)
    assert none.read_text().startswith("time,patient,sequence,")
    with some.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(people.document("auditor", "history"))
    refused = people.phr("auditor", "export", some, expect=ExitCode.BAD_INPUT)
    assert "name a new file" in refused.line


def test_researcher_asks_the_replayed_ledger_and_nothing_else(people: People) -> None:
    tables = people.files / "tables"
    people.phr("researcher", "replay", tables)
    answer = people.document("researcher", "query", tables, "SELECT count(*) > 3 AS n FROM members")
    assert answer == {"columns": ["n"], "rows": [[True]], "truncated": False}
    for sql in ("SELEC 1", "SELECT * FROM read_csv('/etc/passwd')", "DROP TABLE records"):
        refused = people.phr("researcher", "query", tables, sql, "--json", expect=ExitCode.USAGE)
        assert refused.document["kind"] == "usage"
    again = people.phr("researcher", "replay", tables, expect=ExitCode.BAD_INPUT)
    assert "tables" in again.line
    people.phr("researcher", "replay", tables, "--replace")


def test_admin_suspends_and_reinstates_a_member(people: People) -> None:
    asked = people.phr("admin", "suspend", "évian", expect=ExitCode.USAGE)
    assert SECOND in asked.line
    assert people.document("admin", "suspend", "évian", "--yes")["active"] is False
    again = people.phr("admin", "suspend", "évian", "--yes", expect=ExitCode.REFUSED)
    assert "suspended already" in again.line
    assert people.document("admin", "suspend", "évian", "--reinstate", "--yes")["active"] is True
    # What follows needs every node to know it.
    people.settle()


def test_commands_on_a_stopped_node_and_a_stopped_chain_say_so_and_work_again_after_up(
    people: People,
) -> None:
    from cli.network_parts import stages_of
    from cli.places import read_network

    place = read_network(people.directory)
    parts = {part.name: part for stage in stages_of(place) for part in stage}
    assert parts[CLINIC].stop()
    down = people.phr("member", "patients", "--as", "hanok", "--json", expect=ExitCode.UNREACHABLE)
    assert down.document["kind"] == "unreachable"
    assert "phr network status" in down.line
    # Two of three nodes are enough for a patient.
    assert people.document("patient", "records", *MINJI)
    assert parts["chain"].stop()
    people.phr("auditor", "history", expect=ExitCode.UNREACHABLE)
    shown = people.phr("network", "status", "--json", expect=ExitCode.UNREACHABLE)
    assert "parts do not work" in shown.line
    states = {part["name"]: part["state"] for part in shown.document["parts"]}
    assert states["chain"] == states[CLINIC] == "stopped"
    people.phr("network", "up")
    assert people.document("auditor", "verify", "--member", CLINIC)["complete"] is True


def test_names_of_every_script_and_of_markup_are_printed_as_they_are(people: People) -> None:
    listed = people.phr("admin", "members").out
    assert all(name in listed for name in (HOSPITAL, SECOND, CLINIC, AUTHORITY))
    assert people.document("member", "patients", "--as", "서울") == []


def test_second_process_on_a_wallet_is_told_to_wait(people: People) -> None:
    from wallet import Wallet

    vault = people.directory / "wallets" / "minji" / "wallet.vault"
    with Wallet.open(vault, people.passphrase.read_text().strip()):
        busy = people.phr("patient", "status", *MINJI, "--json", expect=ExitCode.UNREACHABLE)
    assert busy.document["exit_code"] == ExitCode.UNREACHABLE


def test_wallet_with_a_wrong_passphrase_stays_closed_and_shows_no_secret(people: People) -> None:
    wrong = make_private(people.files / "wrong", "hunter2-hunter2\n")
    done = people.phr("patient", "status", *MINJI, "--passphrase-file", wrong, expect=ExitCode.LOCKED)
    assert "passphrase" in done.line
    assert "hunter2" not in done.err + done.out


def test_recover_with_a_mistyped_word_names_its_place_and_never_the_word(people: People) -> None:
    words = (people.files / "minji.phrase").read_text().split()
    secret = words[4]
    mistyped = make_private(people.files / "mistyped", " ".join([*words[:4], secret + "zz", *words[5:]]))
    done = people.phr("patient", "recover", "never", "--phrase-file", mistyped, expect=ExitCode.LOCKED)
    assert "word 5" in done.line
    assert secret not in done.err
    assert not (people.directory / "wallets" / "never").exists()


def test_network_up_again_starts_nothing_twice_and_down_of_none_says_so(people: People) -> None:
    # A part that is not ready for a moment is no failure here.
    status = people.phr("network", "status", "--json", expect=None).document
    before = {part["name"]: part["pid"] for part in status["parts"]}
    up = people.document("network", "up")
    assert {part["name"]: part["pid"] for part in up["parts"]} == before
    nowhere = run_phr("network", "down", people.files / "nothing-here", "--json")
    assert nowhere.exit_code == ExitCode.NOT_FOUND
