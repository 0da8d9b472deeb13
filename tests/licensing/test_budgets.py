"""A budget bounds what one subject may use in a period, and says so before anything is held."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from factories import Team, team
from sqlalchemy import select

from licensing import budget_limits, budgets, teams
from licensing.audit import audit
from licensing.budget_limits import Budget
from licensing.budgets import BudgetExceeded, BudgetStanding, Period, Scope
from licensing.db import Database
from licensing.errors import Conflict, NotAllowed, NotFound
from licensing.money import InvalidAmount
from licensing.seat_history import SeatChange
from licensing.seats import Member

PICTURE_MICROS = 15_000
NOON = datetime(2028, 2, 29, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Purse:
    """A team whose creator reserves pictures at moments that the test chooses."""

    database: Database
    people: Team

    def limit(
        self,
        limit_micros: int | None,
        *,
        scope: Scope = "member",
        subject_id: uuid.UUID | None = None,
        period: Period = "day",
        actor: Member | None = None,
    ) -> None:
        if scope == "member" and subject_id is None:
            subject_id = self.people.creator.id
        with self.database.transaction() as session:
            budget_limits.set_budget(
                session,
                actor or self.people.admin,
                scope=scope,
                subject_id=subject_id,
                period=period,
                limit_micros=limit_micros,
            )

    def reserve(
        self,
        pictures: int = 1,
        *,
        at: datetime = NOON,
        member: Member | None = None,
        team_id: uuid.UUID | None = None,
        api_key_id: uuid.UUID | None = None,
    ) -> uuid.UUID:
        generation_id = uuid.uuid4()
        with self.database.transaction() as session:
            budgets.reserve(
                session,
                organisation_id=self.people.id,
                member_id=(member or self.people.creator).id,
                team_id=team_id,
                api_key_id=api_key_id,
                generation_id=generation_id,
                amount_micros=pictures * PICTURE_MICROS,
                at=at,
            )
        return generation_id

    def resolve(self, generation_id: uuid.UUID, pictures: int = 0) -> bool:
        with self.database.transaction() as session:
            return budgets.resolve(session, generation_id, pictures * PICTURE_MICROS)

    def standings(
        self, *, at: datetime = NOON, member: Member | None = None
    ) -> list[BudgetStanding]:
        with self.database.read() as session:
            return budgets.budgets_of(session, member_id=(member or self.people.creator).id, at=at)

    def left(self, *, at: datetime = NOON, member: Member | None = None) -> list[int]:
        found = self.standings(at=at, member=member)
        return [standing.left_micros // PICTURE_MICROS for standing in found]


@pytest.fixture
def purse(database: Database) -> Purse:
    return Purse(database, team(database))


def test_a_budget_for_three_pictures_admits_three(purse: Purse) -> None:
    purse.limit(3 * PICTURE_MICROS)
    purse.reserve(2)
    purse.reserve()
    with pytest.raises(BudgetExceeded) as refused:
        purse.reserve()
    assert refused.value.status == 402
    assert refused.value.left_micros == 0
    assert refused.value.resets_at == datetime(2028, 3, 1, tzinfo=UTC)
    assert refused.value.message == (
        "Your budget of $0.045 a day is used up. $0.045 of it is set aside for pictures in the "
        "making. It resets at midnight UTC. Amir Admin or Olga Owner can raise it."
    )
    assert purse.left() == [0]


def test_a_request_larger_than_what_is_left_says_both(purse: Purse) -> None:
    purse.limit(3 * PICTURE_MICROS, period="month")
    purse.resolve(purse.reserve(2), 2)
    with pytest.raises(BudgetExceeded) as refused:
        purse.reserve(2)
    assert refused.value.message == (
        "This costs $0.03, and $0.015 is left of your budget of $0.045 a month. It resets on "
        "1 March. Amir Admin or Olga Owner can raise it."
    )
    purse.reserve(1)


def test_what_was_not_delivered_can_be_used_again(purse: Purse) -> None:
    purse.limit(4 * PICTURE_MICROS)
    job = purse.reserve(4)
    assert purse.left() == [0]
    assert purse.resolve(job, 1)
    assert not purse.resolve(job, 1), "a reservation is resolved once"
    (standing,) = purse.standings()
    assert (standing.used_micros, standing.held_micros) == (PICTURE_MICROS, 0)
    assert purse.left() == [3]
    assert purse.resolve(purse.reserve(3), 0)
    assert purse.left() == [3]


def test_no_job_uses_more_than_it_reserved(purse: Purse) -> None:
    job = purse.reserve(1)
    assert not purse.resolve(job, 2)
    assert not purse.resolve(uuid.uuid4(), 0), "a job from before there were budgets"
    assert purse.resolve(job, 1)


def test_a_generation_is_counted_once(purse: Purse) -> None:
    job = purse.reserve()
    with pytest.raises(Conflict), purse.database.transaction() as session:
        budgets.reserve(
            session,
            organisation_id=purse.people.id,
            member_id=purse.people.creator.id,
            team_id=None,
            api_key_id=None,
            generation_id=job,
            amount_micros=PICTURE_MICROS,
        )


def test_a_budget_set_at_noon_knows_the_morning(purse: Purse) -> None:
    purse.resolve(purse.reserve(2, at=NOON.replace(hour=8)), 2)
    purse.reserve(1, at=NOON.replace(hour=9))
    purse.limit(4 * PICTURE_MICROS)
    assert purse.left() == [1]
    purse.limit(10 * PICTURE_MICROS)
    assert purse.left() == [7]
    purse.limit(2 * PICTURE_MICROS)
    assert purse.left() == [0], "lowered below the use: nothing is left, and nothing is owed"
    with pytest.raises(BudgetExceeded):
        purse.reserve()
    purse.limit(None)
    assert purse.standings() == []
    purse.reserve(50)


def test_a_budget_of_nothing_admits_nothing(purse: Purse) -> None:
    purse.limit(0)
    with pytest.raises(BudgetExceeded, match=r"Your budget of \$0.00 a day is used up"):
        purse.reserve()


def test_a_job_counts_in_the_period_in_which_it_was_reserved(purse: Purse) -> None:
    purse.limit(2 * PICTURE_MICROS, period="day")
    purse.limit(3 * PICTURE_MICROS, period="month")
    late = datetime(2028, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)
    over_midnight = purse.reserve(2, at=late)
    next_day = datetime(2028, 3, 1, tzinfo=UTC)
    assert purse.left(at=late) == [0, 1]
    assert purse.left(at=next_day) == [2, 3]
    assert purse.resolve(over_midnight, 1)  # it finishes in March and was February's
    assert purse.left(at=late) == [1, 2]
    assert purse.left(at=next_day) == [2, 3]


def test_a_new_day_within_the_month_resets_the_day_alone(purse: Purse) -> None:
    purse.limit(2 * PICTURE_MICROS, period="day")
    purse.limit(3 * PICTURE_MICROS, period="month")
    purse.reserve(2, at=NOON.replace(day=27))
    with pytest.raises(BudgetExceeded, match="a month") as refused:
        purse.reserve(2, at=NOON.replace(day=28))
    assert refused.value.standing.period == "month"
    purse.reserve(1, at=NOON.replace(day=28))
    with pytest.raises(BudgetExceeded) as refused:
        purse.reserve(2, at=NOON.replace(day=28))
    assert refused.value.standing.period == "month", "both are too small: the later reset counts"


def test_days_are_utc_wherever_the_clock_stands(purse: Purse) -> None:
    purse.limit(PICTURE_MICROS)
    tokyo = datetime.fromisoformat("2028-03-01T08:59:00+09:00")  # 23:59 on 29 February in UTC
    purse.reserve(at=tokyo)
    assert purse.left(at=NOON) == [0]
    assert purse.left(at=datetime(2028, 3, 1, tzinfo=UTC)) == [1]


def test_a_clock_that_jumps_back_counts_in_its_own_day(purse: Purse) -> None:
    purse.limit(PICTURE_MICROS)
    purse.reserve(at=NOON)
    job = purse.reserve(at=NOON.replace(day=28))
    assert purse.resolve(job, 1)
    assert purse.left(at=NOON) == purse.left(at=NOON.replace(day=28)) == [0]


def test_everybody_starts_at_the_default_and_may_have_their_own(purse: Purse) -> None:
    purse.limit(2 * PICTURE_MICROS, scope="organisation_default")
    purse.limit(5 * PICTURE_MICROS)
    assert purse.left() == [5]
    assert purse.left(member=purse.people.owner) == [2]
    purse.reserve(2, member=purse.people.owner)
    with pytest.raises(BudgetExceeded, match="Your budget"):
        purse.reserve(1, member=purse.people.owner)
    purse.limit(None)
    assert purse.left() == [2], "without one of their own the default holds again"


def test_a_team_and_its_members_have_budgets_apart(purse: Purse) -> None:
    with purse.database.transaction() as session:
        made = teams.create(session, purse.people.owner, name="Brand")
        for member in (purse.people.creator, purse.people.owner):
            teams.add(session, purse.people.owner, made.id, member.id)
            teams.set_paying_team(session, purse.people.owner, member.id, made.id)
    purse.limit(3 * PICTURE_MICROS, scope="team", subject_id=made.id, period="month")
    purse.limit(2 * PICTURE_MICROS)
    assert [s.scope for s in purse.standings()] == ["member", "team"]
    purse.reserve(2, team_id=made.id)
    with pytest.raises(BudgetExceeded, match="left of the budget of the team “Brand” of"):
        purse.reserve(2, member=purse.people.owner, team_id=made.id)
    purse.reserve(1, member=purse.people.owner, team_id=made.id)
    with pytest.raises(BudgetExceeded, match="The budget of the team “Brand” of"):
        purse.reserve(1, member=purse.people.admin, team_id=made.id)
    assert purse.left() == [0, 0]


def test_a_refused_job_leaves_no_trace_even_if_its_caller_goes_on(purse: Purse) -> None:
    purse.limit(9 * PICTURE_MICROS, period="month")
    purse.limit(1 * PICTURE_MICROS, period="day")
    generation_id = uuid.uuid4()
    with purse.database.transaction() as session:
        with pytest.raises(BudgetExceeded):
            budgets.reserve(
                session,
                organisation_id=purse.people.id,
                member_id=purse.people.creator.id,
                team_id=None,
                api_key_id=None,
                generation_id=generation_id,
                amount_micros=2 * PICTURE_MICROS,
                at=NOON,
            )
        session.flush()
    assert purse.left() == [1, 9]
    assert not purse.resolve(generation_id)
    with purse.database.read() as session:
        assert audit(session) == []


@pytest.mark.parametrize("limit", [-1, 1.5, True, 10**15, "5"])
def test_a_limit_is_an_amount(purse: Purse, limit: int) -> None:
    with pytest.raises(InvalidAmount):
        purse.limit(limit)
    assert purse.standings() == []


def test_admins_set_budgets_of_their_own_people_alone(purse: Purse) -> None:
    stranger = team(purse.database).creator
    for actor in (purse.people.creator, purse.people.finance, purse.people.reviewer):
        with pytest.raises(NotAllowed):
            purse.limit(1, actor=actor)
    for scope in ("member", "team", "api_key"):
        for subject_id in (stranger.id, uuid.uuid4()):
            with pytest.raises(NotFound):
                purse.limit(1, scope=scope, subject_id=subject_id)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        purse.limit(1, scope="organisation_default", subject_id=purse.people.creator.id)
    with purse.database.read() as session:
        assert session.scalars(select(Budget)).all() == []


def test_a_change_of_a_budget_stands_in_the_history_once(purse: Purse) -> None:
    for limit in (2_000_000, 2_000_000, 1_500_000, None, None):
        purse.limit(limit, period="month")
    with purse.database.read() as session:
        rows = session.scalars(
            select(SeatChange).where(SeatChange.kind == "budget").order_by(SeatChange.id)
        ).all()
    assert [row.detail for row in rows] == [
        "per month: $2.00",
        "per month: $1.50",
        "per month: no limit",
    ]
    assert {row.actor_id for row in rows} == {purse.people.admin.id}
    assert {row.member_id for row in rows} == {purse.people.creator.id}
