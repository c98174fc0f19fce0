"""Staff tokens: shown once, kept as a digest, ended for good."""

from collections.abc import Iterator

import pytest
from database_fixtures import new_database_url
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from node.database import Database
from node.errors import Conflict, InvalidRequest, NotFound
from node.staff import StaffMember, StaffRegister
from node.tables import staff


@pytest.fixture
def register(new_database: Database) -> StaffRegister:
    return StaffRegister(new_database)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StaffRegister]:
    database = Database(new_database_url(tmp_path_factory.mktemp("staff")))
    database.migrate()
    StaffRegister(database).add("kim", "physician")
    yield StaffRegister(database)
    database.close()


def test_token_names_the_person_and_role_that_it_was_made_for(register: StaffRegister) -> None:
    token = register.add("kim", "physician")
    register.add("lee", "nurse")
    assert register.by_token(token) == StaffMember("kim", "physician")


def test_token_is_not_in_the_database(register: StaffRegister, new_database: Database) -> None:
    token = register.add("kim", "physician")
    with new_database.read() as connection:
        (row,) = connection.execute(select(staff)).all()
    assert token.encode() not in row.token_digest
    assert token not in map(str, row)


def test_ended_token_is_nobodys(register: StaffRegister) -> None:
    token = register.add("kim", "physician")
    register.end("kim")
    assert register.by_token(token) is None
    with pytest.raises(NotFound):
        register.renew("kim")
    with pytest.raises(Conflict):
        register.add("kim", "physician")


def test_renewed_token_replaces_the_old_one(register: StaffRegister) -> None:
    old = register.add("kim", "physician")
    new = register.renew("kim")
    assert (register.by_token(old), register.by_token(new)) == (None, StaffMember("kim", "physician"))


def test_end_of_an_unknown_person_is_refused(register: StaffRegister) -> None:
    with pytest.raises(NotFound):
        register.end("nobody")


@pytest.mark.parametrize("name", ["", " kim", "kim\n", "k\x00m", "k" * 129])
def test_name_that_is_not_printable_or_too_long_is_refused(register: StaffRegister, name: str) -> None:
    with pytest.raises(InvalidRequest):
        register.add(name, "physician")


@given(token=st.text(max_size=80) | st.from_regex(r"phr-staff-[A-Za-z0-9_-]{43}", fullmatch=True))
def test_any_other_text_is_nobodys_token(shared: StaffRegister, token: str) -> None:
    assert shared.by_token(token) is None
