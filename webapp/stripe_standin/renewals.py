"""Renewals: at a period's end a subscription begins the next one and bills it, or ends."""

import copy
from collections.abc import Iterator
from functools import partial

from webapp.stripe_standin import invoice_payments, subscription_bills, subscriptions
from webapp.stripe_standin.store import Due, Object, Store


def due(store: Store) -> Iterator[Due]:
    """Yield when each subscription's period ends, and the act."""
    for subscription in store.all("subscription"):
        if subscription["status"] in ("active", "past_due"):
            end = subscription["items"]["data"][0]["current_period_end"]
            yield end, partial(_turn, store, subscription)


def _turn(store: Store, subscription: Object) -> None:
    if subscription["cancel_at_period_end"]:
        subscriptions.end(store, subscription)
        return
    before = copy.deepcopy(subscription)
    subscription_bills.turn(subscription)
    subscriptions.tell_change(store, before, subscription)
    lines = subscription_bills.period_lines(store, subscription)
    invoice = subscription_bills.bill(store, subscription, "subscription_cycle", lines)
    if invoice["status"] == "open" and not invoice_payments.try_to_take(store, invoice):
        subscription_bills.fall_behind(store, subscription)
