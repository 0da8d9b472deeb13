"""The items of a subscription: what it is to, how many, and how they change."""

import copy

from webapp.stripe_standin import periods
from webapp.stripe_standin.fields import Fields, allow, integer, text
from webapp.stripe_standin.problems import StripeProblem
from webapp.stripe_standin.store import Object, Store, new_id

QUANTITY_MAX = 1_000_000


def begin(subscription_id: str, price: Object, quantity: int, now: int) -> Object:
    """Make an item whose first period begins now; raises `StripeProblem` for a one-time price."""
    recurring = price["recurring"]
    if recurring is None:
        raise StripeProblem("A subscription needs a recurring price.", param="items")
    item: Object = {
        "id": new_id("si"),
        "object": "subscription_item",
        "billed_until": None,
        "billing_thresholds": None,
        "created": now,
        "current_period_end": periods.end_of(
            now, recurring["interval"], recurring["interval_count"], now
        ),
        "current_period_start": now,
        "discounts": [],
        "metadata": {},
        "quantity": quantity,
        "subscription": subscription_id,
        "tax_rates": [],
    }
    set_price(item, price)
    return item


def change(store: Store, subscription: Object, asked: list[Fields]) -> list[tuple[Object, Object]]:
    """Change items as a request says; return each as it was and as it is."""
    return [_change(store, subscription, row) for row in asked]


def set_price(item: Object, price: Object) -> None:
    """Let an item cost `price`; Stripe still says so in the words of old plans, too."""
    recurring = price["recurring"]
    item["price"] = copy.deepcopy(price)
    item["plan"] = {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "product": price["product"],
    }


def _change(store: Store, subscription: Object, row: Fields) -> tuple[Object, Object]:
    allow(row, "id", "price", "quantity")
    for item in subscription["items"]["data"]:
        if item["id"] == row.get("id"):
            before = copy.deepcopy(item)
            if "price" in row:
                price = store.find("price", text(row, "price"), param="items[0][price]")
                if price["recurring"] != item["price"]["recurring"]:
                    raise StripeProblem("The stand-in keeps a subscription's interval.")
                set_price(item, price)
            if "quantity" in row:
                item["quantity"] = integer(row, "quantity", most=QUANTITY_MAX)
            return before, item
    raise StripeProblem(
        "The stand-in changes the items that there are: name one by its id.", param="items[0][id]"
    )


def wanted(store: Store, row: Fields) -> tuple[Object, int]:
    """Read the price and the quantity that a request names."""
    allow(row, "price", "quantity")
    price = store.find("price", text(row, "price"), param="items[0][price]")
    quantity = integer(row, "quantity", most=QUANTITY_MAX)
    return price, 1 if quantity is None else quantity
