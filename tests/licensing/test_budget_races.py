"""Many at once: a budget admits what it is worth, nobody waits for ever, the counters add up."""

import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg
import pytest
from factories import Team, member, team
from racing import race
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from licensing import budget_limits, budgets, ledger, usage
from licensing.audit import audit
from licensing.budgets import BudgetExceeded, Period
from licensing.db import Database, now
from licensing.ledger import InsufficientBalance
from licensing.seats import Member

PICTURE_MICROS = 15_000
MONTH_END = datetime(2027, 1, 31, 23, 59, 59, tzinfo=UTC)


def limit(
    database: Database,
    people: Team,
    pictures: int | None,
    *,
    subject: Member | None = None,
    period: Period = "day",
) -> None:
    with database.transaction() as session:
        budget_limits.set_budget(
            session,
            people.owner,
            scope="member",
            subject_id=(subject or people.creator).id,
            period=period,
            limit_micros=None if pictures is None else pictures * PICTURE_MICROS,
        )


def take(
    database: Database,
    people: Team,
    *,
    who: Member | None = None,
    team_id: uuid.UUID | None = None,
    api_key_id: uuid.UUID | None = None,
    pictures: int = 1,
    at: datetime | None = None,
) -> uuid.UUID | None:
    """Reserve and hold as `submit` does; None if a budget or the wallet says no."""
    generation_id = uuid.uuid4()
    member_id = (who or people.creator).id
    try:
        with database.transaction() as session:
            budgets.reserve(
                session,
                organisation_id=people.id,
                member_id=member_id,
                team_id=team_id,
                api_key_id=api_key_id,
                generation_id=generation_id,
                amount_micros=pictures * PICTURE_MICROS,
                at=at,
            )
            ledger.hold(
                session,
                organisation_id=people.id,
                member_id=member_id,
                generation_id=generation_id,
                amount_micros=pictures * PICTURE_MICROS,
                price_version="2026-11",
            )
    except (BudgetExceeded, InsufficientBalance):
        return None
    return generation_id


def end(database: Database, generation_id: uuid.UUID, people: Team, pictures: int) -> bool:
    """Settle for `pictures`, or release for none, as the lifecycle does."""
    amount_micros = pictures * PICTURE_MICROS
    with database.transaction() as session:
        budgets.resolve(session, generation_id, amount_micros)
        if not pictures:
            return ledger.release(session, generation_id, "cancelled")
        if not ledger.settle(session, generation_id, amount_micros):
            return False
        held = ledger.get_hold(session, generation_id)
        assert held is not None
        usage.record(
            session,
            generation_id=generation_id,
            organisation_id=people.id,
            member_id=held.member_id,
            model="pocket-turbo",
            images=pictures,
            width=128,
            height=128,
            amount_micros=amount_micros,
            price_version="2026-11",
            at=now(),
        )
        return True


def counted(database: Database, **where: object) -> tuple[int, int]:
    """The pictures used and held in the counters of one subject and period."""
    conditions = " AND ".join(f"{name} = :{name}" for name in where)
    query = f"SELECT sum(used_micros), sum(held_micros) FROM budget_counter WHERE {conditions}"
    with database.read() as session:
        used, held = session.execute(text(query), where).one()
    return int(used or 0) // PICTURE_MICROS, int(held or 0) // PICTURE_MICROS


def assert_sound(database: Database) -> None:
    with database.read() as session:
        assert audit(session) == []


def test_sixty_jobs_of_one_member_on_a_budget_for_ten(database: Database) -> None:
    people = team(database)
    limit(database, people, 10)
    admitted = race([partial(take, database, people)] * 60)
    assert sum(job is not None for job in admitted) == 10
    assert counted(database, subject_id=people.creator.id, period="day") == (0, 10)
    assert_sound(database)


def test_sixty_members_of_one_team_on_the_first_use_of_its_budget(database: Database) -> None:
    people = team(database, seat_ceiling=100)
    brand = uuid.uuid4()
    with database.transaction() as session:
        crowd = [member(session, people.organisation) for _ in range(60)]
        session.execute(
            text(
                "INSERT INTO budget (id, organisation_id, scope, subject_id, period, limit_micros,"
                " author_id, created_at, updated_at) VALUES (gen_random_uuid(), :o, 'team', :t,"
                " 'month', :m, :a, now(), now())"
            ),
            {"o": people.id, "t": brand, "m": 10 * PICTURE_MICROS, "a": people.owner.id},
        )
        session.execute(
            text(
                "INSERT INTO team (id, organisation_id, name, name_key, created_at)"
                " VALUES (:t, :o, 'Brand', 'brand', now())"
            ),
            {"o": people.id, "t": brand},
        )
    admitted = race([partial(take, database, people, who=one, team_id=brand) for one in crowd])
    assert sum(job is not None for job in admitted) == 10
    assert counted(database, scope="team", period="month") == (0, 10)
    assert counted(database, scope="member", period="month") == (0, 10)
    assert_sound(database)


def test_the_turn_of_the_month_in_the_middle_of_everything(database: Database) -> None:
    people = team(database)
    limit(database, people, 10, period="month")
    moments = [MONTH_END + timedelta(seconds=step % 2) for step in range(40)]
    admitted = race([partial(take, database, people, at=at) for at in moments])
    assert sum(job is not None for job in admitted) == 20
    jobs = [job for job in admitted if job is not None]
    assert all(race([partial(end, database, job, people, 1) for job in jobs]))
    for first in ("2027-01-01", "2027-02-01"):
        assert counted(database, period="month", starts_on=first) == (10, 0)
    assert_sound(database)


def test_worker_cancel_and_sweep_resolve_each_reservation_once(database: Database) -> None:
    people = team(database)
    limit(database, people, 60)
    jobs = [job for job in race([partial(take, database, people, pictures=2)] * 30) if job]
    assert len(jobs) == 30
    ends: list[Callable[[], bool]] = []
    for job in jobs:
        ends += [partial(end, database, job, people, paid) for paid in (1, 0, 2)]
    random.Random(7).shuffle(ends)
    outcomes = race(ends)
    assert sum(outcomes) == 30
    used, held = counted(database, subject_id=people.creator.id, period="day")
    assert held == 0
    with database.read() as session:
        settled = ledger.balance(session, people.id).settled_micros
    assert used == (10_000_000 - settled) // PICTURE_MICROS
    assert_sound(database)


def test_limits_that_change_under_traffic_leave_the_counters_right(database: Database) -> None:
    people = team(database)
    limit(database, people, 5)
    jobs: list[Callable[[], object]] = [partial(take, database, people)] * 50
    changes = [(20, "day"), (None, "day"), (3, "day"), (15, "month"), (8, "day"), (None, "month")]
    for place, (pictures, period) in enumerate(changes):
        change = partial(limit, database, people, pictures, period=period)  # type: ignore[arg-type]
        jobs.insert(place * 8, change)
    race(jobs)
    limit(database, people, 0)
    assert take(database, people) is None
    assert_sound(database)


@pytest.mark.parametrize("seed", [1, 2])
def test_hostile_interleavings_of_keys_teams_and_members_end(database: Database, seed: int) -> None:
    """Jobs share members, teams and keys crosswise; some are ended three at a time."""
    people = team(database, balance_micros=400 * PICTURE_MICROS)
    chance = random.Random(seed)
    keys, brands = [[uuid.uuid4() for _ in range(2)] for _ in range(2)]
    crowd = [people.creator, people.admin, people.owner]

    def take_and_end_several() -> int:
        jobs = [
            take(
                database,
                people,
                who=chance.choice(crowd),
                team_id=chance.choice([None, *brands]),
                api_key_id=chance.choice([None, *keys]),
                at=MONTH_END + timedelta(seconds=chance.randrange(2)),
            )
            for _ in range(3)
        ]
        taken = [job for job in jobs if job is not None]
        if chance.random() < 0.5:
            return sum(end(database, job, people, chance.randrange(2)) for job in taken)
        with database.transaction() as session:
            budgets.free(session, taken)
            session.execute(
                text("SELECT 1 FROM hold WHERE generation_id = ANY(:ids) ORDER BY id FOR UPDATE"),
                {"ids": taken},
            )
            return sum(ledger.release(session, job, "cancelled") for job in taken)

    assert sum(race([take_and_end_several] * 40)) == 120
    used, held = counted(database, scope="member", period="month")
    assert held == 0
    with database.read() as session:
        assert ledger.balance(session, people.id).settled_micros == (400 - used) * PICTURE_MICROS
    assert_sound(database)


def test_a_reservation_dies_with_its_connection(database: Database) -> None:
    """The process is killed between the reservation and the commit: nothing stays counted."""
    people = team(database)
    limit(database, people, 1)

    def reserve_and_die() -> None:
        with database.transaction() as session:
            budgets.reserve(
                session,
                organisation_id=people.id,
                member_id=people.creator.id,
                team_id=None,
                api_key_id=None,
                generation_id=uuid.uuid4(),
                amount_micros=PICTURE_MICROS,
            )
            pid = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with psycopg.connect(database.url, autocommit=True) as hand:
                hand.execute("SELECT pg_terminate_backend(%s)", (pid,))

    with pytest.raises(OperationalError):
        reserve_and_die()
    assert take(database, people) is not None
    assert_sound(database)
