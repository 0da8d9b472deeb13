"""A month's file adds up to the ledger, opens in a spreadsheet, and is the same every time."""

from datetime import UTC, datetime

import pytest
from books import DECEMBER, NOVEMBER, file, refund, rows, use
from factories import member, team

from licensing import bills
from licensing.bills import InvalidMonth
from licensing.db import Database
from licensing.money import parse_usd


def test_the_file_adds_up_to_the_totals_and_to_the_micro(database: Database) -> None:
    people = team(database)
    for day in range(1, 8):
        at = NOVEMBER.replace(day=day)
        use(database, people.creator, at, unit_price_micros=15_001, images=day)
    export = bills.export(database, people.id, 2025, 11, "csv")
    found = rows(b"".join(export.chunks()))
    assert sum(int(row["amount_micros"]) for row in found) == 15_001 * 28
    assert sum(parse_usd(row["amount_usd"]) for row in found) == 15_001 * 28
    assert '"amount_micros": 420028,' in export.totals_json
    assert '"images": 28,' in export.totals_json
    assert '"status": "open",' in export.totals_json
    assert not export.is_final


def test_the_file_is_plain_csv_in_order_of_settlement(database: Database) -> None:
    people = team(database)
    second = use(database, people.creator, NOVEMBER.replace(day=2, hour=5), project="Spring, 1")
    first = use(database, people.creator, NOVEMBER)
    content = file(database, people.id)
    assert content.startswith(b"\xef\xbb\xbfsettled_at,kind,line_id,")
    assert content.decode("utf-8-sig").split("\r\n")[1] == (
        f"2025-11-01T00:00:00.000000Z,usage,2,,{first},{people.creator.id},Cleo Creator,"
        f"{people.creator.email},,,,,,,pocket-turbo,turbo,2026-11,512,768,1,0.015000,15000,"
        "0.015000,,"
    )
    assert [row["generation_id"] for row in rows(content)] == [str(first), str(second)]
    assert rows(content)[1]["project"] == "Spring, 1"
    assert content.endswith(b"\r\n")


def test_months_end_at_midnight_utc(database: Database) -> None:
    people = team(database)
    use(database, people.creator, NOVEMBER)
    use(database, people.creator, DECEMBER)
    last = use(database, people.creator, datetime(2025, 11, 30, 23, 59, 59, 999_999, tzinfo=UTC))
    november = rows(file(database, people.id))
    assert november[-1]["generation_id"] == str(last)
    assert len(november) == 2
    assert len(rows(file(database, people.id, DECEMBER))) == 1


def test_february_has_its_twenty_ninth(database: Database) -> None:
    start, end = bills.month_bounds(2024, 2)
    assert (end - start).days == 29
    people = team(database)
    use(database, people.creator, datetime(2024, 2, 29, 12, tzinfo=UTC))
    assert len(rows(file(database, people.id, datetime(2024, 2, 1, tzinfo=UTC)))) == 1
    assert rows(file(database, people.id, datetime(2024, 3, 1, tzinfo=UTC))) == []


@pytest.mark.parametrize(("year", "month"), [(2026, 0), (2026, 13), (1999, 1), (9999, 1), (-1, 5)])
def test_months_that_are_none_are_refused(year: int, month: int) -> None:
    with pytest.raises(InvalidMonth):
        bills.month_bounds(year, month)


@pytest.mark.parametrize("words", ["2026-13", "2026", "11-2026", "2026-1", "２０２６-11", ""])  # noqa: RUF001
def test_words_that_are_no_month_are_refused(words: str) -> None:
    with pytest.raises(InvalidMonth, match="2026-11"):
        bills.read_month(words)


TRICKS = ["=1+1", "+31 6", "-2", "@SUM(A1)", "\t=1", "\r=1", "  =cmd|' /C calc'!A0", "＝1+1", "＠x"]  # noqa: RUF001
NAMES = ['Zoë, “Z” "O\'Hara"', "山田\n太郎", "عائشة", "José -Pepe-", "ends with\r\n", "\\.", '"']


def test_words_that_look_like_formulas_stay_text_and_others_stay_as_they_are(
    database: Database,
) -> None:
    people = team(database)
    names = TRICKS + NAMES
    for minute, name in enumerate(names):
        with database.transaction() as session:
            who = member(session, people.organisation)
            session.merge(who).name = name
        use(database, who, NOVEMBER.replace(minute=minute), project=name[:64])
    found = rows(file(database, people.id))
    expected = [f"'{name}" for name in TRICKS] + NAMES
    assert [row["member_name"] for row in found] == expected
    assert [row["project"] for row in found] == expected
    assert [row["BillingAccountName"] for row in rows(file(database, people.id, name=FOCUS))] == [
        "Studio Nord"
    ] * len(names)


FOCUS = "focus-1.4.csv"


def test_an_organisation_named_like_a_formula_is_text_in_focus(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        session.merge(people.organisation).name = "=HYPERLINK(0)"
    use(database, people.creator)
    assert rows(file(database, people.id, name=FOCUS))[0]["BillingAccountName"] == "'=HYPERLINK(0)"


def test_a_correction_is_a_line_of_its_own_that_points_at_the_original(database: Database) -> None:
    people = team(database)
    generation_id = use(database, people.creator, images=4)
    refund(database, generation_id, 15_000)
    [original] = rows(file(database, people.id))
    today = datetime.now(UTC)
    [correction] = rows(file(database, people.id, today))
    assert original["amount_micros"] == "60000"
    assert correction["kind"] == "correction"
    assert correction["amount_micros"] == "-15000"
    assert correction["amount_usd"] == "-0.015000"
    assert correction["images"] == "0"
    assert correction["corrects_line_id"] == original["line_id"]
    assert correction["reason"] == "Grey pictures"
    assert correction["refund_transfer_id"] != ""


def test_another_organisation_is_not_on_the_bill(database: Database) -> None:
    people, others = team(database), team(database)
    use(database, others.creator)
    assert rows(file(database, people.id)) == []
