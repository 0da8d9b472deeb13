"""Teams have names of their own, one of a member's teams pays, and only admins move anybody."""

import uuid
from functools import partial

import pytest
from factories import Team as People
from factories import member, team
from racing import race
from sqlalchemy import text

from licensing import plans, roster, seat_history, seats, teams
from licensing.actors import Directory
from licensing.db import Database
from licensing.errors import Conflict, NotAllowed, NotFound
from licensing.seats import Member
from licensing.team_tables import Team
from licensing.teams import InvalidTeam
from licensing.tiers import TierRequired


def found(database: Database, people: People, name: str = "Film", **more: str) -> Team:
    with database.transaction() as session:
        return teams.create(session, people.admin, name=name, **more)


def add(database: Database, people: People, made: Team, who: Member) -> None:
    with database.transaction() as session:
        teams.add(session, people.admin, made.id, who.id)


def paying(database: Database, who: Member) -> uuid.UUID | None:
    with database.read() as session:
        fresh = seats.get_member(session, who.id)
    assert fresh is not None
    return fresh.team_id


def test_the_first_team_pays_until_another_is_chosen(database: Database) -> None:
    people = team(database)
    film, print_ = found(database, people), found(database, people, "Print")
    assert paying(database, people.creator) is None
    add(database, people, film, people.creator)
    add(database, people, print_, people.creator)
    assert paying(database, people.creator) == film.id
    with database.transaction() as session:
        teams.set_paying_team(session, people.admin, people.creator.id, print_.id)
    assert paying(database, people.creator) == print_.id
    with database.transaction() as session:
        teams.remove(session, people.admin, print_.id, people.creator.id)
    assert paying(database, people.creator) == film.id, "another team of theirs pays then"
    with database.transaction() as session:
        teams.set_paying_team(session, people.admin, people.creator.id, None)
    assert paying(database, people.creator) is None


def test_only_a_team_that_one_belongs_to_pays(database: Database) -> None:
    people = team(database)
    film = found(database, people)
    with database.transaction() as session, pytest.raises(Conflict, match="does not belong to"):
        teams.set_paying_team(session, people.admin, people.creator.id, film.id)


def test_names_are_unique_among_living_teams(database: Database) -> None:
    people = team(database)
    film = found(database, people, "Fílm  Crew ")
    assert film.name == "Fílm Crew"
    with pytest.raises(Conflict, match="Fílm Crew"):
        found(database, people, "FÍLM CREW")
    add(database, people, film, people.creator)
    with database.transaction() as session:
        teams.archive(session, people.admin, film.id)
    assert paying(database, people.creator) is None
    again = found(database, people, "film crew")
    with database.read() as session:
        assert [each.id for each in teams.teams(session, people.id)] == [again.id]
    with database.transaction() as session, pytest.raises(NotFound):
        teams.rename(session, people.admin, film.id, name="Other")


def test_one_of_two_who_found_the_same_team_at_once_is_told(database: Database) -> None:
    people = team(database)

    def create(_: int) -> bool:
        try:
            found(database, people)
        except Conflict:
            return False
        return True

    assert sum(race([partial(create, n) for n in range(6)])) == 1


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\nb\u202e", "a\0b"])
def test_a_name_has_to_fit_a_page(database: Database, name: str) -> None:
    people = team(database)
    with pytest.raises(InvalidTeam):
        found(database, people, name)
    with pytest.raises(InvalidTeam):
        found(database, people, cost_centre="x" * 65)


def test_renaming_keeps_what_was_not_said(database: Database) -> None:
    people = team(database)
    film = found(database, people, cost_centre="CC-1")
    with database.transaction() as session:
        renamed = teams.rename(session, people.admin, film.id, name="Movies")
        assert (renamed.name, renamed.cost_centre) == ("Movies", "CC-1")
        assert teams.rename(session, people.admin, film.id, cost_centre="").cost_centre is None
        kinds = [change.detail for change in seat_history.changes(session, people.id, limit=2)]
    assert kinds == ["Movies (CC-1) -> Movies", "Film (CC-1) -> Movies (CC-1)"]


def test_another_organisation_sees_no_team_and_lends_no_member(database: Database) -> None:
    people, strangers = team(database), team(database)
    film = found(database, people)
    for act in (
        partial(teams.rename, name="Ours"),
        teams.archive,
        partial(teams.add, member_id=strangers.creator.id),
        partial(teams.set_members, member_ids=[strangers.creator.id]),
    ):
        with database.transaction() as session, pytest.raises(NotFound):
            act(session, strangers.admin, film.id)
    for who in (strangers.creator.id, uuid.uuid4()):
        with database.transaction() as session, pytest.raises(NotFound):
            teams.add(session, people.admin, film.id, who)
    with database.transaction() as session, pytest.raises(NotAllowed):
        teams.create(session, people.creator, name="Mine")


def test_who_is_removed_leaves_every_team(database: Database) -> None:
    people = team(database)
    film = found(database, people)
    add(database, people, film, people.creator)
    with database.transaction() as session:
        roster.remove(session, people.admin, people.creator.id)
        assert teams.members_of(session, film.id) == []
    assert paying(database, people.creator) is None


def test_a_directory_replaces_a_group_whole_or_not_at_all(database: Database) -> None:
    people = team(database)
    directory = Directory(people.id, "the directory of nord.example")
    with database.transaction() as session:
        group = teams.create(session, directory, name="Design", external_id="g-1")
        teams.set_members(session, directory, group.id, [people.creator.id, people.admin.id])
        teams.set_members(session, directory, group.id, [people.admin.id, people.owner.id])
    with database.transaction() as session, pytest.raises(NotFound):
        teams.set_members(session, directory, group.id, [people.creator.id, uuid.uuid4()])
    with database.read() as session:
        names = [each.name for each in teams.members_of(session, group.id)]
        latest = seat_history.changes(session, people.id, limit=1)[0]
    assert names == ["Amir Admin", "Olga Owner"]
    assert (latest.kind, latest.actor_id) == ("team_joined", None)
    assert latest.detail == "Design, by the directory of nord.example"
    with database.transaction() as session, pytest.raises(Conflict, match="tied to"):
        teams.create(session, directory, name="Design 2", external_id="g-1")


def test_a_directory_suspends_but_not_the_last_owner(database: Database) -> None:
    people = team(database)
    directory = Directory(people.id, "the directory")
    with database.transaction() as session:
        assert roster.suspend(session, directory, people.admin.id).status == "suspended"
        with pytest.raises(Conflict, match="last owner"):
            roster.suspend(session, directory, people.owner.id)


def test_one_person_alone_has_no_teams(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        for who in (people.admin, people.creator):
            roster.revoke_seat(session, people.owner, who.id)
        plans.change_tier(session, people.id, "individual", ceiling=1)
    with pytest.raises(TierRequired, match="Teams is part of the Business plan"):
        found(database, people)


def test_the_database_lets_no_team_of_strangers_pay(database: Database) -> None:
    people, strangers = team(database), team(database)
    film = found(database, strangers)
    with database.transaction() as session:
        outsider = member(session, people.organisation)
    with (
        pytest.raises(Exception, match="fk_member_team_id_organisation_id"),
        database.transaction() as session,
    ):
        session.execute(
            text("UPDATE member SET team_id = :team WHERE id = :id"),
            {"team": film.id, "id": outsider.id},
        )
