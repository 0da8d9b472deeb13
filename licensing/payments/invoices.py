"""Invoices: usage on credit, billed each month and due in thirty days; and the bills for seats.

Owns `payment_invoice`. An invoice on credit asks for what the wallet owed when its month ended and
no earlier invoice has asked for; paying it is a top-up, which pays what is owed. What is not paid
long after its day keeps new work back.
"""

import uuid
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from licensing.db import now
from licensing.ledger import Lot, LotSpend, Transfer
from licensing.money import MICROS_PER_CENT, format_usd
from licensing.payments import cards, freezes, notices, subscriptions, top_ups
from licensing.payments.bill_tables import PaymentInvoice
from licensing.payments.payloads import (
    INVOICE_KEY,
    TIER_KEY,
    Mismatch,
    Payload,
    cents_of,
    id_of,
    inner,
    metadata_id,
    require_currency,
    text_of,
    time_of,
)
from licensing.payments.tables import PaymentNotice

NET_DAYS = 30
GRACE = timedelta(days=5)  # money that was sent on the last day takes some days to arrive
AFTER_MONTH = timedelta(hours=1)  # work that ended with the month has settled by then
STATES = {
    "draft": "started",
    "open": "open",
    "paid": "paid",
    "void": "void",
    "uncollectible": "uncollectible",
}
RANK = {"started": 0, "open": 1, "uncollectible": 2, "paid": 3, "void": 3}
ASKED_FOR = ("started", "open", "uncollectible")
LATE = ("open", "uncollectible")
ORGANISATIONS_AT_ONCE_MAX = 20


def last_month(at: datetime) -> date:
    """The first day of the month (UTC) before the one of `at`."""
    first = at.astimezone(UTC).date().replace(day=1)
    return (first - timedelta(days=1)).replace(day=1)


def in_debt(session: Session, at: datetime) -> list[uuid.UUID]:
    """Organisations that owe and have no invoice for last month yet; nobody in its first hour."""
    month_end = _start(_next(last_month(at)))
    if at < month_end + AFTER_MONTH:
        return []
    billed = select(PaymentInvoice.organisation_id).where(
        PaymentInvoice.kind == "credit", PaymentInvoice.month == last_month(at)
    )
    query = (
        select(Lot.organisation_id)
        .where(Lot.kind == "credit", Lot.remaining_micros < 0, Lot.organisation_id.not_in(billed))
        .order_by(func.random())  # none that breaks off stands before the others for ever
        .limit(ORGANISATIONS_AT_ONCE_MAX)
    )
    return list(session.scalars(query))


def begin(session: Session, organisation_id: uuid.UUID, month: date) -> PaymentInvoice | None:
    """Write down the invoice of a month; None if it was written already, or nothing is owed.

    A month with nothing to ask for is kept as a void invoice over nothing, so that it is not
    counted again. Parts of a cent stay owed for the next one.
    """
    owed_micros = _owed_at(session, organisation_id, _start(_next(month)))
    asked_micros = session.scalars(
        select(func.coalesce(func.sum(PaymentInvoice.amount_micros), 0)).where(
            PaymentInvoice.organisation_id == organisation_id,
            PaymentInvoice.kind == "credit",
            PaymentInvoice.state.in_(ASKED_FOR),
        )
    ).one()
    amount_micros = max(owed_micros - int(asked_micros), 0) // MICROS_PER_CENT * MICROS_PER_CENT
    at = now()
    written = session.scalars(
        insert(PaymentInvoice)
        .values(
            id=uuid.uuid4(),
            organisation_id=organisation_id,
            kind="credit",
            month=month,
            amount_micros=amount_micros,
            state="started" if amount_micros else "void",
            created_at=at,
            asked_at=at,
        )
        .on_conflict_do_nothing()
        .returning(PaymentInvoice)
    ).one_or_none()
    return written if amount_micros else None


def told(session: Session, payload: Payload) -> uuid.UUID:
    """The provider said how an invoice stands."""
    own = metadata_id(payload, INVOICE_KEY)
    invoice = _lock(session, own) if own is not None else None
    if invoice is None:
        invoice = _seats(session, payload)
    else:
        cards.require_customer(session, invoice.organisation_id, payload)
        require_currency(payload)
        if cents_of(payload, "total") != invoice.amount_micros:
            raise Mismatch(f"The invoice is not over {format_usd(invoice.amount_micros)}.")
    _move(session, invoice, payload)
    return invoice.organisation_id


def unanswered(session: Session, before: datetime) -> list[PaymentInvoice]:
    """Invoices on credit that were begun and not sent by then."""
    query = select(PaymentInvoice).where(
        PaymentInvoice.state == "started",
        PaymentInvoice.kind == "credit",
        PaymentInvoice.asked_at < before,
    )
    return list(session.scalars(query.order_by(PaymentInvoice.created_at)))


def named(session: Session, invoice_id: uuid.UUID, name: str) -> None:
    """Keep the provider's name for an invoice as soon as it has one."""
    invoice = _lock(session, invoice_id)
    if invoice is not None and invoice.invoice_id is None:
        invoice.invoice_id = name


def asked_again(session: Session, invoice_id: uuid.UUID) -> None:
    """The provider is asked once more."""
    invoice = _lock(session, invoice_id)
    if invoice is not None:
        invoice.asked_at = now()


def overdue(session: Session, at: datetime) -> list[uuid.UUID]:
    """Invoices long past their day of which nobody was told yet."""
    told_already = select(PaymentNotice.organisation_id).where(
        PaymentNotice.kind == "invoice_overdue", PaymentNotice.cleared_at.is_(None)
    )
    query = select(PaymentInvoice.id).where(
        PaymentInvoice.kind == "credit",
        PaymentInvoice.state.in_(LATE),
        PaymentInvoice.due_at < at - GRACE,
        PaymentInvoice.organisation_id.not_in(told_already),
    )
    return list(session.scalars(query))


def mark_overdue(session: Session, invoice_id: uuid.UUID) -> None:
    """Tell of one of them, unless it was paid meanwhile, and keep new work back."""
    invoice = _lock(session, invoice_id)
    if invoice is not None and invoice.state in LATE:
        _tell_overdue(session, invoice)
        freezes.settle(session, invoice.organisation_id)


def _owed_at(session: Session, organisation_id: uuid.UUID, end: datetime) -> int:
    """What a wallet owed at the end of a month, less what was paid since."""
    credit = select(Lot.id, Lot.remaining_micros).where(
        Lot.organisation_id == organisation_id, Lot.kind == "credit"
    )
    found = session.execute(credit).one_or_none()
    if found is None:
        return 0
    lot_id, remaining_micros = found
    drawn_since = session.scalars(
        select(func.coalesce(func.sum(LotSpend.amount_micros), 0))
        .join(Transfer, Transfer.id == LotSpend.transfer_id)
        .where(
            Transfer.organisation_id == organisation_id,
            Transfer.at >= end,
            LotSpend.lot_id == lot_id,
            LotSpend.amount_micros > 0,
        )
    ).one()
    return max(-int(remaining_micros) - int(drawn_since), 0)


def _seats(session: Session, payload: Payload) -> PaymentInvoice:
    """Find or begin the row of a bill for seats; raises `NotOurs` for everything else."""
    details = inner(payload, "parent", "subscription_details")
    if not inner(details, "metadata").get(TIER_KEY):
        subscriptions.find(session, id_of(details, "subscription"))
    organisation_id = cards.organisation_of(session, id_of(payload, "customer"))
    require_currency(payload)
    invoice_id = text_of(payload, "id")
    at = now()
    session.execute(
        insert(PaymentInvoice)
        .values(
            id=uuid.uuid5(uuid.NAMESPACE_OID, f"stripe:{invoice_id}"),
            organisation_id=organisation_id,
            kind="seats",
            amount_micros=_total(payload),
            state="started",
            invoice_id=invoice_id,
            created_at=time_of(payload, "created") or at,
            asked_at=at,
        )
        .on_conflict_do_nothing()
    )
    query = select(PaymentInvoice).where(PaymentInvoice.invoice_id == invoice_id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one()


def _total(payload: Payload) -> int:
    """What a bill for seats asks for; a move to fewer or cheaper ones may ask for less than 0."""
    total = payload.get("total")
    return 0 if type(total) is int and total < 0 else cents_of(payload, "total")


def _move(session: Session, invoice: PaymentInvoice, payload: Payload) -> None:
    state = STATES[text_of(payload, "status")]
    if invoice.invoice_id is not None and invoice.invoice_id != text_of(payload, "id"):
        raise Mismatch(f"This month was billed by {invoice.invoice_id} already.")
    invoice.invoice_id = text_of(payload, "id")
    if RANK[state] < RANK[invoice.state]:
        return
    invoice.number = id_of(payload, "number") or invoice.number
    invoice.hosted_url = id_of(payload, "hosted_invoice_url") or invoice.hosted_url
    invoice.pdf_url = id_of(payload, "invoice_pdf") or invoice.pdf_url
    invoice.due_at = time_of(payload, "due_date") or invoice.due_at
    if RANK[state] == RANK[invoice.state]:
        return
    invoice.state, invoice.paid_at = state, now() if state == "paid" else None
    if state == "paid" and invoice.kind == "credit":
        _pay(session, invoice)
    _ease(session, invoice)


def _pay(session: Session, invoice: PaymentInvoice) -> None:
    assert invoice.invoice_id is not None, "the message named it"
    payment = top_ups.write(session, invoice.organisation_id, "invoice", invoice.amount_micros)
    top_ups.pay(session, payment, invoice.invoice_id)
    invoice.payment_id = payment.id


def _ease(session: Session, invoice: PaymentInvoice) -> None:
    """Where nothing is overdue any more, say so, and let work go on."""
    session.flush()
    query = select(PaymentInvoice.id).where(
        PaymentInvoice.organisation_id == invoice.organisation_id,
        PaymentInvoice.kind == "credit",
        PaymentInvoice.state.in_(("open", "uncollectible")),
        PaymentInvoice.due_at < now() - GRACE,
    )
    if session.scalars(query).first() is None:
        notices.clear(session, invoice.organisation_id, "invoice_overdue")
        freezes.settle(session, invoice.organisation_id)


def _tell_overdue(session: Session, invoice: PaymentInvoice) -> None:
    assert invoice.due_at is not None, "an invoice without a day is never late"
    sentence = (
        f"Invoice {invoice.number or invoice.invoice_id} over {format_usd(invoice.amount_micros)} "
        f"was due on {invoice.due_at:%Y-%m-%d}. New work waits until it is paid."
    )
    notices.show(session, invoice.organisation_id, "invoice_overdue", sentence)


def _lock(session: Session, invoice_id: uuid.UUID) -> PaymentInvoice | None:
    return session.get(PaymentInvoice, invoice_id, with_for_update=True, populate_existing=True)


def _next(month: date) -> date:
    return (month.replace(day=28) + timedelta(days=4)).replace(day=1)


def _start(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
