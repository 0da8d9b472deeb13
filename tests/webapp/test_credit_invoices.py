"""Usage on credit, billed for the month at a running studio: once, Net 30, and what follows."""

import uuid
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from paying import USD, Desk, open_desk
from sqlalchemy import update

from licensing import ledger
from licensing.db import now
from licensing.ledger import WalletFrozen
from licensing.payments import invoice_lines, overview
from licensing.payments.bill_tables import PaymentInvoice
from licensing.payments.tables import Payment
from webapp import payments
from webapp.payments import invoices


@pytest.fixture
def desk(stack: ExitStack, environ: dict[str, str]) -> Desk:
    opened = open_desk(stack, environ)
    with opened.database.transaction() as session:
        ledger.set_credit_limit(
            session, opened.team.id, 100 * USD, author_id=None, reason="Net 30 agreed"
        )
    return opened


def spend(desk: Desk, micros: int) -> None:
    job = uuid.uuid4()
    with desk.database.transaction() as session:
        ledger.hold(
            session,
            organisation_id=desk.team.id,
            member_id=desk.team.creator.id,
            generation_id=job,
            amount_micros=micros,
            price_version="test",
        )
        ledger.settle(session, job, micros)


def next_month() -> datetime:
    """Two hours into the month after this one."""
    later = now().astimezone(UTC).replace(day=28) + timedelta(days=4)
    return datetime(later.year, later.month, 1, 2, tzinfo=UTC)


def bill(desk: Desk) -> PaymentInvoice:
    invoices.bill_due(desk.studio, next_month())
    desk.deliver()
    row: PaymentInvoice = desk.rows(PaymentInvoice)[-1]
    return row


def kinds(desk: Desk) -> list[str]:
    with desk.database.read() as session:
        return [notice.kind for notice in overview(session, desk.team.id).notices]


def test_what_is_owed_at_months_end_is_billed_once_and_paid_into_the_wallet(desk: Desk) -> None:
    spend(desk, 30 * USD + 1_234)
    for _ in range(2):
        invoice = bill(desk)
    assert (invoice.state, invoice.amount_micros) == ("open", 30 * USD)
    assert invoice.due_at is not None
    with desk.database.read() as session:
        (line,) = invoice_lines(session, desk.team.id)
    assert line.number is not None
    assert line.hosted_url is not None
    made = desk.standin.client.v1.invoices.list().data
    assert [(one.total, one.collection_method) for one in made] == [(3000, "send_invoice")]
    assert invoice.invoice_id is not None
    desk.standin.client.v1.invoices.pay(invoice.invoice_id, {"paid_out_of_band": True})
    desk.deliver(order="newest")
    assert desk.rows(PaymentInvoice)[0].state == "paid"
    assert [row.kind for row in desk.rows(Payment)] == ["invoice"]
    assert desk.balance().settled_micros == -1_234


def test_the_next_month_asks_only_for_what_no_invoice_has_asked_for(desk: Desk) -> None:
    spend(desk, 30 * USD)
    bill(desk)
    spend(desk, 12 * USD)
    later = next_month() + timedelta(days=31)
    invoices.bill_due(desk.studio, datetime(later.year, later.month, 1, 2, tzinfo=UTC))
    amounts = [row.amount_micros for row in desk.rows(PaymentInvoice)]
    assert sorted(amounts) == [12 * USD, 30 * USD]


def test_nothing_is_billed_within_the_months_first_hour(desk: Desk) -> None:
    spend(desk, 30 * USD)
    assert invoices.bill_due(desk.studio, next_month() - timedelta(hours=1, minutes=30)) == 0


def test_a_crash_half_way_makes_no_second_invoice(desk: Desk) -> None:
    spend(desk, 30 * USD)
    invoices.bill_due(desk.studio, next_month())
    with desk.database.transaction() as session:
        session.execute(
            update(PaymentInvoice).values(
                state="started", invoice_id=None, asked_at=now() - timedelta(hours=1)
            )
        )
    assert invoices.ask_again(desk.studio, now()) == 1
    desk.deliver()
    assert [row.state for row in desk.rows(PaymentInvoice)] == ["open"]
    assert len(desk.standin.client.v1.invoices.list().data) == 1


def test_an_invoice_long_overdue_stops_new_work_until_it_is_paid(desk: Desk) -> None:
    spend(desk, 30 * USD)
    invoice = bill(desk)
    assert invoice.due_at is not None
    assert invoice.invoice_id is not None
    payments.run_due(desk.studio, invoice.due_at + timedelta(days=4))
    spend(desk, USD)
    payments.run_due(desk.studio, invoice.due_at + timedelta(days=6))
    with pytest.raises(WalletFrozen, match="overdue"):
        spend(desk, USD)
    assert kinds(desk) == ["invoice_overdue"]
    desk.standin.client.v1.invoices.pay(invoice.invoice_id, {"paid_out_of_band": True})
    desk.deliver()
    assert kinds(desk) == []
    spend(desk, USD)
