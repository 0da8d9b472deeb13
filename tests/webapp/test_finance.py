"""The finance page: exact sums of one's own organisation, by month, and the same as a file."""

import csv
import hashlib
import io
import re
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime

import httpx2
import pytest
from desks import Desks, message, open_desks
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from licensing import ledger, usage
from licensing.db import now
from licensing.seats import Member
from webapp.ui.months import Month, axis_top, parse_month

NOVEMBER = datetime(2025, 11, 3, 12, tzinfo=UTC)


@pytest.fixture
def desks(stack: ExitStack, environ: dict[str, str]) -> Desks:
    return open_desks(stack, environ)


def words(answer: httpx2.Response) -> str:
    """Return what a person reads."""
    assert answer.status_code == 200, answer.text
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def hold(desks: Desks, member: Member, amount_micros: int) -> uuid.UUID:
    generation_id = uuid.uuid4()
    with desks.running.database.transaction() as session:
        ledger.hold(
            session,
            organisation_id=member.organisation_id,
            member_id=member.id,
            generation_id=generation_id,
            amount_micros=amount_micros,
            price_version="test",
        )
    return generation_id


def use(
    desks: Desks, member: Member, amount_micros: int = 15_000, at: datetime = NOVEMBER
) -> uuid.UUID:
    generation_id = hold(desks, member, amount_micros)
    with desks.running.database.transaction() as session:
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
            at=at,
        )
    return generation_id


def test_the_balance_is_exact_to_the_millionth(desks: Desks) -> None:
    use(desks, desks.team.creator, 17_501)
    hold(desks, desks.team.creator, 60_000)
    hold(desks, desks.team.admin, 15_000)
    read = words(desks.ask(desks.team.finance).get("/finance/view"))
    assert "Settled $9.982499 paid in, less what was used" in read
    assert "On hold $0.075 for 2 jobs waiting or running" in read
    assert "Available now $9.907499" in read


def test_without_money_it_says_what_that_means(stack: ExitStack, environ: dict[str, str]) -> None:
    desks = open_desks(stack, environ, balance_micros=0)
    client = desks.ask(desks.team.finance)
    read = words(client.get("/finance/view"))
    assert "Nothing is available, so nobody can start a new picture" in read
    assert "no job is waiting or running" in read
    assert "Nothing was used in" in read
    assert "Nothing was paid in yet." in words(client.get("/finance/view?view=balance"))


def test_a_month_is_grouped_and_every_total_leads_further(desks: Desks) -> None:
    cleo, amir = desks.team.creator, desks.team.admin
    for member, amount_micros, day in ((cleo, 15_000, 3), (cleo, 30_000, 3), (amir, 60_000, 9)):
        use(desks, member, amount_micros, NOVEMBER.replace(day=day))
    use(desks, cleo, 1_000_000, datetime(2025, 12, 1, tzinfo=UTC))
    client = desks.ask(desks.team.finance)
    month = "/finance/view?month=2025-11"

    by_member = words(client.get(f"{month}&by=member"))
    assert "Usage in November 2025" in by_member
    assert "Spent $0.105 for 6 pictures in 3 generations" in by_member
    assert "Amir Admin 1 2 $0.06 Cleo Creator 2 4 $0.045 All 2 3 6 $0.105" in by_member
    assert "9 Nov 1 2 $0.06 3 Nov 2 4 $0.045" in words(client.get(f"{month}&by=day"))
    assert "Pocket Turbo 3 6 $0.105" in words(client.get(month)), "the name, not the id"

    hers = client.get(f"{month}&by=day&member={cleo.id}")
    assert "Member Cleo Creator" in words(hers)
    assert "Spent $0.045" in words(hers)
    assert "9 Nov 1" not in words(hers)
    assert f"by=generation&amp;member={cleo.id}&amp;day=2025-11-03" in hers.text
    lines = words(client.get(f"{month}&by=generation&member={cleo.id}&day=2025-11-03"))
    assert lines.count("Cleo Creator Pocket Turbo") + lines.count("Cleo Creator pocket-turbo") == 2
    assert "Amir Admin" not in lines
    december = words(client.get("/finance/view?month=2025-12"))
    assert "Spent $1.00" in december
    assert "852 % more than in November ($0.105)" in december
    assert "Nothing was used in October 2025." in words(client.get("/finance/view?month=2025-10"))


def test_a_correction_is_a_line_of_its_own(desks: Desks) -> None:
    generation_id = use(desks, desks.team.creator, 60_000)
    with desks.running.database.transaction() as session:
        ledger.refund_generation(
            session,
            generation_id,
            20_000,
            key="r",
            author_id=desks.team.owner.id,
            reason="Blurred <i>",
        )
    client = desks.ask(desks.team.finance)
    lines = client.get("/finance/view?by=generation")
    assert "Correction: Blurred &lt;i&gt;" in lines.text
    assert "\u2212$0.02" in words(lines)
    money = words(client.get("/finance/view?view=balance"))
    assert "Refund for a picture" in money
    assert "+$0.02" in money


def test_the_chart_begins_at_nothing_and_its_bars_are_in_proportion(desks: Desks) -> None:
    use(desks, desks.team.creator, 400_000, NOVEMBER)
    use(desks, desks.team.creator, 40_000, NOVEMBER)
    use(desks, desks.team.creator, 100_000, NOVEMBER.replace(day=4))
    html = desks.ask(desks.team.finance).get("/finance/view?month=2025-11").text
    assert "<span>$0.50</span><span>$0.25</span><span>$0.00</span>" in html
    heights = re.findall(r'class="bar c1" style="height:([\d.]+)%"', html)
    assert heights == ["88.0", "20.0"]


@given(st.integers(min_value=0, max_value=10**15))
def test_an_axis_is_round_and_no_more_than_half_empty(amount_micros: int) -> None:
    top = axis_top(amount_micros)
    assert top >= amount_micros
    assert top == 10_000 or top < 2 * amount_micros
    assert len(str(top).rstrip("0")) <= 2


def test_every_table_is_a_file_with_the_same_rows(desks: Desks) -> None:
    use(desks, desks.team.creator, 45_000, NOVEMBER)
    with desks.running.database.transaction() as session:
        session.execute(
            text("UPDATE member SET name = '=cmd()' WHERE id = :id"), {"id": desks.team.admin.id}
        )
    use(desks, desks.team.admin, 60_000, NOVEMBER)
    client = desks.ask(desks.team.finance)

    def rows(query: str) -> list[dict[str, str]]:
        answer = client.get(f"/finance/table.csv?{query}")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8", answer.text
        return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))

    members = rows("what=usage&month=2025-11&by=member")
    assert [(row["Member"], row["spent_usd"]) for row in members] == [
        ("'=cmd()", "0.060000"),
        ("Cleo Creator", "0.045000"),
    ]
    only = f"month=2025-11&by=generation&member={desks.team.creator.id}"
    assert [row["amount_usd"] for row in rows(f"what=usage&{only}")] == ["0.045000"]
    days = rows("what=days&month=2025-11&by=model")
    assert [(row["day"], row["spent_usd"]) for row in days] == [("2025-11-03", "0.105000")]
    assert [row["amount_usd"] for row in rows("what=money")] == ["10.000000"]
    assert [row["remaining_usd"] for row in rows("what=lots")] == ["9.895000"]
    bills = {row["month"]: row["amount_usd"] for row in rows("what=bills")}
    assert bills["2025-11"] == "0.105000"
    assert rows("what=payments") == rows("what=invoices") == []


def test_a_month_s_files_are_there_while_it_is_open(desks: Desks) -> None:
    ids = [str(use(desks, desks.team.creator, 15_000, now())) for _ in range(2)]
    month = f"{now():%Y-%m}"
    client = desks.ask(desks.team.finance)
    answer = client.get(f"/finance/files/csv?month={month}")
    assert answer.status_code == 200
    assert answer.headers["x-content-sha256"] == hashlib.sha256(answer.content).hexdigest()
    assert "attachment" in answer.headers["content-disposition"]
    read = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert sorted(row["generation_id"] for row in read) == sorted(ids)
    assert client.get(f"/finance/files/statement.pdf?month={month}").content[:5] == b"%PDF-"
    assert client.get(f"/finance/files/nonsense?month={month}").status_code == 404
    bills = words(client.get("/finance/view?view=bills"))
    assert "2 lines $0.03" in bills
    assert "Provisional: the month is not over." in bills


@pytest.mark.parametrize(
    "month", ["2026-13", "2026-00", "0000-01", "9999-12", "2026-1", "11-2026", "2026-11-01", "x"]
)
def test_what_is_no_month_is_said_to_be_none(desks: Desks, month: str) -> None:
    client = desks.ask(desks.team.finance)
    for path in ("view", "files/csv", "table.csv"):
        assert client.get(f"/finance/{path}?what=usage&month={month}").status_code == 422
    assert "2026-11" in message(client.get("/finance/view?month=2026-13"))


@pytest.mark.parametrize(
    "query", ["member=x", "team=1", "day=2025-12-01", "day=tomorrow", "by=nothing", "part=0"]
)
def test_a_filter_that_cannot_be_meant_is_refused(desks: Desks, query: str) -> None:
    client = desks.ask(desks.team.finance)
    assert client.get(f"/finance/view?month=2025-11&{query}").status_code == 422


def test_money_is_listed_with_its_author_and_paged(desks: Desks) -> None:
    with desks.running.database.transaction() as session:
        for number in range(14):
            ledger.top_up(
                session,
                desks.team.id,
                5_000_000 + number,
                key=f"k{number}",
                author_id=desks.team.finance.id,
                note=f"Order {number} <b>",
            )
    client = desks.ask(desks.team.finance)
    first = client.get("/finance/view?view=balance")
    assert "Fay Finance" in words(first)
    assert "+$5.000013" in words(first)
    assert "Order 13 &lt;b&gt;" in first.text
    older = re.search(r"before=(\d+)", first.text)
    assert older
    rest = words(client.get(f"/finance/view?view=balance&before={older[1]}"))
    assert "Order 1 " in rest
    assert "test · The studio" in rest, "the first top-up, by the studio's operator"
    assert "+$10.00" in rest
    assert "Order 2 " not in rest


def test_lots_say_until_when_they_can_be_used(desks: Desks) -> None:
    with desks.running.database.transaction() as session:
        ledger.grant(
            session,
            desks.team.id,
            5_000_000,
            key="gift",
            author_id=None,
            note="Welcome",
            expires_at=datetime(2099, 1, 31, tzinfo=UTC),
        )
    use(desks, desks.team.creator, 1_000_000)
    read = words(desks.ask(desks.team.finance).get("/finance/view?view=balance"))
    assert "$4.00 of $5.00 Gift" in read
    assert "use until 31 Jan 2099" in read
    assert "$10.00 of $10.00 Paid" in read
    assert "does not run out" in read


def test_a_frozen_balance_says_so_first(desks: Desks) -> None:
    with desks.running.database.transaction() as session:
        ledger.freeze(session, desks.team.id, "A bank disputes a payment.", author_id=None)
    read = words(desks.ask(desks.team.finance).get("/finance/view"))
    assert "The balance is frozen: A bank disputes a payment." in read
    assert "frozen: nothing can be spent" in read


def test_credit_stands_beside_the_balance_and_not_in_it(desks: Desks) -> None:
    with desks.running.database.transaction() as session:
        ledger.set_credit_limit(
            session, desks.team.id, 500_000_000, author_id=None, reason="Contract"
        )
    read = words(desks.ask(desks.team.finance).get("/finance/view"))
    assert "Available now $10.00 and $500.00 of credit beyond it" in read


@pytest.mark.parametrize("role", ["admin", "creator", "reviewer", None])
def test_the_money_is_finance_s_and_the_owner_s_alone(desks: Desks, role: str | None) -> None:
    client = (
        desks.running.browser(accept="application/json")
        if role is None
        else desks.ask(getattr(desks.team, role))
    )
    for path in ("view", "files/csv", "table.csv?what=money", "top-up", "automatic"):
        assert client.get(f"/finance/{path}").status_code == (401 if role is None else 403)
    assert client.post("/finance/top-up", data={"amount": "25"}).status_code in {401, 403}


def test_another_organisation_s_use_is_not_there(desks: Desks) -> None:
    theirs = desks.another()
    use(desks, theirs.creator)
    mine = desks.ask(desks.team.finance)
    asked = words(mine.get(f"/finance/view?month=2025-11&member={theirs.creator.id}"))
    assert "Nothing was used in November 2025 by this member." in asked
    for who, lines in ((mine, 1), (desks.ask(theirs.finance), 2)):
        answer = who.get("/finance/table.csv?what=usage&by=generation&month=2025-11")
        assert answer.text.count("\r\n") == lines


def test_the_calendar_goes_over_the_year_s_end() -> None:
    assert Month(2025, 12).after == Month(2026, 1)
    assert Month(2026, 1).before == Month(2025, 12)
    assert len(parse_month("2028-02").days) == 29
