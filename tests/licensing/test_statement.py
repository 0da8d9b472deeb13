"""A month's statement: it adds up, every script is drawn, and the same figures are one file."""

import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from factories import Team, team

from licensing import bills, ledger, usage
from licensing.bills.statement import Flow, Movement, Share, Statement, read_statement
from licensing.bills.statement_pdf import render
from licensing.bills.statement_sheet import clean, decimals_of
from licensing.db import Database, now
from licensing.seats import Member

START = datetime(2026, 11, 1, tzinfo=UTC)
CLOSED = datetime(2026, 12, 4, 3, tzinfo=UTC)
NAMES = (
    "Žofie Đorđević",
    "אילנה כהן",
    "محمد عبد الله",
    "王小明",
    "山田 太郎",
    "김민준",
    "प्रिया शर्मा",
    "สมชาย ใจดี",
    "Nguyễn Thị Ánh",
)


def statement(names: tuple[str, ...] = NAMES, amount_micros: int = 17_500) -> Statement:
    members = tuple(Share(name, "", 1, 2, amount_micros) for name in names)
    total = Share("", "", len(names), 2 * len(names), amount_micros * len(names))
    return Statement(
        organisation="סטודיו צפון 株式会社",
        year=2026,
        month=11,
        closed_at=CLOSED,
        opening_micros=0,
        flows=(Flow("Paid in", "1 entry", 10**7), Flow("Used", "", -total.amount_micros)),
        closing_micros=10**7 - total.amount_micros,
        lines=len(names),
        usage=total,
        models=(replace(total, name="pocket-turbo"),),
        teams=(),
        members=members,
        movements=(Movement(START, "Paid in", "by فاطمة", 10**7),),
        movements_left_out=0,
        hashes=(("usage-2026-11.csv", "0" * 64),),
    )


def fonts_in(pdf: bytes) -> set[str]:
    return {name.decode() for name in re.findall(rb"/FontName /[A-Z]+\+(\w+)", pdf)}


def pages_in(pdf: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", pdf))


def test_the_same_figures_are_the_same_file() -> None:
    first = render(statement())
    assert first == render(statement())
    assert first.startswith(b"%PDF-")
    assert first != render(statement(amount_micros=17_501))


def test_each_script_has_a_font_and_no_letter_is_missing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = render(statement())
    expected = {"NotoSansArabic", "NotoSansHebrewLight", "NotoSansThai", "DroidSansFallback"}
    assert fonts_in(made) >= expected, "and the last one for Chinese, Japanese and Korean"
    assert not caplog.records, "the library would name the letters that it cannot draw"
    render(statement(("Emoji \U0001f642",)))
    assert not caplog.records, "nor is one left out unseen"
    assert "NotoSansTamil" not in fonts_in(made)


def test_a_thousand_members_are_pages_that_are_numbered() -> None:
    many = tuple(f"Member {number} of Studio Nord" for number in range(300))
    made = render(statement(many, amount_micros=123_456_789_012))
    assert pages_in(made) == 9
    assert len(made) < 200_000


def test_names_lose_what_turns_a_line_around_and_nothing_else() -> None:
    assert clean("a\u202egnp.exe") == "agnp.exe"
    assert clean(" Two\nlines\tand \x00more ") == "Two lines and more"
    assert clean("क\u200dष") == "क\u200dष", "a joiner is a letter's business"


def test_money_has_the_decimals_that_it_needs() -> None:
    assert decimals_of([]) == 2
    assert decimals_of([10_000_000, -500_000]) == 2
    assert decimals_of([17_500]) == 4
    assert decimals_of([1]) == 6


def use(database: Database, member: Member, amount_micros: int) -> uuid.UUID:
    generation_id = uuid.uuid4()
    with database.transaction() as session:
        ledger.hold(
            session,
            organisation_id=member.organisation_id,
            member_id=member.id,
            generation_id=generation_id,
            amount_micros=amount_micros,
            price_version="test",
        )
        assert ledger.settle(session, generation_id, amount_micros)
        usage.record(
            session,
            generation_id=generation_id,
            organisation_id=member.organisation_id,
            member_id=member.id,
            model="pocket-turbo",
            images=2,
            width=256,
            height=256,
            amount_micros=amount_micros,
            price_version="test",
        )
    return generation_id


def read(database: Database, people: Team, start: datetime, end: datetime) -> Statement:
    with database.read() as session:
        return read_statement(
            session, people.id, start, end, organisation="Studio Nord", closed_at=None
        )


def test_the_flows_lead_from_one_balance_to_the_other(database: Database) -> None:
    people = team(database)
    start, end = bills.month_bounds(now().year, now().month)
    used = use(database, people.creator, 60_000)
    use(database, people.admin, 17_501)
    with database.transaction() as session:
        ledger.refund_generation(
            session, used, 20_000, key="r", author_id=people.owner.id, reason="Blurred"
        )
        ledger.adjust(
            session, people.id, -1_000_000, key="a", author_id=people.owner.id, reason="Mistyped"
        )
    made = read(database, people, start, end)
    assert made.opening_micros == 0
    assert {flow.name: flow.amount_micros for flow in made.flows} == {
        "Paid in": 10_000_000,
        "Used": -77_501,
        "Given back for pictures": 20_000,
        "Adjusted": -1_000_000,
    }
    with database.read() as session:
        assert made.closing_micros == ledger.balance(session, people.id).settled_micros
    assert [(one.name, one.amount_micros) for one in made.movements] == [
        ("Paid in", 10_000_000),
        ("Given back for pictures", 20_000),
        ("Adjusted", -1_000_000),
    ]
    assert made.usage.amount_micros == 57_501
    assert sum(share.amount_micros for share in made.members) == 57_501
    assert pages_in(render(made)) == 1


def test_a_month_begins_with_what_the_one_before_left(database: Database) -> None:
    people = team(database)
    use(database, people.creator, 60_000)
    _, start = bills.month_bounds(now().year, now().month)
    _, end = bills.month_bounds(start.year, start.month)
    made = read(database, people, start, end)
    assert made.opening_micros == made.closing_micros == 9_940_000
    assert (made.flows, made.members, made.movements) == ((), (), ())
    assert pages_in(render(made)) == 1
