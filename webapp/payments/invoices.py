"""Invoices on credit: written here, then made, closed and sent by the provider, each step once."""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from licensing.payments import invoices
from licensing.payments.bill_tables import PaymentInvoice
from licensing.payments.payloads import CURRENCY, INVOICE_KEY, cents
from webapp.payments import payers, provider, turns
from webapp.studio import Studio

ASK_AGAIN_AFTER = timedelta(seconds=60)


def bill_due(studio: Studio, at: datetime) -> int:
    """Write and send the invoices of the month that has ended; return how many were looked at."""
    with studio.database.read() as session:
        in_debt = invoices.in_debt(session, at)

    def bill(organisation_id: uuid.UUID) -> None:
        with studio.database.transaction() as session:
            invoice = invoices.begin(session, organisation_id, invoices.last_month(at))
        if invoice is not None:
            send(studio, invoice)

    return turns.each(in_debt, bill)


def tell_overdue(studio: Studio, at: datetime) -> int:
    """Tell of invoices that are long past their day; return how many are new."""
    with studio.database.read() as session:
        late = invoices.overdue(session, at)

    def tell(invoice_id: uuid.UUID) -> None:
        with studio.database.transaction() as session:
            invoices.mark_overdue(session, invoice_id)

    return turns.each(late, tell)


def ask_again(studio: Studio, at: datetime) -> int:
    """Go on with invoices that stopped half way; return how many there were."""
    with studio.database.read() as session:
        waiting = invoices.unanswered(session, at - ASK_AGAIN_AFTER)

    def go_on(invoice: PaymentInvoice) -> None:
        with studio.database.transaction() as session:
            invoices.asked_again(session, invoice.id)
        send(studio, invoice)

    return turns.each(waiting, go_on)


def send(studio: Studio, invoice: PaymentInvoice) -> None:
    """Take one invoice through the provider's steps; where it stops, it is taken up again.

    The provider forgets keys after a day: an invoice that it named is read back, not made anew.
    """
    try:
        customer_id = payers.customer(studio, invoice.organisation_id)
        with provider.answers():
            answer = _steps(studio, invoice, customer_id)
    except (provider.ProviderAway, provider.ProviderRefused):
        return
    with studio.database.transaction() as session:
        invoices.told(session, answer)


def _steps(studio: Studio, invoice: PaymentInvoice, customer_id: str) -> Mapping[str, Any]:
    assert invoice.month is not None, "an invoice on credit is for a month"
    client = provider.connect(studio).v1
    own = payers.metadata(INVOICE_KEY, invoice.id, invoice.organisation_id)
    if invoice.invoice_id is not None:
        made = client.invoices.retrieve(invoice.invoice_id)
    else:
        order: Any = {
            "customer": customer_id,
            "currency": CURRENCY,
            "collection_method": "send_invoice",
            "days_until_due": invoices.NET_DAYS,
            "auto_advance": False,
            "pending_invoice_items_behavior": "exclude",
            "description": f"Usage on credit, {invoice.month:%B %Y}",
            "metadata": own,
        }
        made = client.invoices.create(order, _key(invoice.id, "create"))
        with studio.database.transaction() as session:
            invoices.named(session, invoice.id, made.id)
    if made.status == "draft":
        if not made.total:
            item: Any = {
                "customer": customer_id,
                "invoice": made.id,
                "currency": CURRENCY,
                "amount": cents(invoice.amount_micros),
                "description": f"Usage on credit until the end of {invoice.month:%B %Y}",
            }
            client.invoice_items.create(item, _key(invoice.id, "item"))
        client.invoices.finalize_invoice(made.id, {}, _key(invoice.id, "finalise"))
        client.invoices.send_invoice(made.id, {}, _key(invoice.id, "send"))
    return provider.plain(client.invoices.retrieve(made.id))


def _key(invoice_id: uuid.UUID, step: str) -> Any:
    return {"idempotency_key": f"invoice:{invoice_id}:{step}"}
