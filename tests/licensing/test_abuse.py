"""Counting refusals: a few slow somebody down, many stop them until a reviewer has looked."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from factories import Team, team
from racing import race
from sqlalchemy import select
from sqlalchemy.orm import Session

from licensing import abuse, cases, decisions, moderation, standing
from licensing.abuse import CoolOff, GenerationStopped
from licensing.cases import ReviewCase
from licensing.db import Database, now
from licensing.decisions import Order


@pytest.fixture
def people(database: Database) -> Team:
    return team(database)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> "Clock":
    """The time at which verdicts are written and counted."""
    clock = Clock(now() - timedelta(minutes=50))
    for module in (moderation, abuse, cases):
        monkeypatch.setattr(module, "now", lambda: clock.at)
    return clock


class Clock:
    def __init__(self, at: datetime) -> None:
        self.at = at

    def wait(self, **by: float) -> None:
        self.at += timedelta(**by)


def refuse(database: Database, people: Team, words: str, category: str = "hate") -> None:
    with database.transaction() as session:
        moderation.record(
            session,
            organisation_id=people.id,
            member_id=people.creator.id,
            generation_id=None,
            subject="prompt",
            action="block",
            category=category,
            source="rules:test",
            excerpt=words,
        )


@contextmanager
def reading(database: Database) -> Iterator[Session]:
    with database.read() as session:
        yield session


def require_calm(database: Database, people: Team) -> None:
    with reading(database) as session:
        abuse.require_calm(session, people.creator.id)


def alarms(database: Database, people: Team) -> list[ReviewCase]:
    with reading(database) as session:
        query = select(ReviewCase).where(
            ReviewCase.kind == "abuse", ReviewCase.member_id == people.creator.id
        )
        return list(session.scalars(query.order_by(ReviewCase.id)))


def insist(database: Database, people: Team, clock: Clock, times: int, word: str = "words") -> None:
    for number in range(times):
        clock.wait(seconds=6)
        refuse(database, people, f"{word} {number}")


def test_a_burst_of_clicks_is_one_strike(database: Database, people: Team, clock: Clock) -> None:
    for _ in range(20):
        refuse(database, people, "the same words")
    clock.wait(minutes=1)
    refuse(database, people, "the same words")  # again, and impatient
    with reading(database) as session:
        assert abuse.strikes(session, people.creator.id).hour <= 2
    require_calm(database, people)
    assert alarms(database, people) == []


@pytest.mark.usefixtures("clock")
def test_a_batch_that_comes_at_once_is_no_campaign(database: Database, people: Team) -> None:
    for number in range(20):
        refuse(database, people, f"variant {number}")
    with reading(database) as session:
        assert abuse.strikes(session, people.creator.id).hour == 1
    assert alarms(database, people) == []


def test_five_in_an_hour_cool_off_for_a_while_and_the_page_says_until_when(
    database: Database, people: Team, clock: Clock
) -> None:
    insist(database, people, clock, abuse.COOL_OFF_STRIKES - 1)
    require_calm(database, people)
    insist(database, people, clock, 1, "one more")
    with pytest.raises(CoolOff) as refusal:
        require_calm(database, people)
    assert refusal.value.until == clock.at + abuse.COOL_OFF
    assert f"{refusal.value.until:%H:%M} UTC" in refusal.value.message
    with reading(database) as session:
        (reason, *_) = standing.why_not(session, people.creator)[1:]
    assert (reason.code, reason.href) == ("cool_off", "/refusals")
    clock.wait(minutes=16)
    require_calm(database, people)


def test_whoever_goes_on_waits_longer_and_is_stopped_in_the_end(
    database: Database, people: Team, clock: Clock
) -> None:
    insist(database, people, clock, abuse.LONG_COOL_OFF_STRIKES)
    with pytest.raises(CoolOff) as refusal:
        require_calm(database, people)
    assert refusal.value.until == clock.at + abuse.LONG_COOL_OFF
    insist(database, people, clock, abuse.STOP_STRIKES - abuse.LONG_COOL_OFF_STRIKES, "and")
    (alarm,) = alarms(database, people)
    assert alarm.due_at == alarm.opened_at + cases.ABUSE_TIME
    clock.wait(days=3)  # the strikes are old, the alarm is not answered
    with pytest.raises(GenerationStopped):
        require_calm(database, people)


def test_three_about_children_are_looked_at(database: Database, people: Team, clock: Clock) -> None:
    for number in range(abuse.STOP_STRIKES_MINORS):
        clock.wait(minutes=20)
        refuse(database, people, f"words {number}", "minors_sexual")
    assert len(alarms(database, people)) == 1


def decide(database: Database, people: Team, case: ReviewCase, action: cases.Outcome) -> None:
    with database.transaction() as session:
        fresh = cases.access(session, people.id, case.id)
        reviewer = people.reviewer if fresh.decision_id is None else people.owner
        order = Order(action, None, "We talked.", seen=fresh.decision_id)
        decisions.decide(session, reviewer, fresh, order, effect="none")


def test_a_stop_holds_until_a_reviewer_lifts_it_and_then_the_count_begins_anew(
    database: Database, people: Team, clock: Clock
) -> None:
    insist(database, people, clock, abuse.STOP_STRIKES)
    (alarm,) = alarms(database, people)
    decide(database, people, alarm, "block")
    with pytest.raises(GenerationStopped):
        require_calm(database, people)
    decide(database, people, alarm, "allow")
    require_calm(database, people)


def test_what_a_reviewer_allowed_is_no_strike(
    database: Database, people: Team, clock: Clock
) -> None:
    insist(database, people, clock, abuse.COOL_OFF_STRIKES)
    with reading(database) as session:
        case = session.scalars(select(ReviewCase).limit(1)).one()
    decide(database, people, case, "allow")
    require_calm(database, people)


def test_many_processes_open_one_alarm(database: Database, people: Team, clock: Clock) -> None:
    insist(database, people, clock, abuse.STOP_STRIKES - 1)
    clock.wait(seconds=6)
    race([lambda n=n: refuse(database, people, f"at once {n}") for n in range(6)])  # type: ignore[misc]
    assert len(alarms(database, people)) == 1


def test_others_are_not_slowed_down(database: Database, people: Team, clock: Clock) -> None:
    insist(database, people, clock, abuse.STOP_STRIKES)
    with reading(database) as session:
        abuse.require_calm(session, people.admin.id)
