"""Subscriptions: items with a quantity, billed by the period; changed at once, with proration.

`renewals` turns the periods over, `schedules` changes a subscription at a period's end.
"""

import copy
from typing import Any

from webapp.stripe_standin import (
    events,
    invoice_payments,
    lists,
    subscription_bills,
    subscription_items,
)
from webapp.stripe_standin.fields import (
    LISTING,
    Fields,
    allow,
    boolean,
    choice,
    metadata,
    required,
    rows,
    text,
)
from webapp.stripe_standin.problems import StripeProblem
from webapp.stripe_standin.store import Object, Store, listing, new_id

PRORATIONS = ("create_prorations", "none", "always_invoice")
PAYMENTS = ("allow_incomplete", "error_if_incomplete")
LIVE = ("active", "past_due", "incomplete")


def create(store: Store, fields: Fields) -> Object:
    """Begin a subscription, its first period paid at once by the customer's card."""
    allow(
        fields,
        "customer",
        "items",
        "metadata",
        "default_payment_method",
        "payment_behavior",
        "description",
    )
    required(fields, "customer", "items")
    customer = store.find("customer", text(fields, "customer"), param="customer")
    behaviour = choice(fields, "payment_behavior", PAYMENTS, PAYMENTS[0])
    subscription = begin(
        store,
        customer,
        [subscription_items.wanted(store, row) for row in rows(fields, "items")],
        metadata=metadata(fields),
        default_payment_method=text(fields, "default_payment_method"),
        description=text(fields, "description"),
    )
    invoice = subscription_bills.first(store, subscription)
    if behaviour == "error_if_incomplete":
        try:
            invoice_payments.take(store, invoice)
        except StripeProblem:
            store.forget()
            raise
    else:
        invoice_payments.try_to_take(store, invoice)
    return subscription


def begin(
    store: Store, customer: Object, wanted: list[tuple[Object, int]], **values: Any
) -> Object:
    """Keep an incomplete subscription to prices and quantities, beginning now."""
    now = store.now()
    subscription_id = new_id("sub")
    subscription = store.add(
        "subscription",
        id=subscription_id,
        currency=wanted[0][0]["currency"],
        customer=customer["id"],
        items=listing([], f"/v1/subscription_items?subscription={subscription_id}"),
        start_date=now,
        billing_cycle_anchor=now,
        **{**_empty(), **values},
    )
    for price, quantity in wanted:
        item = subscription_items.begin(subscription_id, price, quantity, now)
        subscription["items"]["data"].append(item)
    events.emit(store, "customer.subscription.created", subscription)
    return subscription


def update(store: Store, fields: Fields, subscription: str) -> Object:
    """Change quantity, price, card or end. What a change costs is prorated as the request says."""
    allow(
        fields,
        "items",
        "metadata",
        "proration_behavior",
        "proration_date",
        "payment_behavior",
        "default_payment_method",
        "cancel_at_period_end",
        "description",
    )
    found = live(store, subscription)
    before = copy.deepcopy(found)
    proration = choice(fields, "proration_behavior", PRORATIONS, PRORATIONS[0])
    behaviour = choice(fields, "payment_behavior", PAYMENTS, PAYMENTS[0])
    found["metadata"] = metadata(fields, found["metadata"])
    found |= {
        name: text(fields, name)
        for name in ("default_payment_method", "description")
        if name in fields
    }
    if "cancel_at_period_end" in fields:
        _end_with_period(store, found, is_ending=boolean(fields, "cancel_at_period_end"))
    changes = subscription_items.change(store, found, rows(fields, "items"))
    at = subscription_bills.proration_time(store, before, fields)
    tell_change(store, before, found)
    if changes and proration != "none":
        lines = subscription_bills.change_lines(store, found, changes, at)
        _charge(store, found, lines, proration=proration, behaviour=behaviour)
    return found


def cancel(store: Store, fields: Fields, subscription: str) -> Object:
    """End a subscription at once; nothing is paid back."""
    allow(fields, "invoice_now", "prorate", "cancellation_details")
    found = live(store, subscription)
    end(store, found)
    return found


def end(store: Store, subscription: Object) -> None:
    """End a subscription now."""
    now = store.now()
    subscription |= {"status": "canceled", "canceled_at": now, "ended_at": now, "schedule": None}
    events.emit(store, "customer.subscription.deleted", subscription)


def retrieve(store: Store, fields: Fields, subscription: str) -> Object:
    """Return one subscription."""
    allow(fields)
    return store.find("subscription", subscription)


def index(store: Store, fields: Fields) -> Object:
    """List subscriptions; the ended ones only if asked for."""
    allow(fields, "customer", "status", "price", "created", *LISTING)
    status = text(fields, "status")
    found = lists.matching(store.all("subscription"), fields, "customer")
    if status != "all":
        found = [row for row in found if row["status"] == (status or row["status"])]
        found = [row for row in found if status or row["status"] != "canceled"]
    return lists.page(found, fields, "/v1/subscriptions")


def live(store: Store, subscription: str) -> Object:
    """Return a subscription that has not ended; raises `StripeProblem`."""
    found = store.find("subscription", subscription, param="subscription")
    if found["status"] not in LIVE:
        raise StripeProblem("This subscription has ended.", code="resource_missing")
    return found


def tell_change(store: Store, before: Object, after: Object) -> None:
    """Say what has changed, if anything has."""
    fields = {name: value for name, value in before.items() if after[name] != value}
    if fields:
        events.emit(store, "customer.subscription.updated", after, fields)


def _charge(
    store: Store,
    subscription: Object,
    lines: list[Object],
    *,
    proration: str,
    behaviour: str,
) -> None:
    if proration == "create_prorations":
        subscription_bills.keep_for_next(store, subscription, lines)
        return
    invoice = subscription_bills.bill(store, subscription, "subscription_update", lines)
    if invoice["status"] == "paid":
        return
    if behaviour == "error_if_incomplete":
        try:
            invoice_payments.take(store, invoice)
        except StripeProblem:
            store.forget()  # nothing of the change stays, not even the failed charge
            raise
    elif not invoice_payments.try_to_take(store, invoice):
        subscription_bills.fall_behind(store, subscription)


def _end_with_period(store: Store, subscription: Object, *, is_ending: bool) -> None:
    item = subscription["items"]["data"][0]
    subscription |= {
        "cancel_at_period_end": is_ending,
        "cancel_at": item["current_period_end"] if is_ending else None,
        "canceled_at": store.now() if is_ending else None,
    }


def _empty() -> dict[str, Any]:
    return {
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor_config": None,
        "billing_mode": {"type": "flexible", "flexible": {"proration_discounts": "included"}},
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "days_until_due": None,
        "default_payment_method": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "latest_invoice": None,
        "metadata": {},
        "next_pending_invoice_item_invoice": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "status": "incomplete",
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": None,
    }
