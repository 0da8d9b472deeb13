"""The lines of an invoice, and its sums."""

from typing import Any

from webapp.stripe_standin import periods
from webapp.stripe_standin.store import Object, Store, listing, new_id


def for_item(item: Object, invoice: Object) -> Object:
    """Return the line of an invoice item that somebody wrote by hand."""
    return _line(
        invoice,
        amount=item["amount"],
        description=item["description"],
        period=item["period"],
        quantity=item["quantity"],
        pricing=item["pricing"],
        metadata=item["metadata"],
        parent={
            "type": "invoice_item_details",
            "invoice_item_details": {
                "invoice_item": item["id"],
                "proration": item["proration"],
                "proration_details": None,
                "subscription": None,
            },
            "subscription_item_details": None,
        },
    )


def for_period(store: Store, item: Object, invoice: Object, period: dict[str, int]) -> Object:
    """Return the line of a subscription item for one whole period."""
    price = item["price"]
    name = store.find("product", price["product"])["name"]
    return _line(
        invoice,
        amount=price["unit_amount"] * item["quantity"],
        description=f"{item['quantity']} {name}",
        period=period,
        quantity=item["quantity"],
        pricing=pricing(price),
        parent=_of_subscription(item, is_proration=False),
    )


def for_change(
    store: Store, before: Object, after: Object, invoice: Object, at: int
) -> list[Object]:
    """Return the lines of a change in mid-period: what is unused comes back, the rest is due."""
    start, end = before["current_period_start"], before["current_period_end"]
    lines = []
    for item, sign, words in ((before, -1, "Unused time on"), (after, 1, "Remaining time on")):
        price = item["price"]
        name = store.find("product", price["product"])["name"]
        whole = price["unit_amount"] * item["quantity"]
        lines.append(
            _line(
                invoice,
                amount=sign * periods.part(whole, start, end, at),
                description=f"{words} {item['quantity']} {name} after {periods.day(at)}",
                period={"start": at, "end": end},
                quantity=item["quantity"],
                pricing=pricing(price),
                parent=_of_subscription(item, is_proration=True),
            )
        )
    return lines


def add(invoice: Object, lines: list[Object]) -> None:
    """Put lines on a draft and add them up."""
    invoice["lines"]["data"] += lines
    total = sum(line["amount"] for line in invoice["lines"]["data"])
    invoice |= {"subtotal": total, "subtotal_excluding_tax": total}
    invoice |= {"total": total, "total_excluding_tax": total}
    invoice["amount_due"] = invoice["amount_remaining"] = max(total, 0)


def none(invoice_id: str) -> Object:
    """Return the empty list of a new invoice's lines."""
    return listing([], f"/v1/invoices/{invoice_id}/lines")


def pricing(price: Object) -> Object:
    """Return a price as lines and invoice items refer to it."""
    return {
        "type": "price_details",
        "price_details": {"price": price["id"], "product": price["product"]},
        "unit_amount_decimal": price["unit_amount_decimal"],
    }


def _line(invoice: Object, **values: Any) -> Object:
    amount = values["amount"]
    return {
        "id": new_id("il"),
        "object": "line_item",
        "currency": invoice["currency"],
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": invoice["id"],
        "livemode": False,
        "metadata": {},
        "pretax_credit_amounts": [],
        "quantity_decimal": str(values["quantity"]),
        "subscription": _subscription(values["parent"]),
        "subtotal": amount,
        "taxes": [],
        **values,
    }


def _subscription(parent: Object) -> str | None:
    details = parent["subscription_item_details"]
    return details["subscription"] if details else None


def _of_subscription(item: Object, *, is_proration: bool) -> Object:
    return {
        "type": "subscription_item_details",
        "invoice_item_details": None,
        "subscription_item_details": {
            "invoice_item": None,
            "proration": is_proration,
            "proration_details": None,
            "subscription": item["subscription"],
            "subscription_item": item["id"],
        },
    }
