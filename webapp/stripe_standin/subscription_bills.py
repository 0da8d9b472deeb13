"""What a subscription costs: by the period, for a change in mid-period, on its invoices."""

from webapp.stripe_standin import events, invoice_items, invoice_lines, invoices, periods
from webapp.stripe_standin.fields import Fields, integer
from webapp.stripe_standin.problems import StripeProblem
from webapp.stripe_standin.store import Object, Store


def bill(
    store: Store,
    subscription: Object,
    reason: str,
    lines: list[Object],
    *,
    is_preview: bool = False,
) -> Object:
    """Make a subscription's invoice of these lines and close it; a preview stays a draft."""
    invoice = draft(store, subscription, reason)
    for line in lines:
        line["invoice"] = invoice["id"]
    invoice_lines.add(invoice, lines)
    if reason in ("subscription_cycle", "upcoming"):
        invoice_items.take_pending(store, invoice)
    if is_preview:
        return invoice
    subscription["latest_invoice"] = invoice["id"]
    events.emit(store, "invoice.created", invoice)
    invoices.close(store, invoice)
    return invoice


def draft(store: Store, subscription: Object, reason: str) -> Object:
    """Keep an empty draft for a subscription."""
    item = subscription["items"]["data"][0]
    return invoices.draft(
        store,
        store.find("customer", subscription["customer"]),
        subscription["currency"],
        billing_reason=reason,
        default_payment_method=subscription["default_payment_method"],
        parent={
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": {
                "metadata": dict(subscription["metadata"]),
                "subscription": subscription["id"],
                "subscription_proration_date": None,
            },
        },
        period_start=item["current_period_start"],
        period_end=item["current_period_end"],
    )


def period_lines(store: Store, subscription: Object) -> list[Object]:
    """Return the lines of the current period."""
    about = {"id": None, "currency": subscription["currency"]}
    return [
        invoice_lines.for_period(
            store,
            item,
            about,
            {"start": item["current_period_start"], "end": item["current_period_end"]},
        )
        for item in subscription["items"]["data"]
    ]


def change_lines(
    store: Store, subscription: Object, changes: list[tuple[Object, Object]], at: int
) -> list[Object]:
    """Return the lines of changes in mid-period."""
    about = {"id": None, "currency": subscription["currency"]}
    lines = []
    for before, after in changes:
        lines += invoice_lines.for_change(store, before, after, about, at)
    return lines


def proration_time(store: Store, subscription: Object, fields: Fields) -> int:
    """Return the moment from which a change is charged: now, or one in the current period."""
    item = subscription["items"]["data"][0]
    start, end = item["current_period_start"], item["current_period_end"]
    at = integer(fields, "proration_date", most=2**40)
    if at is None:
        return int(min(max(store.now(), start), end))
    if not start <= at <= end:
        raise StripeProblem(
            "proration_date must lie in the current period.", param="proration_date"
        )
    return at


def first(store: Store, subscription: Object) -> Object:
    """Make and close the invoice of the first period."""
    return bill(store, subscription, "subscription_create", period_lines(store, subscription))


def turn(subscription: Object) -> None:
    """Let the next period begin where this one ends."""
    for item in subscription["items"]["data"]:
        recurring = item["price"]["recurring"]
        item["current_period_start"] = start = item["current_period_end"]
        item["current_period_end"] = periods.end_of(
            start,
            recurring["interval"],
            recurring["interval_count"],
            subscription["billing_cycle_anchor"],
        )


def fall_behind(store: Store, subscription: Object) -> None:
    """Let a subscription go on whose invoice could not be paid."""
    before = subscription["status"]
    subscription["status"] = "past_due"
    if before != "past_due":
        events.emit(store, "customer.subscription.updated", subscription, {"status": before})


def keep_for_next(store: Store, subscription: Object, lines: list[Object]) -> None:
    """Let the next invoice charge these lines."""
    for line in lines:
        _keep(store, subscription, line)


def _keep(store: Store, subscription: Object, line: Object) -> None:
    store.add(
        "invoiceitem",
        amount=line["amount"],
        currency=line["currency"],
        customer=subscription["customer"],
        date=store.now(),
        description=line["description"],
        discountable=False,
        discounts=[],
        invoice=None,
        metadata={},
        parent=None,
        period=line["period"],
        pricing=line["pricing"],
        proration=True,
        quantity=line["quantity"],
        quantity_decimal=line["quantity_decimal"],
        tax_rates=[],
        test_clock=None,
    )
