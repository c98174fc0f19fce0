"""What a person is told, and a script learns, where there is nothing of what was asked for."""

from pathlib import Path
from typing import Any, cast

import pytest
from phr_commands import HOSPITAL, SECOND, People, run_phr

from cli.consented import find_patient
from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.staff_client import StaffClient


def consented(people: People, wallet: str) -> None:
    """A patient of one laboratory record, who let the second hospital read it."""
    people.new_patient(wallet, wallet)
    people.publish(wallet, wallet)
    terms = ("-c", "laboratory", "--for", "1 day", "--introduce", wallet)
    people.phr("patient", "grant", SECOND, *terms, "--wallet", wallet, "--yes")
    people.settle()


def test_member_read_of_a_category_without_records_is_not_found_and_makes_no_directory(
    people: People,
) -> None:
    consented(people, "without-images")
    before = len(people.document("auditor", "history"))
    folder = people.files / "images"
    asked = ("member", "read", "--as", SECOND, "--patient", "without-images", "--category", "imaging")
    done = people.phr(*asked, "--out", folder, expect=ExitCode.NOT_FOUND)
    assert done.out == "The patient has no such records.\n"
    assert done.line == "nothing was asked of the ledger, and nothing read"
    assert not folder.exists()
    assert people.phr(*asked, "--json", expect=ExitCode.NOT_FOUND).document["records"] == []
    assert len(people.document("auditor", "history")) == before


def test_member_whose_patient_revoked_is_told_so(people: People) -> None:
    consented(people, "left")
    own = ("--wallet", "left")
    people.phr("patient", "revoke", SECOND, *own, "--yes")
    people.settle()
    read = ("member", "read", "--as", SECOND, "-c", "laboratory", "--patient")
    (relationship,) = people.document("patient", "status", *own)["relationships"]
    denied = people.phr(*read, relationship["pseudonym"], expect=ExitCode.REFUSED)
    assert "revoked" in denied.line
    # Others may have granted this member something meanwhile: then it is told whom it may have meant.
    people.phr(*read, "left", expect=ExitCode.NOT_FOUND)


def test_member_without_any_consent_is_told_that_each_may_be_revoked() -> None:
    class Node:
        """Stands for a node that nobody's consent for this member stands at."""

        def get(self, path: str, answer: object) -> list[Any]:
            return []

    with pytest.raises(CommandError, match="no patient gave one, or each was revoked") as said:
        find_patient(cast(StaffClient, Node()), "Kim Minji", None)
    assert said.value.exit_code is ExitCode.NOT_FOUND


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
