"""Sixty people come at once, by every way in, and never more than fifty sit."""

import uuid
from collections.abc import Callable
from functools import partial

import pytest
from factories import Team as People
from factories import identity, member, team
from racing import race

from licensing import arrivals, domain_proofs, domains, invites, member_import, plans, roster, seats
from licensing.actors import Directory
from licensing.db import Database
from licensing.domains import SeatPolicy
from licensing.errors import AtelierError
from licensing.invites import Invite
from licensing.member_import import ImportRefused
from licensing.seats import Role, SeatCeilingReached

CEILING = 53  # fifty seats besides the three that the team has


def by_domain(database: Database) -> None:
    with database.transaction() as session:
        arrivals.sign_in(session, identity())


def by_invite(database: Database, waiting: tuple[Invite, str]) -> None:
    invited, token = waiting
    with database.transaction() as session:
        arrivals.accept_invite(session, token, identity(email=invited.email))


def by_file(database: Database, people: People, number: int) -> None:
    lines = "".join(f"f{number}.{n}@x.example\n" for n in range(3))
    with database.transaction() as session:
        member_import.carry_out(session, people.admin, f"email\n{lines}".encode())


def by_mail(database: Database, people: People, number: int) -> None:
    with database.transaction() as session:
        invites.invite(
            session, people.admin, email=f"m{number}@x.example", role=Role.CREATOR, seated=True
        )


def by_directory(database: Database, people: People) -> None:
    """As provisioning does it: the person comes in, then gets a seat if there is one."""
    with database.transaction() as session:
        joined = seats.add_member(session, people.id, identity(), role=Role.CREATOR, seated=False)
    with database.transaction() as session:
        roster.assign_seat(session, Directory(people.id, "the directory"), joined.id)


def attempt(way: Callable[[], None]) -> str:
    try:
        way()
    except (SeatCeilingReached, ImportRefused) as error:
        return error.code
    return "in"


@pytest.mark.parametrize("round_number", range(2))
def test_every_way_in_at_once_leaves_the_ceiling_whole(
    database: Database, round_number: int
) -> None:
    people = team(database, seat_ceiling=CEILING)
    with database.transaction() as session:
        made = domains.add(
            session, people.admin, domain="nord.example", seat_policy=SeatPolicy.SEAT
        )
        domain_proofs.confirm(session, people.admin, made.id, [made.record_value])
        waiting = [
            invites.invite(
                session, people.admin, email=f"w{n}@x.example", role=Role.CREATOR, seated=True
            )
            for n in range(8)
        ]
    ways: list[Callable[[], None]] = [partial(by_invite, database, each) for each in waiting]
    for number in range(16):
        ways.append(partial(by_domain, database))
        ways.append(partial(by_mail, database, people, number))
        ways.append(partial(by_directory, database, people))
        if number < 6:
            ways.append(partial(by_file, database, people, number))
    ways.sort(key=lambda _: uuid.uuid4())
    outcomes = race([partial(attempt, way) for way in ways])

    with database.read() as session:
        usage = seats.seat_usage(session, people.id)
        everybody = seats.members(session, people.id)
        high = plans.read(session, people.id)
    assert usage.taken == CEILING, f"full and not over, round {round_number}"
    assert usage.assigned == sum(each.seated for each in everybody)
    assert high.seats.left == 0
    outside = [each for each in everybody if not each.seated]
    assert len(outside) + len([o for o in outcomes if o != "in"]) > 0, "some had to stay outside"
    assert len({(each.issuer, each.subject) for each in everybody}) == len(everybody)


def test_one_person_in_many_tabs_is_one_member(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        made = domains.add(
            session, people.admin, domain="nord.example", seat_policy=SeatPolicy.SEAT
        )
        domain_proofs.confirm(session, people.admin, made.id, [made.record_value])
    who = identity("Nina")

    def come(_: int) -> uuid.UUID:
        with database.transaction() as session:
            return arrivals.sign_in(session, who).id

    assert len(set(race([partial(come, n) for n in range(12)]))) == 1


def test_one_person_invited_by_two_organisations_joins_one(database: Database) -> None:
    first, second = team(database), team(database)
    who = identity(email="n@x.example")
    tokens = []
    with database.transaction() as session:
        for people in (first, second):
            _, token = invites.invite(
                session, people.admin, email="n@x.example", role=Role.CREATOR, seated=True
            )
            tokens.append(token)

    def come(token: str) -> str:
        try:
            with database.transaction() as session:
                arrivals.accept_invite(session, token, who)
        except AtelierError as error:
            return error.code
        return "in"

    outcomes = race([partial(come, token) for token in tokens])
    assert sorted(outcomes) == ["conflict", "in"]


def test_a_seat_is_given_once_while_its_holder_is_removed(database: Database) -> None:
    people = team(database, seat_ceiling=4)
    with database.transaction() as session:
        leaving = member(session, people.organisation)
        hopeful = [
            seats.add_member(session, people.id, identity(), role=Role.CREATOR, seated=False)
            for _ in range(6)
        ]

    def give(to: seats.Member) -> str:
        try:
            with database.transaction() as session:
                roster.assign_seat(session, people.admin, to.id)
        except AtelierError as error:
            return error.code
        return "in"

    def remove() -> str:
        with database.transaction() as session:
            roster.remove(session, people.owner, leaving.id)
        return "removed"

    outcomes = race([*(partial(give, each) for each in hopeful), remove])
    assert outcomes.count("in") <= 1
    with database.read() as session:
        usage = seats.seat_usage(session, people.id)
    assert usage.assigned == 3 + outcomes.count("in")
