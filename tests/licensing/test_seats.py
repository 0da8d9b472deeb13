"""Roles open pages, seats have a ceiling, and admins reach into their own team only."""

import uuid
from collections.abc import Callable
from functools import partial

import pytest
from factories import Team, identity, member, team
from racing import race

from licensing import arrivals, invites, roster, seat_history, seats
from licensing.db import Database
from licensing.errors import Conflict, NotAllowed, NotFound
from licensing.seats import Member, NoSeat, Page, Role, SeatCeilingReached, Status, may


def test_each_role_opens_its_pages() -> None:
    opened = {role: {page for page in Page if may(role, page)} for role in Role}
    assert opened == {
        Role.OWNER: {Page.CREATE, Page.TEAM, Page.FINANCE, Page.REVIEW},
        Role.ADMIN: {Page.CREATE, Page.TEAM},
        Role.CREATOR: {Page.CREATE},
        Role.FINANCE: {Page.CREATE, Page.FINANCE},
        Role.REVIEWER: {Page.CREATE, Page.REVIEW},
    }


def test_generating_needs_a_seat_and_an_active_membership(database: Database) -> None:
    people = team(database)
    seats.require_seat(people.creator)
    with pytest.raises(NoSeat, match="You have no seat"):
        seats.require_seat(people.finance)
    with database.transaction() as session:
        suspended = roster.suspend(session, people.admin, people.creator.id)
    with pytest.raises(NoSeat, match="suspended"):
        seats.require_seat(suspended)


def test_a_revoked_seat_is_free_for_somebody_else(database: Database) -> None:
    people = team(database, seat_ceiling=3)
    with database.transaction() as session, pytest.raises(SeatCeilingReached, match="All 3 seats"):
        roster.assign_seat(session, people.admin, people.finance.id)
    with database.transaction() as session:
        roster.revoke_seat(session, people.admin, people.creator.id)
        roster.assign_seat(session, people.admin, people.finance.id)
    with database.read() as session:
        assert seats.seat_usage(session, people.id).left == 0
        fresh = seats.get_member(session, people.creator.id)
        assert fresh is not None
        assert not fresh.seated


def test_sixty_people_joining_fifty_seats_leave_ten_outside(database: Database) -> None:
    people = team(database, seat_ceiling=53)  # three seats are taken by the team itself

    def join() -> bool:
        try:
            with database.transaction() as session:
                member(session, people.organisation)
        except SeatCeilingReached:
            return False
        return True

    assert sum(race([join] * 60)) == 50
    with database.read() as session:
        usage = seats.seat_usage(session, people.id)
        assert (usage.assigned, usage.left) == (53, 0)


def test_members_and_invites_racing_for_the_last_seats_share_them(database: Database) -> None:
    people = team(database, seat_ceiling=10)
    with database.transaction() as session:
        waiting = [
            invites.invite(
                session, people.admin, email=f"p{n}@x.example", role=Role.CREATOR, seated=True
            )
            for n in range(4)
        ]

    def accept(index: int) -> bool:
        invited, token = waiting[index]
        with database.transaction() as session:
            arrivals.accept_invite(session, token, identity(email=invited.email))
        return True

    def join() -> bool:
        try:
            with database.transaction() as session:
                member(session, people.organisation)
        except SeatCeilingReached:
            return False
        return True

    jobs: list[Callable[[], bool]] = [partial(accept, n) for n in range(4)]
    outcomes = race(jobs + [join] * 8)
    assert outcomes[:4] == [True] * 4
    assert sum(outcomes[4:]) == 3
    with database.read() as session:
        usage = seats.seat_usage(session, people.id)
        assert (usage.assigned, usage.pending, usage.left) == (10, 0, 0)


def test_two_admins_cannot_both_give_out_the_last_seat(database: Database) -> None:
    people = team(database, seat_ceiling=4)

    def give(admin: Member, member_id: uuid.UUID) -> bool:
        try:
            with database.transaction() as session:
                roster.assign_seat(session, admin, member_id)
        except SeatCeilingReached:
            return False
        return True

    outcomes = race(
        [
            lambda: give(people.admin, people.finance.id),
            lambda: give(people.owner, people.reviewer.id),
        ]
    )
    assert sorted(outcomes) == [False, True]


def test_the_last_owner_cannot_go(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        for act in (roster.suspend, roster.remove):
            with pytest.raises(Conflict, match="last owner"):
                act(session, people.owner, people.owner.id)
        with pytest.raises(Conflict, match="last owner"):
            roster.change_role(session, people.owner, people.owner.id, Role.ADMIN)


def test_two_owners_cannot_demote_each_other_at_once(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        second = roster.change_role(session, people.owner, people.admin.id, Role.OWNER)

    def demote(actor: Member, target: Member) -> bool:
        try:
            with database.transaction() as session:
                roster.change_role(session, actor, target.id, Role.CREATOR)
        except (Conflict, NotAllowed):
            return False
        return True

    outcomes = race([lambda: demote(people.owner, second), lambda: demote(second, people.owner)])
    assert sorted(outcomes) == [False, True]


def test_an_admin_touches_no_owner_and_makes_none(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        with pytest.raises(NotAllowed, match="change an owner"):
            roster.suspend(session, people.admin, people.owner.id)
        with pytest.raises(NotAllowed, match="make somebody an owner"):
            roster.change_role(session, people.admin, people.creator.id, Role.OWNER)
        with pytest.raises(NotAllowed, match="yourself"):
            roster.remove(session, people.admin, people.admin.id)


@pytest.mark.parametrize("role", ["creator", "finance", "reviewer"])
def test_only_owners_and_admins_change_the_team(database: Database, role: str) -> None:
    people = team(database)
    actor: Member = getattr(people, role)
    with database.transaction() as session, pytest.raises(NotAllowed):
        roster.suspend(session, actor, people.admin.id)


def test_an_admin_of_another_organisation_finds_nobody(database: Database) -> None:
    people, strangers = team(database), team(database)
    verbs = (
        roster.suspend,
        roster.resume,
        roster.remove,
        roster.assign_seat,
        roster.revoke_seat,
    )
    with database.transaction() as session:
        for act in verbs:
            with pytest.raises(NotFound):
                act(session, strangers.owner, people.creator.id)
            with pytest.raises(NotFound):
                act(session, strangers.owner, uuid.uuid4())


def test_an_admin_who_was_demoted_a_moment_ago_can_do_nothing(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        roster.change_role(session, people.owner, people.admin.id, Role.CREATOR)
    stale = people.admin
    with database.transaction() as session, pytest.raises(NotAllowed):
        roster.suspend(session, stale, people.creator.id)


def test_a_removed_member_is_a_stranger_and_can_be_let_in_again(database: Database) -> None:
    people = team(database)
    who = identity("Rhea Returner")
    with database.transaction() as session:
        first = seats.add_member(session, people.id, who, role=Role.ADMIN, seated=True)
    with database.transaction() as session:
        roster.remove(session, people.owner, first.id)
    with database.transaction() as session:
        assert seats.find_member(session, who.issuer, who.subject) is None
        assert first.id not in {known.id for known in seats.members(session, people.id)}
        again = seats.add_member(session, people.id, who, role=Role.CREATOR, seated=False)
    assert (again.id, again.role, again.status) == (first.id, Role.CREATOR, Status.ACTIVE)


def test_every_change_is_a_row_of_history_with_the_seats_taken(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        roster.revoke_seat(session, people.admin, people.creator.id)
        roster.revoke_seat(session, people.admin, people.creator.id)  # again: no change, no row
        roster.suspend(session, people.admin, people.creator.id)
        roster.change_role(session, people.owner, people.creator.id, Role.REVIEWER)
    assert _history(database, people, limit=3) == [
        ("role", people.owner.id, 2),
        ("suspended", people.admin.id, 2),
        ("seat_revoked", people.admin.id, 2),
    ]


def _history(
    database: Database, people: Team, *, limit: int
) -> list[tuple[str, uuid.UUID | None, int]]:
    with database.read() as session:
        changes = seat_history.changes(session, people.id, limit=limit)
        return [(change.kind, change.actor_id, change.seats_taken) for change in changes]
