"""Plans end where they say, never below the people, and what they open is asked of the data."""

from datetime import UTC, date, datetime, timedelta
from functools import partial

import pytest
from factories import member, team
from racing import race
from sqlalchemy import delete, select, update

from licensing import invites, plans, roster, seat_days, seat_history, seats, tiers
from licensing.db import Database, now
from licensing.errors import Conflict, NotFound
from licensing.invites import Invite
from licensing.seat_days import SeatDay
from licensing.seats import Role, SeatCeilingReached
from licensing.tiers import TierRequired


def test_the_plans_on_offer() -> None:
    assert [(tier.id, tier.seats_max) for tier in tiers.offered()] == [
        ("individual", 1),
        ("business", 50),
        ("enterprise", None),
    ]
    assert [tiers.next_above(tier) for tier in tiers.offered()] == [*tiers.offered()[1:], None]
    with pytest.raises(NotFound):
        tiers.find("platinum")
    assert tiers.offered(datetime(2026, 10, 31, tzinfo=UTC)) == (), "plans begin on a day"


def test_a_refusal_names_the_plan_that_has_it(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        tiers.require(session, people.id, "domains")
        with pytest.raises(TierRequired, match="Enterprise plan, and you are on Business"):
            tiers.require(session, people.id, "scim")
        plans.change_tier(session, people.id, "enterprise", ceiling=60)
        tiers.require(session, people.id, "scim")


@pytest.mark.parametrize("ceiling", [-1, 0, 2, 51, 10**12])
def test_seats_that_cannot_be_are_not_bought(database: Database, ceiling: int) -> None:
    people = team(database)
    with database.transaction() as session, pytest.raises(Conflict):
        plans.set_ceiling(session, people.id, ceiling)


def test_fewer_seats_never_take_one_from_anybody(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        invites.invite(session, people.admin, email="a@x.example", role=Role.CREATOR, seated=True)
        with pytest.raises(Conflict, match=r"4 seats are taken \(3 assigned, 1 held"):
            plans.set_ceiling(session, people.id, 3)
        assert plans.set_ceiling(session, people.id, 3, keep_taken=True) == 4
        roster.revoke_seat(session, people.admin, people.creator.id)
        assert seats.seat_usage(session, people.id).ceiling == 4, "revoking is not reducing"
        assert plans.set_ceiling(session, people.id, 3) == 3


def test_the_same_number_again_is_not_a_change(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        for _ in range(2):
            plans.set_ceiling(session, people.id, 10, detail="by the subscription")
        changes = seat_history.changes(session, people.id, limit=50)
    assert [c.detail for c in changes if c.kind == "ceiling"] == ["50 -> 10, by the subscription"]


def test_a_full_plan_says_where_to_go(database: Database) -> None:
    people = team(database, seat_ceiling=3)
    with database.transaction() as session:
        with pytest.raises(SeatCeilingReached, match=r"buy more seats under /team\?view=plan"):
            member(session, people.organisation)
        plans.set_ceiling(session, people.id, 50)
        for _ in range(47):
            member(session, people.organisation)
        with pytest.raises(SeatCeilingReached, match=r"move to the Enterprise plan \(Business"):
            member(session, people.organisation)
        assert plans.read(session, people.id).room == 0


def test_a_plan_too_small_for_the_people_is_refused(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        with pytest.raises(Conflict, match="3 seats are taken"):
            plans.change_tier(session, people.id, "individual", ceiling=1)
        with pytest.raises(NotFound):
            plans.change_tier(session, people.id, "platinum", ceiling=5)


def test_seats_given_and_seats_cut_at_once_never_cross(database: Database) -> None:
    people = team(database, seat_ceiling=8)

    def give(_: int) -> bool:
        try:
            with database.transaction() as session:
                member(session, people.organisation)
        except SeatCeilingReached:
            return False
        return True

    def cut(_: int) -> bool:
        try:
            with database.transaction() as session:
                plans.set_ceiling(session, people.id, 5)
        except Conflict:
            return False
        return True

    race([partial(give if n % 2 else cut, n) for n in range(12)])
    with database.read() as session:
        usage = seats.seat_usage(session, people.id)
    assert usage.taken <= usage.ceiling


def high(database: Database, organisation_id: object) -> int:
    with database.read() as session:
        query = select(SeatDay.high_water).where(SeatDay.organisation_id == organisation_id)
        return session.scalars(query).one()


def test_the_days_highest_counts_not_its_last(database: Database) -> None:
    people = team(database)
    assert high(database, people.id) == 3
    with database.transaction() as session:
        invites.invite(session, people.admin, email="a@x.example", role=Role.CREATOR, seated=True)
        roster.revoke_seat(session, people.admin, people.creator.id)
        roster.revoke_seat(session, people.admin, people.admin.id)
    assert high(database, people.id) == 4


def test_a_day_begins_with_what_was_held_at_midnight(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        invites.invite(session, people.admin, email="a@x.example", role=Role.CREATOR, seated=True)
        session.execute(delete(SeatDay))
        session.execute(update(Invite).values(expires_at=now() - timedelta(microseconds=1)))
    with database.transaction() as session:
        roster.revoke_seat(session, people.admin, people.creator.id)
    expected = 4 if now() - timedelta(seconds=5) > seat_days.midnight(now()) else 3
    assert high(database, people.id) == expected, "the invite ran out today and held its seat"


def test_the_beat_begins_the_day_of_everybody_once(database: Database) -> None:
    people, others = team(database), team(database)
    tomorrow = now() + timedelta(days=1)
    with database.transaction() as session:
        assert seat_days.begin_all(session, tomorrow) == 2
        assert seat_days.begin_all(session, tomorrow) == 0
        days = seat_days.days(session, people.id, now().date(), tomorrow.date())
        assert [day.high_water for day in days] == [3, 3]
        assert seat_days.highest(session, others.id, now().date(), tomorrow.date()) == 3


def test_days_without_a_record_repeat_the_day_before(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        session.execute(delete(SeatDay))
        for day, taken in ((date(2028, 2, 27), 5), (date(2028, 3, 1), 7)):
            at = datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)
            seat_days.rise(session, people.id, taken, at)
            seat_days.rise(session, people.id, taken - 1, at)
        first, last = date(2028, 2, 25), date(2028, 3, 2)
        days = seat_days.days(session, people.id, first, last)
    assert [(d.day.isoformat(), d.high_water, d.is_recorded) for d in days] == [
        ("2028-02-27", 5, True),
        ("2028-02-28", 5, False),
        ("2028-02-29", 5, False),
        ("2028-03-01", 7, True),
        ("2028-03-02", 7, False),
    ]
