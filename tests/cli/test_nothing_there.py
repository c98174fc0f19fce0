"""What a person is told, and a script learns, where there is nothing of what was asked for."""

from pathlib import Path

from phr_commands import CLINIC, HOSPITAL, SECOND, People, run_phr

from cli.exit_codes import ExitCode


def test_member_read_of_a_category_without_records_is_not_found_and_makes_no_directory(
    people: People,
) -> None:
    before = len(people.document("auditor", "history"))
    folder = people.files / "images"
    asked = ("member", "read", "--as", CLINIC, "--patient", "Kim Minji", "--category", "imaging")
    done = people.phr(*asked, "--out", folder, expect=ExitCode.NOT_FOUND)
    assert done.out == "The patient has no such records.\n"
    assert done.line == "nothing was asked of the ledger, and nothing read"
    assert not folder.exists()
    assert people.phr(*asked, "--json", expect=ExitCode.NOT_FOUND).document["records"] == []
    assert len(people.document("auditor", "history")) == before


def test_member_whose_only_consent_was_revoked_is_told_that_this_may_be(people: People) -> None:
    people.new_patient("left", "left")
    people.publish("left", "left")
    own = ("--wallet", "left")
    people.phr(
        *(
            "patient",
            "grant",
            SECOND,
            "-c",
            "laboratory",
            "--for",
            "1 day",
            "--introduce",
            "Left",
            *own,
            "--yes",
        )
    )
    people.phr("patient", "revoke", SECOND, *own, "--yes")
    people.settle()
    read = ("member", "read", "--as", SECOND, "-c", "laboratory", "--patient")
    assert "each was revoked" in people.phr(*read, "Left", expect=ExitCode.NOT_FOUND).line
    (relationship,) = people.document("patient", "status", *own)["relationships"]
    denied = people.phr(*read, relationship["pseudonym"], expect=ExitCode.REFUSED)
    assert "revoked" in denied.line


def test_patient_register_prints_the_code_where_its_result_goes(people: People) -> None:
    people.phr("patient", "create", "printed", "--phrase-file", people.files / "printed.phrase")
    done = people.phr("patient", "register", HOSPITAL, "--wallet", "printed")
    assert f"At {HOSPITAL}, show the code " in done.out


def test_network_join_without_a_deployment_says_which_file_is_missing(tmp_path: Path) -> None:
    missing = tmp_path / "deployment.json"
    done = run_phr(
        "network", "join", tmp_path / "new", "--deployment", missing, "--rpc", "http://127.0.0.1:1"
    )
    assert done.exit_code == ExitCode.NOT_FOUND
    assert done.line == f"there is no {missing}: copy the network's deployment.json there"
