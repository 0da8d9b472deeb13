"""People come in by an invite to their address, and an invite keeps its seat for them."""

from datetime import timedelta
from functools import partial

import pytest
from factories import identity, member, team
from racing import race
from sqlalchemy import update

from licensing import arrivals, invites, roster, seats
from licensing.db import Database, now
from licensing.errors import Conflict, NotAllowed, NotFound
from licensing.invites import InvalidEmail, Invite
from licensing.seats import Identity, Role, SeatCeilingReached


def invite(database: Database, actor: seats.Member, email: str, *, seated: bool = True) -> str:
    with database.transaction() as session:
        _, token = invites.invite(session, actor, email=email, role=Role.CREATOR, seated=seated)
    return token


def test_who_is_invited_joins_by_signing_in_with_that_address(database: Database) -> None:
    people = team(database)
    invite(database, people.admin, " New.Person@Nord.Example ")
    who = identity("New Person", email="new.person@nord.example")
    with database.transaction() as session:
        joined = arrivals.sign_in(session, who)
    assert (joined.organisation_id, joined.role, joined.seated) == (people.id, Role.CREATOR, True)
    with database.transaction() as session:
        assert arrivals.sign_in(session, who).id == joined.id
        assert invites.invites(session, people.id) == []


def test_an_address_that_the_provider_does_not_vouch_for_opens_nothing(database: Database) -> None:
    people = team(database)
    invite(database, people.admin, "new@nord.example")
    claimed = Identity("https://sso.example", "s-1", "new@nord.example", False, "New")
    with database.transaction() as session, pytest.raises(NotAllowed, match="knows you"):
        arrivals.sign_in(session, claimed)


def test_a_stranger_is_told_whom_to_ask(database: Database) -> None:
    team(database)
    with database.transaction() as session, pytest.raises(NotAllowed, match=r"invite x@y\.example"):
        arrivals.sign_in(session, identity(email="x@y.example"))


def test_the_same_address_at_another_provider_is_another_person(database: Database) -> None:
    people = team(database)
    impostor = Identity("https://other.example", "1", people.owner.email, True, "Olga Owner")
    with database.transaction() as session, pytest.raises(NotAllowed):
        arrivals.sign_in(session, impostor)


def test_signing_in_refreshes_name_and_address(database: Database) -> None:
    people = team(database)
    renamed = Identity(
        people.creator.issuer, people.creator.subject, "NEW@nord.example", True, "Cleo Renamed"
    )
    with database.transaction() as session:
        arrivals.sign_in(session, renamed)
    with database.read() as session:
        fresh = seats.get_member(session, people.creator.id)
        assert fresh is not None
        assert (fresh.name, fresh.email) == ("Cleo Renamed", "new@nord.example")


def test_an_address_that_nobody_vouches_for_replaces_none(database: Database) -> None:
    people = team(database)
    claimed = Identity(
        people.creator.issuer, people.creator.subject, people.owner.email, False, "Cleo"
    )
    with database.transaction() as session:
        assert arrivals.sign_in(session, claimed).email == people.creator.email


def test_a_name_is_one_line_that_turns_nothing_around(database: Database) -> None:
    people = team(database)
    given = "Ada\0\u202e\r\nSubject: \u0645\u06cc\u200c\u062e " + "x" * 10_000
    who = Identity("https://sso.example", "9", "ada@nord.example", email_verified=True, name=given)
    with database.transaction() as session:
        invites.invite(session, people.admin, email=who.email, role=Role.CREATOR, seated=False)
    for _ in range(2):  # the way in, and the next time
        with database.transaction() as session:
            name = arrivals.sign_in(session, who).name
        assert name.startswith("Ada Subject: \u0645\u06cc\u200c\u062e xxx")
        assert len(name) == seats.NAME_CHARACTERS_MAX


def test_a_suspended_member_cannot_sign_in(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        roster.suspend(session, people.admin, people.creator.id)
    who = Identity(people.creator.issuer, people.creator.subject, "c@x.example", True, "Cleo")
    with database.transaction() as session, pytest.raises(NotAllowed, match="suspended"):
        arrivals.sign_in(session, who)


def test_a_link_lets_the_invited_address_in_and_no_other(database: Database) -> None:
    people = team(database)
    token = invite(database, people.admin, "ada@nord.example")
    with database.transaction() as session, pytest.raises(NotAllowed, match=r"ada@nord\.example"):
        arrivals.accept_invite(session, token, identity(email="eve@nord.example"))
    who = identity("Ada", email="Ada@Nord.example")
    with database.transaction() as session:
        joined = arrivals.accept_invite(session, token, who)
    with database.transaction() as session:
        assert arrivals.accept_invite(session, token, who).id == joined.id  # a double click
    with database.transaction() as session, pytest.raises(NotFound):
        arrivals.accept_invite(session, token, identity(email="ada@nord.example"))


def test_links_are_unknown_revoked_or_run_out(database: Database) -> None:
    people = team(database)
    revoked = invite(database, people.admin, "a@nord.example")
    late = invite(database, people.admin, "b@nord.example")
    with database.transaction() as session:
        found = {known.email: known for known in invites.invites(session, people.id)}
        invites.revoke_invite(session, people.admin, found["a@nord.example"].id)
        session.execute(
            update(Invite)
            .where(Invite.email == "b@nord.example")
            .values(expires_at=now() - timedelta(seconds=1))
        )
    for token, email in ((revoked, "a"), (late, "b"), ("no such token", "c")):
        with database.transaction() as session, pytest.raises(NotFound, match="Ask for a new one"):
            arrivals.accept_invite(session, token, identity(email=f"{email}@nord.example"))


def test_a_pending_invite_holds_its_seat_until_it_ends(database: Database) -> None:
    people = team(database, seat_ceiling=4)
    invite(database, people.admin, "a@nord.example")
    invite(database, people.admin, "b@nord.example", seated=False)
    with database.read() as session:
        usage = seats.seat_usage(session, people.id)
        assert (usage.assigned, usage.pending, usage.left) == (3, 1, 0)
    with pytest.raises(SeatCeilingReached, match="1 held by pending invites"):
        invite(database, people.admin, "c@nord.example")
    with database.transaction() as session:
        session.execute(update(Invite).values(expires_at=now() - timedelta(seconds=1)))
    with database.transaction() as session:
        assert seats.seat_usage(session, people.id).left == 1
        member(session, people.organisation)


def test_sixty_invites_to_fifty_seats_leave_ten_unsent(database: Database) -> None:
    people = team(database, seat_ceiling=53)

    def send(number: int) -> bool:
        try:
            invite(database, people.admin, f"p{number}@nord.example")
        except SeatCeilingReached:
            return False
        return True

    assert sum(race([partial(send, n) for n in range(60)])) == 50


def test_nobody_is_invited_twice_or_into_their_own_team(database: Database) -> None:
    people = team(database)
    invite(database, people.admin, "a@nord.example")
    for email in ("A@nord.example", people.creator.email):
        with pytest.raises(Conflict):
            invite(database, people.admin, email)


@pytest.mark.parametrize(
    "email",
    [
        "",
        "nobody",
        "a@b",
        "a b@c.example",
        "a@b@c.example",
        f"{'x' * 250}@y.example",
        "a\0@b.example",
        "a\u202e@b.example",
    ],
)
def test_what_is_no_address_is_refused(database: Database, email: str) -> None:
    people = team(database)
    with pytest.raises(InvalidEmail):
        invite(database, people.admin, email)


def test_an_admin_invites_no_owner_and_a_creator_nobody(database: Database) -> None:
    people = team(database)
    with database.transaction() as session, pytest.raises(NotAllowed, match="an owner"):
        invites.invite(session, people.admin, email="o@x.example", role=Role.OWNER, seated=True)
    with pytest.raises(NotAllowed):
        invite(database, people.creator, "o@x.example")


def test_an_invite_of_another_organisation_cannot_be_revoked(database: Database) -> None:
    people, strangers = team(database), team(database)
    invite(database, people.admin, "a@nord.example")
    with database.transaction() as session:
        found = invites.invites(session, people.id)[0]
        with pytest.raises(NotFound):
            invites.revoke_invite(session, strangers.owner, found.id)


def test_the_token_itself_is_not_stored(database: Database) -> None:
    people = team(database)
    token = invite(database, people.admin, "a@nord.example")
    with database.read() as session:
        stored = invites.invites(session, people.id)[0]
        assert token not in {str(value) for value in vars(stored).values()}
