"""A month is closed once, whoever else is at work, and never changes afterwards."""

import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from books import DECEMBER, NOVEMBER, file, refund, rows, use
from factories import Team, fund, member, team
from racing import race
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from licensing import bills, ledger, usage
from licensing.audit import audit
from licensing.bills import BillFile, BillMonth, BooksDiffer, ClockJumped
from licensing.db import Database
from licensing.errors import Conflict, NotFound

EVERY = tuple(bills.FORMATS)


def close(database: Database, people: Team, month: int = 11) -> BillMonth:
    return bills.close_month(database, people.id, 2025, month)


def every_file(database: Database, people: Team) -> dict[str, bytes]:
    return {name: file(database, people.id, name=name) for name in EVERY}


def test_a_closed_month_gives_the_same_bytes_whatever_happens_later(database: Database) -> None:
    people = team(database)
    generation_id = use(database, people.creator, images=3)
    use(database, people.admin, NOVEMBER.replace(day=30), project="Spring")
    bill = close(database, people)
    before = every_file(database, people)
    with database.transaction() as session:
        session.merge(people.creator).name = "Another Name"
        session.merge(people.organisation).name = "Another House"
        fund(session, people.organisation, 1_000_000)
    refund(database, generation_id)
    use(database, people.creator)
    assert every_file(database, people) == before
    again = close(database, people)
    assert (again.closed_at, again.sealed_at) == (bill.closed_at, bill.sealed_at)
    assert every_file(database, people) == before
    assert b"Studio Nord" in before["focus-1.4.csv"]
    with database.read() as session:
        assert session.scalars(select(func.count()).select_from(BillFile)).one() == len(EVERY)
        assert audit(session) == []


def test_a_closed_file_says_its_totals_and_hash_before_it_is_read(database: Database) -> None:
    people = team(database)
    use(database, people.creator, images=3)
    bill = close(database, people)
    assert (bill.lines, bill.generations, bill.images, bill.amount_micros) == (1, 1, 3, 45_000)
    assert bill.closing_micros == (bill.opening_micros or 0) - 45_000
    with database.read() as session:
        stored = {one.format: one for one in bills.files(session, people.id, 2025, 11)}
    for name in EVERY:
        export = bills.export(database, people.id, 2025, 11, name)
        assert export.is_final
        assert (export.sha256, export.size_bytes) == (stored[name].sha256, stored[name].size_bytes)
        assert '"status": "closed"' in export.totals_json
        export.close()


def test_no_hand_changes_a_closed_month(database: Database) -> None:
    people = team(database)
    use(database, people.creator)
    close(database, people)
    for table, column in (
        ("bill_month", "starts_on"),
        ("bill_file", "rows"),
        ("bill_file_part", "number"),
    ):
        for statement in (
            f"UPDATE {table} SET {column} = {column}",
            f"DELETE FROM {table}",
            f"TRUNCATE {table} CASCADE",
        ):
            with pytest.raises(IntegrityError, match=r"append-only|closed once"):
                _execute(database, statement)


def _execute(database: Database, statement: str) -> None:
    with database.transaction() as session:
        session.execute(text(statement))


def test_many_closers_at_once_close_it_once(database: Database) -> None:
    people = team(database)
    for day in range(1, 11):
        use(database, people.creator, NOVEMBER.replace(day=day))
    closed = race([lambda: close(database, people)] * 6)
    assert len({bill.closed_at for bill in closed}) == 1
    with database.read() as session:
        assert session.scalars(select(func.count()).select_from(BillFile)).one() == len(EVERY)


def test_a_settlement_under_way_is_waited_for_and_is_on_the_bill(database: Database) -> None:
    people = team(database)
    use(database, people.creator)
    written = threading.Event()

    def settle() -> None:
        generation_id = _hold(database, people)
        with database.transaction() as session:
            _record(session, people, generation_id, NOVEMBER.replace(day=30))
            written.set()
            _until_somebody_waits(database, 1)
            assert ledger.settle(session, generation_id, 15_000)

    def seal() -> BillMonth:
        assert written.wait(10)
        return close(database, people)

    bill = race([settle, seal])[1]
    assert isinstance(bill, BillMonth)
    assert bill.lines == 2
    assert len(rows(file(database, people.id))) == 2


def _hold(database: Database, people: Team) -> uuid.UUID:
    generation_id = uuid.uuid4()
    with database.transaction() as session:
        ledger.hold(
            session,
            organisation_id=people.id,
            member_id=people.creator.id,
            generation_id=generation_id,
            amount_micros=15_000,
            price_version="2026-11",
        )
    return generation_id


def _record(session: Session, people: Team, generation_id: uuid.UUID, at: datetime) -> None:
    usage.record(
        session,
        generation_id=generation_id,
        organisation_id=people.id,
        member_id=people.creator.id,
        model="pocket-turbo",
        images=1,
        width=512,
        height=512,
        amount_micros=15_000,
        price_version="2026-11",
        at=at,
    )


def test_a_refund_between_a_settlement_and_a_closer_holds_nobody_up(database: Database) -> None:
    """The closer waits for the settlement, that for the wallet, and the refund for the closer."""
    people = team(database)
    paid = use(database, people.creator)
    written, go_on = threading.Event(), threading.Event()

    def settle() -> None:
        generation_id = _hold(database, people)
        with database.transaction() as session:
            _record(session, people, generation_id, NOVEMBER)
            written.set()
            assert go_on.wait(10)
            assert ledger.settle(session, generation_id, 15_000)

    def give_back() -> None:
        with database.transaction() as session:
            _until_somebody_waits(database, 1)
            session.execute(text("SELECT 1 FROM account WHERE kind = 'wallet' FOR UPDATE"))
            threading.Thread(target=go_on_when_two_wait).start()
            usage.correct(
                session, generation_id=paid, amount_micros=-5_000, reason="Grey", author_id=None
            )

    def go_on_when_two_wait() -> None:
        _until_somebody_waits(database, 2)
        go_on.set()

    def seal() -> None:
        assert written.wait(10)
        with pytest.raises(BooksDiffer):  # the correction above has no refund; sealed all the same
            close(database, people)

    race([settle, seal, give_back])
    with database.read() as session:
        bill = bills.find_month(session, people.id, 2025, 11)
        assert bill is not None, "sealed, though everybody waited for everybody"


def _until_somebody_waits(database: Database, count: int) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    for _ in range(2_000):
        with database.read() as session:
            if session.execute(text(waiting)).scalar_one() >= count:
                return
        threading.Event().wait(0.005)
    pytest.fail("nobody waits for the seal")


def test_settlements_racing_the_close_are_on_one_bill_each(database: Database) -> None:
    people = team(database)
    late = NOVEMBER.replace(day=30, hour=23, minute=59)
    jobs = [lambda: use(database, people.creator, late)] * 20
    closers = [lambda: close(database, people).starts_on] * 2
    race([*jobs[:10], *closers, *jobs[10:]])
    november, december = rows(file(database, people.id)), rows(file(database, people.id, DECEMBER))
    assert len(november) + len(december) == 20
    assert {row["settled_at"] for row in december} <= {"2025-12-01T00:00:00.000000Z"}
    bill = close(database, people)
    assert bill.lines == len(november)
    with database.read() as session:
        assert audit(session) == []


def test_what_settles_late_belongs_to_the_open_month(database: Database) -> None:
    people = team(database)
    use(database, people.creator)
    close(database, people)
    late = use(database, people.creator, NOVEMBER.replace(day=30))
    [line] = rows(file(database, people.id, DECEMBER))
    assert (line["generation_id"], line["settled_at"]) == (
        str(late),
        "2025-12-01T00:00:00.000000Z",
    )
    with database.transaction() as session:
        session.execute(
            text(
                "INSERT INTO transfer (organisation_id, kind, source_id, destination_id,"
                " amount_micros, key, note, at) SELECT organisation_id, 'adjust',"
                " max(id::text) FILTER (WHERE kind = 'adjustment')::uuid,"
                " max(id::text) FILTER (WHERE kind = 'promotion')::uuid, 1, 'late', '',"
                " '2025-11-30' FROM account GROUP BY organisation_id"
            )
        )
        at = session.execute(text("SELECT at FROM transfer WHERE key = 'late'")).scalar_one()
    assert at == DECEMBER


def test_a_leap_second_is_the_midnight_after_it(database: Database) -> None:
    people = team(database)
    with database.read() as session:
        leap = session.execute(text("SELECT timestamptz '2016-12-31 23:59:60+00'")).scalar_one()
    use(database, people.creator, leap)
    assert rows(file(database, people.id, datetime(2016, 12, 1, tzinfo=UTC))) == []
    [line] = rows(file(database, people.id, datetime(2017, 1, 1, tzinfo=UTC)))
    assert line["settled_at"] == "2017-01-01T00:00:00.000000Z"


def test_a_time_zone_moves_nothing_over_midnight(database: Database) -> None:
    people = team(database)
    tokyo = datetime.fromisoformat("2025-12-01T08:59:59+09:00")
    use(database, people.creator, tokyo)
    assert len(rows(file(database, people.id))) == 1


def test_a_month_that_has_not_ended_stays_open(database: Database) -> None:
    people = team(database)
    now = datetime.now(UTC)
    with pytest.raises(Conflict, match="has not ended: it can be closed from"):
        bills.close_month(database, people.id, now.year, now.month)
    with pytest.raises(Conflict):
        bills.close_month(database, people.id, now.year + 1, 1)
    use(database, people.creator, now)
    assert len(rows(file(database, people.id, now))) == 1


def test_nobody_s_month_is_not_there(database: Database) -> None:
    with pytest.raises(NotFound):
        bills.close_month(database, uuid.uuid4(), 2025, 11)
    with pytest.raises(NotFound):
        bills.export(database, uuid.uuid4(), 2025, 11, "csv")
    with pytest.raises(NotFound, match=r"focus-1\.2\.csv"):
        bills.export(database, team(database).id, 2025, 11, "xlsx")


def test_a_line_without_its_money_stops_every_export(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        usage.record(
            session,
            generation_id=uuid.uuid4(),
            organisation_id=people.id,
            member_id=people.creator.id,
            model="pocket-turbo",
            images=1,
            width=16,
            height=16,
            amount_micros=15_000,
            price_version="2026-11",
            at=NOVEMBER,
        )
    with pytest.raises(BooksDiffer, match=r"\$10.00, but its movements less all lines make \$9.98"):
        bills.export(database, people.id, 2025, 11, "csv")
    with pytest.raises(BooksDiffer, match=r"Line 1 says \$0.015, the ledger \$0.00"):
        close(database, people)
    with database.read() as session:
        bill = bills.find_month(session, people.id, 2025, 11)
        assert bill is not None
        assert bill.closed_at is None, "sealed, and closed by the next call"
        assert audit(session) != []


def test_the_beat_closes_what_has_ended_two_hours_ago(database: Database) -> None:
    people = team(database)
    use(database, people.creator, DECEMBER - timedelta(days=1))
    bills.close_due(database, DECEMBER + timedelta(hours=1))
    with database.read() as session:
        assert bills.find_month(session, people.id, 2025, 11) is None
    bills.close_due(database, DECEMBER + timedelta(hours=3))
    with database.read() as session:
        [closed] = session.scalars(select(BillMonth))
    assert (closed.starts_on.month, closed.lines) == (11, 1)
    assert bills.close_due(database, DECEMBER + timedelta(hours=3)) == []


def test_balances_lead_from_month_to_month(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        member(session, people.organisation)
    use(database, people.creator, NOVEMBER, images=2)
    use(database, people.creator, DECEMBER, images=3)
    november, december = close(database, people), close(database, people, 12)
    assert november.closing_micros == december.opening_micros
    assert december.closing_micros == (december.opening_micros or 0) - 45_000


@pytest.mark.parametrize("days", [-400, 400])
def test_a_clock_that_jumped_closes_nothing_until_somebody_vouches_for_it(
    database: Database, days: int
) -> None:
    people = team(database)
    use(database, people.creator)
    assert bills.close_due(database, NOVEMBER) == []  # the clock is looked at
    moved = text("UPDATE bill_clock SET seen_at = seen_at + CAST(:by AS interval)")
    with database.transaction() as session:
        session.execute(moved, {"by": f"{days} days"})
    for attempt in (
        lambda: bills.close_due(database, DECEMBER + timedelta(hours=3)),
        lambda: close(database, people),
        lambda: bills.close_due(database, DECEMBER + timedelta(hours=3)),
    ):
        with pytest.raises(ClockJumped, match="--clock-is-right"):
            attempt()
    with database.read() as session:
        assert bills.find_month(session, people.id, 2025, 11) is None
    vouched = bills.close_month(database, people.id, 2025, 11, clock_is_right=True)
    assert vouched.lines == 1
    assert [bill.starts_on.month for bill in bills.close_due(database, NOVEMBER)] == []
    assert close(database, people, 12).closed_at is not None


def test_a_jump_that_is_put_back_leaves_nothing_behind(database: Database) -> None:
    people = team(database)
    bills.close_due(database, NOVEMBER)
    moved = text("UPDATE bill_clock SET seen_at = seen_at + CAST(:by AS interval)")
    for by in ("400 days", "-400 days"):
        with database.transaction() as session:
            session.execute(moved, {"by": by})
    assert close(database, people).closed_at is not None


def test_a_bill_for_seats_that_was_heard_of_late_is_in_the_open_month(database: Database) -> None:
    people = team(database)
    invoice = text(
        "INSERT INTO payment_invoice (id, organisation_id, kind, amount_micros, state, invoice_id,"
        " created_at, asked_at) VALUES (gen_random_uuid(), :id, 'seats', 120000000, :state, :name,"
        " :at, now())"
    )

    def seats(month: datetime) -> list[str]:
        return [
            row["InvoiceId"]
            for row in rows(file(database, people.id, month, "focus-1.4.csv"))
            if row["SkuId"] == "seats" and row["ChargeCategory"] == "Purchase"
        ]

    with database.transaction() as session:
        for name, state in (("in_1", "open"), ("in_2", "started")):
            session.execute(
                invoice, {"id": people.id, "name": name, "state": state, "at": NOVEMBER}
            )
    close(database, people)
    with database.transaction() as session:
        session.execute(invoice, {"id": people.id, "name": "in_3", "state": "open", "at": NOVEMBER})
        session.execute(text("UPDATE payment_invoice SET state = 'open' WHERE invoice_id = 'in_2'"))
    assert seats(NOVEMBER) == ["in_1"]
    assert sorted(seats(DECEMBER)) == ["in_2", "in_3"]
