"""The finance page: exact sums of one's own organisation, by month, and the same as a file."""

import csv
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

from licensing import ledger, usage
from licensing.seats import Member
from webapp.ui.figures import Month, axis_top, parse_month

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
    assert "Settled paid in, less what was used $9.982499" in read
    assert "On hold for 2 jobs waiting or running \u2212$0.075" in read
    assert "Available now $9.907499" in read


def test_without_money_it_says_what_that_means(stack: ExitStack, environ: dict[str, str]) -> None:
    desks = open_desks(stack, environ, balance_micros=0)
    read = words(desks.ask(desks.team.finance).get("/finance/view"))
    assert "Available now $0.00 Nothing is available, so nobody can start a new picture" in read
    assert "no job is waiting or running" in read
    assert "Nothing was paid in yet." in read
    assert "Nothing was used in" in read


def test_a_month_is_grouped_by_member_by_day_and_by_both(desks: Desks) -> None:
    cleo, amir = desks.team.creator, desks.team.admin
    for member, amount_micros, day in ((cleo, 15_000, 3), (cleo, 30_000, 3), (amir, 60_000, 9)):
        use(desks, member, amount_micros, NOVEMBER.replace(day=day))
    use(desks, cleo, 1_000_000, datetime(2025, 12, 1, tzinfo=UTC))
    client = desks.ask(desks.team.finance)
    month = "/finance/view?month=2025-11"

    by_member = words(client.get(month))
    assert "Usage in November 2025" in by_member
    assert "Spent $0.105 Pictures 6 Generations 3 Members 2" in by_member
    assert "Amir Admin 1 2 $0.06 Cleo Creator 2 4 $0.045" in by_member, "the highest first"
    assert "3 lines, $0.105" in by_member
    assert "9 Nov 1 2 $0.06 3 Nov 2 4 $0.045" in words(client.get(f"{month}&by=day"))
    both = words(client.get(f"{month}&by=both"))
    assert "9 Nov Amir Admin 1 2 $0.06 3 Nov Cleo Creator 2 4 $0.045" in both

    hers = words(client.get(f"{month}&member={cleo.id}"))
    assert "Only Cleo Creator" in hers
    assert "Spent $0.045" in hers
    assert "9 Nov 1" not in hers
    assert "Spent $1.00" in words(client.get("/finance/view?month=2025-12"))
    assert "Nothing was used in October 2025." in words(client.get("/finance/view?month=2025-10"))


def test_the_chart_begins_at_nothing_and_its_bars_are_in_proportion(desks: Desks) -> None:
    use(desks, desks.team.creator, 400_000, NOVEMBER)
    use(desks, desks.team.creator, 40_000, NOVEMBER)
    use(desks, desks.team.creator, 100_000, NOVEMBER.replace(day=4))
    text = desks.ask(desks.team.finance).get("/finance/view?month=2025-11").text
    assert "<span>$0.50</span><span>$0.25</span><span>$0.00</span>" in text
    heights = re.findall(r'class="bar" style="height:([\d.]+)%"', text)
    assert len(heights) == 30
    assert heights[:5] == ["0.0", "0.0", "88.0", "20.0", "0.0"]
    assert "The highest day is 3 November 2025 with $0.44." in text


@given(st.integers(min_value=0, max_value=10**15))
def test_the_axis_ends_at_a_round_amount_that_holds_the_bars(amount_micros: int) -> None:
    top = axis_top(amount_micros)
    assert top >= amount_micros
    assert top == 10_000 or top * 2 <= amount_micros * 3, "the highest bar is no stump"
    assert len(str(top).rstrip("0")) <= 2


def test_the_file_is_the_page_line_by_line(desks: Desks) -> None:
    ids = [str(use(desks, desks.team.creator, amount)) for amount in (15_000, 30_000)]
    answer = desks.ask(desks.team.finance).get("/finance/usage.csv?month=2025-11")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    named = 'attachment; filename="atelier-usage-2025-11.csv"'
    assert answer.headers["content-disposition"] == named
    assert answer.content.startswith(b"\xef\xbb\xbfsettled_at,")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [row["generation_id"] for row in rows] == ids
    assert sum(int(row["amount_micros"]) for row in rows) == 45_000
    empty = desks.ask(desks.team.owner).get("/finance/usage.csv?month=2024-01")
    assert empty.text.count("\r\n") == 1, "a month without use is a file without lines"


@pytest.mark.parametrize(
    "month", ["2026-13", "2026-00", "0000-01", "9999-12", "2026-1", "11-2026", "2026-11-01", "x"]
)
def test_what_is_no_month_is_said_to_be_none(desks: Desks, month: str) -> None:
    client = desks.ask(desks.team.finance)
    for path in ("view", "usage.csv"):
        assert client.get(f"/finance/{path}?month={month}").status_code == 422
    assert "2026-11" in message(client.get("/finance/view?month=2026-13"))


def test_top_ups_are_listed_with_their_author_and_paged(desks: Desks) -> None:
    with desks.running.database.transaction() as session:
        for number in range(12):
            ledger.top_up(
                session,
                desks.team.id,
                5_000_000 + number,
                key=f"k{number}",
                author_id=desks.team.finance.id,
                note=f"Order {number} <b>",
            )
    use(desks, desks.team.creator)
    client = desks.ask(desks.team.finance)
    first = client.get("/finance/view")
    assert "Fay Finance +$5.000011" in words(first)
    assert "Order 11 &lt;b&gt;" in first.text
    older = re.search(r"topups=(\d+)", first.text)
    assert older
    rest = words(client.get(f"/finance/view?topups={older[1]}"))
    assert "Order 1 " in rest
    assert "test" in rest, "the first top-up, by the studio's operator"
    assert "The studio&#39;s operator +$10.00" in rest
    assert "Order 2 " not in rest


@pytest.mark.parametrize("role", ["admin", "creator", "reviewer", None])
def test_the_money_is_finance_s_and_the_owner_s_alone(desks: Desks, role: str | None) -> None:
    client = (
        desks.running.browser(accept="application/json")
        if role is None
        else desks.ask(getattr(desks.team, role))
    )
    for path in ("view", "usage.csv", "usage.csv?month=2025-11"):
        assert client.get(f"/finance/{path}").status_code == (401 if role is None else 403)


def test_another_organisation_s_use_is_not_there(desks: Desks) -> None:
    theirs = desks.another()
    use(desks, theirs.creator)
    mine = desks.ask(desks.team.finance)
    assert mine.get("/finance/usage.csv?month=2025-11").text.count("\r\n") == 1
    asked = words(mine.get(f"/finance/view?month=2025-11&member={theirs.creator.id}"))
    assert "Nothing was used in November 2025 by this member." in asked
    assert desks.ask(theirs.finance).get("/finance/usage.csv?month=2025-11").text.count("\r\n") == 2


def test_the_calendar_goes_over_the_year_s_end() -> None:
    assert Month(2025, 12).after == Month(2026, 1)
    assert Month(2026, 1).before == Month(2025, 12)
    assert len(parse_month("2028-02").days) == 29
