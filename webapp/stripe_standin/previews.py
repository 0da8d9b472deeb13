"""Invoice previews: what a subscription's change, or its next period, would cost."""

import copy

from webapp.stripe_standin import subscription_bills, subscription_items, subscriptions
from webapp.stripe_standin.fields import Fields, allow, choice, required, rows, tree
from webapp.stripe_standin.problems import StripeProblem
from webapp.stripe_standin.store import Object, Store


def create(store: Store, fields: Fields) -> Object:
    """Return the invoice that a change would bring, or the next one.

    It is made for real and then forgotten, so that a preview and a charge cannot differ.
    """
    allow(fields, "customer", "subscription", "subscription_details")
    required(fields, "subscription")
    subscription = subscriptions.live(store, str(fields["subscription"]))
    if fields.get("customer", subscription["customer"]) != subscription["customer"]:
        raise StripeProblem("The subscription has another customer.", param="customer")
    store.save()
    try:
        invoice = copy.deepcopy(_invoice(store, subscription, tree(fields, "subscription_details")))
    finally:
        store.forget()
    return {**invoice, "id": f"upcoming_{invoice['id']}", "status": "draft"}


def _invoice(store: Store, subscription: Object, details: Fields) -> Object:
    allow(details, "items", "proration_behavior", "proration_date")
    proration = choice(
        details, "proration_behavior", subscriptions.PRORATIONS, subscriptions.PRORATIONS[0]
    )
    at = subscription_bills.proration_time(store, subscription, details)
    changes = subscription_items.change(store, subscription, rows(details, "items"))
    lines = subscription_bills.change_lines(store, subscription, changes, at)
    if proration == "always_invoice" and changes:
        reason = "subscription_update"
    else:
        reason = "upcoming"
        lines = lines if proration == "create_prorations" else []
        subscription_bills.turn(subscription)
        lines += subscription_bills.period_lines(store, subscription)
    return subscription_bills.bill(store, subscription, reason, lines, is_preview=True)
