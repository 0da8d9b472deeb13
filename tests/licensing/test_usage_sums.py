"""Sums of usage: exact in every grouping, never behind, and with the lines behind them."""

import uuid
from datetime import UTC, datetime

import pytest
from factories import Team, team
from racing import race
from sqlalchemy import text

from licensing import api_keys, ledger, teams, usage
from licensing.audit import audit
from licensing.db import Database
from licensing.seats import Member
from licensing.usage_sums import By, Drill, Filters, Sum, drill, summary

NOVEMBER = datetime(2025, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2025, 12, 1, tzinfo=UTC)


def use(
    database: Database,
    who: Member,
    at: datetime = NOVEMBER,
    *,
    images: int = 1,
    model: str = "pocket-turbo",
    **tags: object,
) -> uuid.UUID:
    generation_id = uuid.uuid4()
    with database.transaction() as session:
        ledger.hold(
            session,
            organisation_id=who.organisation_id,
            member_id=who.id,
            generation_id=generation_id,
            amount_micros=15_000 * images,
            price_version="2026-11",
        )
    with database.transaction() as session:
        usage.record(
            session,
            generation_id=generation_id,
            organisation_id=who.organisation_id,
            member_id=who.id,
            model=model,
            images=images,
            width=512,
            height=768,
            amount_micros=15_000 * images,
            price_version="2026-11",
            at=at,
            **tags,  # type: ignore[arg-type]
        )
        assert ledger.settle(session, generation_id, 15_000 * images)
    return generation_id


def sums(
    database: Database,
    people: Team,
    *by: By,
    filters: Filters | None = None,
    until: datetime = DECEMBER,
) -> list[Sum]:
    with database.read() as session:
        return summary(session, people.id, NOVEMBER, until, by=by, filters=filters)


def lines(database: Database, people: Team, filters: Filters | None = None, page: int = 1) -> Drill:
    with database.read() as session:
        return drill(session, people.id, NOVEMBER, DECEMBER, filters=filters, page=page)


def test_usage_is_added_up_by_member_and_day(database: Database) -> None:
    people = team(database)
    use(database, people.creator, NOVEMBER, images=2)
    use(database, people.creator, NOVEMBER.replace(hour=23))
    use(database, people.admin, NOVEMBER.replace(day=2))
    use(database, people.admin, DECEMBER)
    found = sums(database, people, By.DAY, By.MEMBER)
    assert [
        (*one.keys[:1], one.names[1], one.generations, one.images, one.amount_micros)
        for one in found
    ] == [
        ("2025-11-02", "Amir Admin", 1, 1, 15_000),
        ("2025-11-01", "Cleo Creator", 2, 3, 45_000),
    ]
    assert sums(database, people) == [Sum((), (), 3, 0, 4, 60_000)]


def test_every_grouping_names_its_groups_and_adds_up_to_the_total(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        film = teams.create(session, people.owner, name="Film", cost_centre="CC-7")
    with database.transaction() as session:
        key = api_keys.create(session, people.creator, name="Nightly")
    key_id = key[0].id
    use(database, people.creator, team_id=film.id, project="Spring", api_key_id=key_id, images=4)
    use(database, people.admin, model="pocket-raw")
    expected = {
        By.DAY: [("2025-11-01", 75_000)],
        By.MEMBER: [("Cleo Creator", 60_000), ("Amir Admin", 15_000)],
        By.MODEL: [("pocket-turbo", 60_000), ("pocket-raw", 15_000)],
        By.TEAM: [("Film", 60_000), ("", 15_000)],
        By.PROJECT: [("Spring", 60_000), ("", 15_000)],
        By.COST_CENTRE: [("CC-7", 60_000), ("", 15_000)],
        By.API_KEY: [("Nightly", 60_000), ("", 15_000)],
    }
    for by, groups in expected.items():
        found = sums(database, people, by)
        assert [(one.name, one.amount_micros) for one in found] == groups
        if by is not By.DAY:
            for one in found:
                [only] = sums(database, people, filters={by: one.key})
                assert only.amount_micros == one.amount_micros
                page = lines(database, people, {by: one.key})
                assert (page.total, len(page.lines)) == (1, 1)
                assert page.lines[0].amount_micros == one.amount_micros


def test_a_rename_does_not_split_a_group(database: Database) -> None:
    people = team(database)
    use(database, people.creator)
    with database.transaction() as session:
        session.merge(people.creator).name = "Cleo Married"
    use(database, people.creator, NOVEMBER.replace(day=2))
    [one] = sums(database, people, By.MEMBER)
    assert (one.name, one.generations) == ("Cleo Married", 2)


def test_a_refund_is_taken_off_where_it_was_used_and_counts_as_a_correction(
    database: Database,
) -> None:
    people = team(database)
    generation_id = use(database, people.creator, datetime.now(UTC), project="Spring", images=3)
    with database.transaction() as session:
        ledger.refund_generation(
            session, generation_id, 15_000, key="r", author_id=None, reason="Grey"
        )
    until = datetime(2100, 1, 1, tzinfo=UTC)
    [one] = sums(database, people, By.PROJECT, until=until)
    assert (one.generations, one.corrections, one.images) == (1, 1, 3)
    assert one.amount_micros == 30_000
    with database.read() as session:
        page = drill(session, people.id, NOVEMBER, until, filters={By.PROJECT: "Spring"})
        assert [line.kind for line in page.lines] == ["correction", "usage"]
        assert page.lines[0].corrects_id == page.lines[1].id
        assert audit(session) == []


def test_more_than_was_charged_cannot_be_taken_off(database: Database) -> None:
    people = team(database)
    generation_id = use(database, people.creator)

    def correct(amount_micros: int, of: uuid.UUID = generation_id) -> None:
        with database.transaction() as session:
            usage.correct(
                session, generation_id=of, amount_micros=amount_micros, reason="x", author_id=None
            )

    for amount_micros in (0, 1, -15_001):
        with pytest.raises(ValueError, match=r"takes something away|left to take away"):
            correct(amount_micros)
    with pytest.raises(Exception, match="Nothing was charged"):
        correct(-1, uuid.uuid4())


def test_pages_of_lines_are_whole_and_end(database: Database) -> None:
    people = team(database)
    ids = [use(database, people.creator, NOVEMBER.replace(minute=n)) for n in range(53)]
    first, second = lines(database, people), lines(database, people, page=2)
    assert [line.generation_id for line in [*first.lines, *second.lines]] == ids[::-1]
    assert (first.total, first.pages, len(second.lines)) == (53, 2, 3)
    assert lines(database, people, page=99).page == 2
    assert lines(database, people, {By.MODEL: "none"}).lines == []


def test_another_organisation_s_key_finds_nothing(database: Database) -> None:
    people, others = team(database), team(database)
    use(database, others.creator)
    assert sums(database, people) == [Sum((), (), 0, 0, 0, 0)]
    assert lines(database, people, {By.MEMBER: str(others.creator.id)}).total == 0


def test_sums_are_right_after_settlements_and_refunds_in_a_race(database: Database) -> None:
    people = team(database)
    now = datetime.now(UTC)
    paid = [use(database, people.creator, now) for _ in range(8)]

    def refund(generation_id: uuid.UUID) -> None:
        with database.transaction() as session:
            ledger.refund_generation(
                session,
                generation_id,
                5_000,
                key=generation_id.hex,
                author_id=None,
                reason="Grey",
            )

    jobs = [lambda one=one: refund(one) for one in paid]
    race([*jobs[:4], *[lambda: use(database, people.creator, now)] * 8, *jobs[4:]])
    with database.read() as session:
        [total] = summary(session, people.id, NOVEMBER, datetime(2100, 1, 1, tzinfo=UTC))
        assert (total.generations, total.corrections) == (16, 8)
        assert total.amount_micros == 16 * 15_000 - 8 * 5_000
        assert audit(session) == []


def test_the_audit_finds_sums_that_were_changed_by_hand(database: Database) -> None:
    people = team(database)
    use(database, people.creator)
    with database.transaction() as session:
        session.execute(text("UPDATE usage_day SET amount_micros = amount_micros + 1"))
    with database.read() as session:
        assert any("2025-11-01" in sentence for sentence in audit(session))
