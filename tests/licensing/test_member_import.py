"""A file of members: every line says what it does, and a wrong one stops the whole file."""

import pytest
from factories import Team as People
from factories import identity, team
from sqlalchemy import update

from licensing import arrivals, invites, member_import, plans, seat_history, seats, teams
from licensing.db import Database, now
from licensing.errors import NotAllowed
from licensing.invites import Invite, TooManyInvites
from licensing.member_import import ImportPlan, ImportRefused
from licensing.seats import Role


def plan(database: Database, people: People, words: str | bytes) -> ImportPlan:
    content = words.encode() if isinstance(words, str) else words
    with database.read() as session:
        return member_import.plan(session, people.admin, content)


def said(database: Database, people: People, words: str | bytes) -> list[str]:
    lines = plan(database, people, words).lines
    return [f"{each.number} {each.outcome}: {each.sentence}" for each in lines]


def test_each_line_says_what_it_would_do(database: Database) -> None:
    people = team(database, seat_ceiling=5)
    with database.transaction() as session:
        teams.create(session, people.admin, name="Film Crew")
        invites.invite(
            session, people.admin, email="known@x.example", role=Role.CREATOR, seated=False
        )
    assert said(
        database,
        people,
        "Email,Role,Seat,Team,Name\n"
        "a@x.example,,,film  crew,Ada\n"
        "b@x.example,Finance,,,Bo\n"
        "\n"
        f"{people.creator.email},,,,\n"
        "known@x.example,,,,\n"
        "A@X.example,,,,\n"
        "no address,,,,\n"
        "c@x.example,emperor,,,\n"
        "d@x.example,owner,,,\n"
        "e@x.example,,maybe,,\n"
        "f@x.example,,,Theatre,\n"
        "g@x.example,creator,no,,\n"
        "h@x.example,reviewer,yes,,\n",
    ) == [
        "2 invite: Is invited as creator, with a seat.",
        "3 invite: Is invited as finance, without a seat.",
        "5 skip: Is a member already.",
        "6 skip: Is invited already.",
        "7 error: a@x.example stands in line 2 already.",
        "8 error: “no address” is not an e-mail address.",
        "9 error: There is no role “emperor”. Write owner, admin, creator, finance, reviewer.",
        "10 error: Only an owner can invite an owner.",
        "11 error: “maybe” in the column seat: write yes or no.",
        "12 error: There is no team “Theatre”. Found it first.",
        "13 invite: Is invited as creator, without a seat.",
        "14 invite: Is invited as reviewer, with a seat.",
    ]


def test_seats_that_are_not_there_are_named_line_by_line(database: Database) -> None:
    people = team(database, seat_ceiling=4)
    lines = said(database, people, "email\na@x.example\nb@x.example\nc@x.example\n")
    assert [line.split(":")[0] for line in lines] == ["2 invite", "3 error", "4 error"]
    assert "the file needs 3" in lines[1]


def test_a_wrong_line_stops_everybody(database: Database) -> None:
    people = team(database)
    with (
        database.transaction() as session,
        pytest.raises(ImportRefused, match="1 line is wrong") as refusal,
    ):
        member_import.carry_out(session, people.admin, b"email\na@x.example\nnobody\n")
    assert refusal.value.plan is not None
    with database.read() as session:
        assert invites.invites(session, people.id) == []


def test_the_whole_file_is_invited_and_may_be_sent_again(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        film = teams.create(session, people.admin, name="Film")
    content = b"email;seat;team\na@x.example;yes;Film\nb@x.example;no;\n"
    with database.transaction() as session:
        _, made = member_import.carry_out(session, people.admin, content)
        assert seats.seat_usage(session, people.id).pending == 1
        taken = [c.seats_taken for c in seat_history.changes(session, people.id, limit=2)]
    assert taken == [4, 4]
    with database.transaction() as session:
        who = identity("Ada", email="a@x.example")
        joined = arrivals.accept_invite(session, made[0][1], who)
        assert (joined.team_id, joined.seated) == (film.id, True)
    with database.transaction() as session:
        again, none = member_import.carry_out(session, people.admin, content)
    assert (again.count("skip"), none) == (2, [])


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffemail,role\r\nzoë@x.example,creator\r\n".encode(),
        "email\trole\nzoë@x.example\tcreator\n".encode("utf-16"),
        'email;role\n"zoë@x.example";"creator"\n'.encode(),
        "role,EMAIL \ncreator, zoë@x.example\n".encode(),
        "email\rzoë@x.example\r".encode(),
    ],
)
def test_files_as_spreadsheets_write_them(database: Database, content: bytes) -> None:
    people = team(database)
    [line] = plan(database, people, content).lines
    assert (line.email, line.outcome) == ("zoë@x.example", "invite")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"email\n", "nobody below"),
        (b"name,role\nAda,creator\n", "name the columns"),
        (b"email,email\na,b\n", "name the columns"),
        ("email\nzoë@x.example".encode("latin-1"), "UTF-8"),
        (b"PK\x03\x04\0\0", "not a CSV file"),
        (b'email\n"a@x.example\n', "cannot be read"),
        (b"email\n" + b"a@x.example\n" * 1_001, "at most 1,000"),
        (b"x" * (256 * 1024 + 1), "larger than 256 KiB"),
    ],
)
def test_what_is_no_such_file_is_refused_as_a_whole(
    database: Database, content: bytes, words: str
) -> None:
    people = team(database)
    with pytest.raises(ImportRefused, match=words):
        plan(database, people, content)


def test_columns_that_mean_nothing_are_named(database: Database) -> None:
    people = team(database)
    planned = plan(database, people, "email,phone,notes\na@x.example,1,=HYPERLINK(1)\n")
    assert planned.ignored == ("phone", "notes")
    formula = said(database, people, "email\n=cmd|'/c calc'!A0@x.example\n")
    assert formula[0].startswith("2 error"), "a formula is no address"


def test_a_thousand_people_are_invited_whole(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        plans.change_tier(session, people.id, "enterprise", ceiling=1_003)
        content = "email\n" + "".join(f"p{n}@x.example\n" for n in range(1_000))
        _, made = member_import.carry_out(session, people.admin, content.encode())
        assert len(made) == 1_000
        assert seats.seat_usage(session, people.id).left == 0
        session.execute(update(Invite).values(revoked_at=now()))
        member_import.carry_out(session, people.admin, content.encode())
        session.execute(update(Invite).where(Invite.revoked_at.is_(None)).values(revoked_at=now()))
        with pytest.raises(TooManyInvites, match="at most 2,000 invites a day"):
            member_import.carry_out(session, people.admin, b"email\na@x.example\n")


def test_only_an_admin_sends_a_file(database: Database) -> None:
    people = team(database)
    with database.transaction() as session, pytest.raises(NotAllowed):
        member_import.carry_out(session, people.creator, b"email\na@x.example\n")
