"""Invoices: draft -> open -> paid, or void, or uncollectible; by card at once, or sent, Net 30.

`subscriptions` makes its own with `draft`, `invoice_lines` and `settle`; `invoice_payments` takes
the money.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from webapp.stripe_standin import events, invoice_items, invoice_lines, invoice_payments, lists
from webapp.stripe_standin.fields import (
    LISTING,
    Fields,
    allow,
    boolean,
    choice,
    currency,
    integer,
    metadata,
    required,
    text,
)
from webapp.stripe_standin.problems import StripeProblem
from webapp.stripe_standin.store import Due, Object, Store, new_id

DAY_SECONDS = 24 * 3600
DAYS_UNTIL_DUE_MAX = 3650
COLLECTIONS = ("charge_automatically", "send_invoice")
KNOWN = (
    "customer",
    "currency",
    "collection_method",
    "days_until_due",
    "auto_advance",
    "description",
    "footer",
    "metadata",
    "default_payment_method",
    "pending_invoice_items_behavior",
)


def create(store: Store, fields: Fields) -> Object:
    """Begin an invoice to a customer."""
    allow(fields, *KNOWN)
    required(fields, "customer")
    customer = store.find("customer", text(fields, "customer"), param="customer")
    collection = choice(fields, "collection_method", COLLECTIONS, COLLECTIONS[0])
    days = integer(fields, "days_until_due", most=DAYS_UNTIL_DUE_MAX)
    if (collection == "send_invoice") != (days is not None):
        raise StripeProblem(
            "days_until_due belongs to collection_method=send_invoice, which needs it.",
            param="days_until_due",
        )
    invoice = draft(
        store,
        customer,
        currency(fields) if "currency" in fields else "usd",
        billing_reason="manual",
        collection_method=collection,
        auto_advance=boolean(fields, "auto_advance"),
        default_payment_method=text(fields, "default_payment_method"),
        description=text(fields, "description"),
        footer=text(fields, "footer"),
        metadata=metadata(fields),
    )
    invoice["due_date"] = None if days is None else store.now() + days * DAY_SECONDS
    behaviour = choice(fields, "pending_invoice_items_behavior", ("exclude", "include"), "exclude")
    if behaviour == "include":
        invoice_items.take_pending(store, invoice)
    events.emit(store, "invoice.created", invoice)
    return invoice


def draft(store: Store, customer: Object, money: str, **values: Any) -> Object:
    """Keep an empty draft to `customer`; what is not said is as Stripe leaves it."""
    invoice_id = new_id("in")
    now = store.now()
    return store.add(
        "invoice",
        id=invoice_id,
        currency=money,
        customer=customer["id"],
        customer_address=customer["address"],
        customer_email=customer["email"],
        customer_name=customer["name"],
        lines=invoice_lines.none(invoice_id),
        **{
            **_empty(),
            "effective_at": None,
            "period_start": now,
            "period_end": now,
            "starting_balance": 0,
            **values,
        },
    )


def retrieve(store: Store, fields: Fields, invoice: str) -> Object:
    """Return one invoice."""
    allow(fields)
    return store.find("invoice", invoice)


def index(store: Store, fields: Fields) -> Object:
    """List invoices."""
    allow(fields, "customer", "status", "subscription", "collection_method", "created", *LISTING)
    rows = lists.matching(store.all("invoice"), fields, "customer", "status", "collection_method")
    if "subscription" in fields:
        rows = [row for row in rows if subscription_of(row) == fields["subscription"]]
    return lists.page(rows, fields, "/v1/invoices")


def delete(store: Store, fields: Fields, invoice: str) -> Object:
    """Throw a draft away."""
    allow(fields)
    found = invoice_items.editable(store, invoice)
    del store.objects[invoice]
    events.emit(store, "invoice.deleted", found)
    return {"id": invoice, "object": "invoice", "deleted": True}


def finalize(store: Store, fields: Fields, invoice: str) -> Object:
    """Close a draft: it gets its number, and can be paid."""
    allow(fields, "auto_advance")
    found = invoice_items.editable(store, invoice)
    close(store, found)
    return found


def send(store: Store, fields: Fields, invoice: str) -> Object:
    """Send an invoice to its customer; a draft is closed first."""
    allow(fields)
    found = store.find("invoice", invoice)
    if found["collection_method"] != "send_invoice":
        raise StripeProblem("Only an invoice with collection_method=send_invoice can be sent.")
    if found["status"] == "draft":
        close(store, found)
    if found["status"] != "open":
        raise StripeProblem(f"This invoice is {found['status']}.", code="invoice_not_open")
    events.emit(store, "invoice.sent", found)
    return found


def pay(store: Store, fields: Fields, invoice: str) -> Object:
    """Take the money from a card, or note that it came otherwise."""
    allow(fields, "payment_method", "paid_out_of_band", "off_session")
    found = _open(store, invoice)
    if boolean(fields, "paid_out_of_band"):
        invoice_payments.note(store, found)
    else:
        invoice_payments.take(store, found, text(fields, "payment_method"))
    return found


def void(store: Store, fields: Fields, invoice: str) -> Object:
    """Take an open invoice back."""
    allow(fields)
    return _end(store, _open(store, invoice), "void", "invoice.voided")


def mark_uncollectible(store: Store, fields: Fields, invoice: str) -> Object:
    """Give an open invoice up; it can still be paid."""
    allow(fields)
    found = _open(store, invoice)
    return _end(store, found, "uncollectible", "invoice.marked_uncollectible")


def close(store: Store, invoice: Object) -> None:
    """Turn a draft into an open invoice, less the customer's credit; over nothing, it is paid."""
    customer = store.find("customer", invoice["customer"])
    number = customer["next_invoice_sequence"]
    customer["next_invoice_sequence"] += 1
    balance, total = customer["balance"], invoice["total"]  # a balance below 0 is credit
    due = max(total + balance, 0)
    customer["balance"] = min(total + balance, 0)
    now = store.now()
    invoice |= {
        "amount_due": due,
        "amount_remaining": due,
        "effective_at": now,
        "starting_balance": balance,
        "ending_balance": customer["balance"],
        "hosted_invoice_url": f"{store.url}/invoices/{invoice['id']}",
        "invoice_pdf": f"{store.url}/invoices/{invoice['id']}",
        "number": f"{customer['invoice_prefix']}-{number:04d}",
        "status": "open",
    }
    invoice["status_transitions"]["finalized_at"] = now
    events.emit(store, "invoice.finalized", invoice)
    if due == 0:
        invoice_payments.mark_paid(store, invoice)


def due(store: Store) -> Iterator[Due]:
    """Yield when each sent invoice becomes overdue, and the act."""
    for invoice in store.all("invoice"):
        mark = _overdue_mark(invoice)
        if invoice["status"] == "open" and invoice["due_date"] and mark not in store.objects:
            yield invoice["due_date"] + 1, partial(_tell_overdue, store, invoice)


def subscription_of(invoice: Object) -> str | None:
    """Return the subscription that an invoice is for."""
    parent = invoice["parent"]
    return parent["subscription_details"]["subscription"] if parent else None


def _tell_overdue(store: Store, invoice: Object) -> None:
    store.objects[_overdue_mark(invoice)] = {"object": "mark"}
    events.emit(store, "invoice.overdue", invoice)


def _overdue_mark(invoice: Object) -> str:
    return f"overdue_{invoice['id']}"


def _end(store: Store, invoice: Object, status: str, event_type: str) -> Object:
    key = {"void": "voided_at"}.get(status, "marked_uncollectible_at")
    invoice |= {"status": status, "next_payment_attempt": None}
    invoice["status_transitions"][key] = store.now()
    events.emit(store, event_type, invoice)
    return invoice


def _open(store: Store, invoice: str) -> Object:
    found = store.find("invoice", invoice)
    if found["status"] not in ("open", "uncollectible"):
        raise StripeProblem(f"This invoice is {found['status']}.", code="invoice_not_open")
    return found


def _empty() -> dict[str, Any]:
    return {
        "account_name": "Atelier (stand-in for Stripe)",
        "amount_due": 0,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": 0,
        "amount_shipping": 0,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {"enabled": False, "liability": None, "status": None},
        "billing_reason": "manual",
        "collection_method": "charge_automatically",
        "custom_fields": None,
        "customer_tax_exempt": "none",
        "default_payment_method": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "due_date": None,
        "ending_balance": None,
        "footer": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "parent": None,
        "payment_settings": {"default_mandate": None, "payment_method_types": None},
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "status": "draft",
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": 0,
        "subtotal_excluding_tax": 0,
        "test_clock": None,
        "total": 0,
        "total_discount_amounts": [],
        "total_excluding_tax": 0,
        "total_taxes": [],
        "webhooks_delivered_at": None,
    }
