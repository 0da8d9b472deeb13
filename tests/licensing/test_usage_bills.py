"""A month's file adds up to the ledger, opens in a spreadsheet, and is the same every time."""

import csv
import io
import uuid
from datetime import UTC, date, datetime

import pytest
from factories import Team, member, team
from sqlalchemy.exc import IntegrityError

from licensing import bills, usage
from licensing.bills import InvalidMonth, MonthTotals
from licensing.db import Database
from licensing.money import parse_usd
from licensing.seats import Member

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)


def use(
    database: Database, who: Member, at: datetime, *, amount_micros: int = 15_000, images: int = 1
) -> uuid.UUID:
    generation_id = uuid.uuid4()
    with database.transaction() as session:
        usage.record(
            session,
            generation_id=generation_id,
            organisation_id=who.organisation_id,
            member_id=who.id,
            model="pocket-turbo",
            images=images,
            width=512,
            height=768,
            amount_micros=amount_micros,
            price_version="2026-11",
            at=at,
        )
    return generation_id


def november(database: Database, people: Team) -> str:
    with database.read() as session:
        return bills.usage_csv(session, people.id, 2026, 11)


def read(file: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file, newline="")))


def test_the_file_adds_up_to_the_totals_and_to_the_micro(database: Database) -> None:
    people = team(database)
    for day in range(1, 8):
        at = NOVEMBER.replace(day=day)
        use(database, people.creator, at, amount_micros=15_001 * day, images=day)
    rows = read(november(database, people))
    with database.read() as session:
        totals = bills.month_totals(session, people.id, 2026, 11)
    assert totals == MonthTotals(generations=7, images=28, amount_micros=15_001 * 28)
    assert sum(int(row["amount_micros"]) for row in rows) == totals.amount_micros
    assert sum(parse_usd(row["amount_usd"]) for row in rows) == totals.amount_micros


def test_the_file_is_plain_csv_in_order_of_settlement(database: Database) -> None:
    people = team(database)
    second = use(database, people.creator, NOVEMBER.replace(day=2, hour=5))
    first = use(database, people.creator, NOVEMBER)
    file = november(database, people)
    assert file.split("\r\n")[1] == (
        f"2026-11-01T00:00:00.000000Z,{first},{people.creator.id},Cleo Creator,"
        f"{people.creator.email},pocket-turbo,512,768,1,2026-11,15000,0.015000"
    )
    assert [row["generation_id"] for row in read(file)] == [str(first), str(second)]
    assert file.endswith("\r\n")


def test_the_same_month_gives_the_same_bytes_even_after_a_rename(database: Database) -> None:
    people = team(database)
    use(database, people.creator, NOVEMBER)
    before = november(database, people)
    with database.transaction() as session:
        session.merge(people.creator).name = "Another Name"
    assert november(database, people) == before


def test_months_end_at_midnight_utc(database: Database) -> None:
    people = team(database)
    use(database, people.creator, NOVEMBER)
    use(database, people.creator, DECEMBER.replace(microsecond=0))
    last = use(database, people.creator, datetime(2026, 11, 30, 23, 59, 59, 999_999, tzinfo=UTC))
    assert [row["generation_id"] for row in read(november(database, people))][-1] == str(last)
    assert len(read(november(database, people))) == 2
    with database.read() as session:
        assert bills.month_totals(session, people.id, 2026, 11).generations == 2
        assert bills.month_totals(session, people.id, 2026, 12).generations == 1


def test_february_has_its_twenty_ninth(database: Database) -> None:
    start, end = bills.month_bounds(2028, 2)
    assert (end - start).days == 29
    people = team(database)
    use(database, people.creator, datetime(2028, 2, 29, 12, tzinfo=UTC))
    with database.read() as session:
        assert bills.month_totals(session, people.id, 2028, 2).generations == 1
        assert bills.month_totals(session, people.id, 2028, 3).generations == 0


@pytest.mark.parametrize(("year", "month"), [(2026, 0), (2026, 13), (1999, 1), (9999, 1), (-1, 5)])
def test_months_that_are_none_are_refused(year: int, month: int) -> None:
    with pytest.raises(InvalidMonth):
        bills.month_bounds(year, month)


@pytest.mark.parametrize(
    "name",
    ["=1+1", "+31 6", "-2", "@SUM(A1)", "\t=1", "\r=1", "  =cmd|' /C calc'!A0", "＝1+1", "＠x"],  # noqa: RUF001
)
def test_a_name_that_looks_like_a_formula_stays_text(database: Database, name: str) -> None:
    people = team(database)
    with database.transaction() as session:
        trickster = member(session, people.organisation)
        session.merge(trickster).name = name
    use(database, trickster, NOVEMBER)
    assert read(november(database, people))[0]["member_name"] == f"'{name}"


@pytest.mark.parametrize("name", ['Zoë, “Z” "O\'Hara"', "山田\n太郎", "عائشة", "José -Pepe-"])
def test_names_of_all_scripts_survive_the_file(database: Database, name: str) -> None:
    people = team(database)
    with database.transaction() as session:
        someone = member(session, people.organisation, name=name)
    use(database, someone, NOVEMBER)
    assert read(november(database, people))[0]["member_name"] == name


def test_another_organisation_is_not_on_the_bill(database: Database) -> None:
    people, others = team(database), team(database)
    use(database, others.creator, NOVEMBER)
    assert read(november(database, people)) == []


def test_usage_is_added_up_by_member_and_day(database: Database) -> None:
    people = team(database)
    use(database, people.creator, NOVEMBER, images=2, amount_micros=30_000)
    use(database, people.creator, NOVEMBER.replace(hour=23), images=1)
    use(database, people.admin, NOVEMBER.replace(day=2))
    with database.read() as session:
        days = usage.by_member_and_day(session, people.id, NOVEMBER, DECEMBER)
    assert [(d.day, d.member_name, d.generations, d.images, d.amount_micros) for d in days] == [
        (date(2026, 11, 2), "Amir Admin", 1, 1, 15_000),
        (date(2026, 11, 1), "Cleo Creator", 2, 3, 45_000),
    ]


def test_a_generation_has_one_line(database: Database) -> None:
    people = team(database)
    generation_id = use(database, people.creator, NOVEMBER)

    def again() -> None:
        with database.transaction() as session:
            usage.record(
                session,
                generation_id=generation_id,
                organisation_id=people.id,
                member_id=people.creator.id,
                model="pocket-turbo",
                images=1,
                width=16,
                height=16,
                amount_micros=1,
                price_version="2026-11",
                at=NOVEMBER,
            )

    with pytest.raises(IntegrityError, match="uq_usage_line_generation_id"):
        again()
