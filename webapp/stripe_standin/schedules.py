"""Subscription schedules: phases that change a subscription at their ends, then let it go."""

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

from webapp.stripe_standin import events, periods, subscription_items, subscriptions
from webapp.stripe_standin.fields import (
    Fields,
    allow,
    choice,
    integer,
    metadata,
    required,
    rows,
    text,
    tree,
)
from webapp.stripe_standin.problems import StripeProblem
from webapp.stripe_standin.store import Due, Object, Store

PHASES_MAX = 10  # Stripe's own
TIME_MAX = 2**40
PRORATIONS = subscriptions.PRORATIONS


def create(store: Store, fields: Fields) -> Object:
    """Put an existing subscription under a schedule, whose only phase is its current period."""
    allow(fields, "from_subscription", "metadata")
    required(fields, "from_subscription")
    subscription = subscriptions.live(store, str(fields["from_subscription"]))
    if subscription["schedule"] is not None:
        raise StripeProblem("This subscription has a schedule already.", param="from_subscription")
    item = subscription["items"]["data"][0]
    phase = {
        "start_date": item["current_period_start"],
        "end_date": item["current_period_end"],
        "items": [
            _phase_item(row["price"]["id"], row["quantity"])
            for row in subscription["items"]["data"]
        ],
    }
    schedule = store.add(
        "subscription_schedule",
        billing_mode=subscription["billing_mode"],
        canceled_at=None,
        completed_at=None,
        current_phase={name: phase[name] for name in ("start_date", "end_date")},
        customer=subscription["customer"],
        default_settings={"collection_method": "charge_automatically"},
        end_behavior="release",
        metadata=metadata(fields),
        pause_schedules=[],
        phases=[_phase(subscription, phase)],
        released_at=None,
        released_subscription=None,
        status="active",
        subscription=subscription["id"],
        test_clock=None,
    )
    events.emit(store, "subscription_schedule.created", schedule)
    _attach(store, subscription, schedule["id"])
    return schedule


def update(store: Store, fields: Fields, schedule: str) -> Object:
    """Replace the phases; the first must be the current one."""
    allow(fields, "phases", "end_behavior", "metadata", "proration_behavior")
    found = _active(store, schedule)
    before = copy.deepcopy(found)
    subscription = store.find("subscription", found["subscription"])
    if "phases" in fields:
        found["phases"] = _phases(store, subscription, rows(fields, "phases"))
        if found["phases"][0]["start_date"] != before["current_phase"]["start_date"]:
            raise StripeProblem(
                "The first phase must be the current one.", param="phases[0][start_date]"
            )
        found["current_phase"] = _dates(found["phases"][0])
    found["end_behavior"] = choice(
        fields, "end_behavior", ("release", "cancel"), found["end_behavior"]
    )
    found["metadata"] = metadata(fields, found["metadata"])
    changed = {name: value for name, value in before.items() if found[name] != value}
    events.emit(store, "subscription_schedule.updated", found, changed)
    return found


def retrieve(store: Store, fields: Fields, schedule: str) -> Object:
    """Return one schedule."""
    allow(fields)
    return store.find("subscription_schedule", schedule)


def release(store: Store, fields: Fields, schedule: str) -> Object:
    """Let the subscription go on as it is now."""
    allow(fields, "preserve_cancel_date")
    found = _active(store, schedule)
    _release(store, found)
    return found


def cancel(store: Store, fields: Fields, schedule: str) -> Object:
    """End the schedule and its subscription."""
    allow(fields, "invoice_now", "prorate")
    found = _active(store, schedule)
    _cancel(store, found)
    subscriptions.end(store, store.find("subscription", found["subscription"]))
    return found


def due(store: Store) -> Iterator[Due]:
    """Yield when each schedule's phase ends, and the act."""
    for schedule in store.all("subscription_schedule"):
        if schedule["status"] == "active":
            yield schedule["current_phase"]["end_date"], partial(_turn, store, schedule)


def _turn(store: Store, schedule: Object) -> None:
    """Go on to the next phase, or past the last one."""
    subscription = store.find("subscription", schedule["subscription"])
    end = schedule["current_phase"]["end_date"]
    following = [phase for phase in schedule["phases"] if phase["start_date"] == end]
    if subscription["status"] not in subscriptions.LIVE:
        _cancel(store, schedule)
    elif following:
        before = copy.deepcopy(subscription)
        wanted = following[0]["items"]
        for item, phase_item in zip(subscription["items"]["data"], wanted, strict=True):
            subscription_items.set_price(item, store.find("price", phase_item["price"]))
            item["quantity"] = phase_item["quantity"]
        schedule["current_phase"] = _dates(following[0])
        subscriptions.tell_change(store, before, subscription)
        events.emit(store, "subscription_schedule.updated", schedule)
    elif schedule["end_behavior"] == "cancel":
        schedule |= {"status": "completed", "completed_at": end, "current_phase": None}
        events.emit(store, "subscription_schedule.completed", schedule)
        subscriptions.end(store, subscription)
    else:
        _release(store, schedule)


def _cancel(store: Store, schedule: Object) -> None:
    schedule |= {"status": "canceled", "canceled_at": store.now(), "current_phase": None}
    events.emit(store, "subscription_schedule.canceled", schedule)


def _release(store: Store, schedule: Object) -> None:
    subscription = store.find("subscription", schedule["subscription"])
    schedule |= {
        "status": "released",
        "released_at": store.now(),
        "released_subscription": schedule["subscription"],
        "subscription": None,
        "current_phase": None,
    }
    events.emit(store, "subscription_schedule.released", schedule)
    _attach(store, subscription, None)


def _attach(store: Store, subscription: Object, schedule: str | None) -> None:
    before = {"schedule": subscription["schedule"]}
    subscription["schedule"] = schedule
    events.emit(store, "customer.subscription.updated", subscription, before)


def _active(store: Store, schedule: str) -> Object:
    found = store.find("subscription_schedule", schedule)
    if found["status"] != "active":
        raise StripeProblem(f"This schedule is {found['status']}.", param="schedule")
    return found


def _phases(store: Store, subscription: Object, given: list[Fields]) -> list[Object]:
    if not 1 <= len(given) <= PHASES_MAX:
        raise StripeProblem("A schedule has from 1 to 10 phases.", param="phases")
    phases: list[Object] = []
    for row in given:
        start = phases[-1]["end_date"] if phases else None
        phases.append(_wanted_phase(store, subscription, row, start))
    return phases


def _wanted_phase(store: Store, subscription: Object, row: Fields, following: int | None) -> Object:
    """Return the phase that a request describes; it must begin where the one before it ends."""
    allow(row, "start_date", "end_date", "duration", "items", "proration_behavior", "metadata")
    start = integer(row, "start_date", most=TIME_MAX)
    if start is None:
        start = following
    if start is None or following not in (None, start):
        raise StripeProblem("Each phase begins where the one before it ends.", param="phases")
    end = _end(subscription, row, start)
    items = [_wanted_item(store, item) for item in rows(row, "items")]
    if end <= start:
        raise StripeProblem("A phase ends after it begins.", param="phases")
    if len(items) != len(subscription["items"]["data"]):
        raise StripeProblem("The stand-in keeps the number of items.", param="phases")
    proration = choice(row, "proration_behavior", PRORATIONS, PRORATIONS[0])
    phase = {"start_date": start, "end_date": end, "items": items}
    return _phase(subscription, phase, proration)


def _end(subscription: Object, row: Fields, start: int) -> int:
    end = integer(row, "end_date", most=TIME_MAX)
    if end is not None:
        return end
    duration = tree(row, "duration")
    required(duration, "interval")
    interval = choice(duration, "interval", ("day", "week", "month", "year"))
    count = integer(duration, "interval_count", least=1) or 1
    return periods.end_of(start, interval, count, subscription["billing_cycle_anchor"])


def _wanted_item(store: Store, row: Fields) -> Object:
    allow(row, "price", "quantity")
    price = store.find("price", text(row, "price"), param="phases[0][items][0][price]")
    quantity = integer(row, "quantity", most=subscription_items.QUANTITY_MAX)
    return _phase_item(price["id"], 1 if quantity is None else quantity)


def _phase_item(price: str, quantity: int) -> Object:
    return {
        "billing_thresholds": None,
        "discounts": [],
        "metadata": {},
        "plan": price,
        "price": price,
        "quantity": quantity,
        "tax_rates": [],
    }


def _phase(subscription: Object, values: Object, proration: str = PRORATIONS[0]) -> Object:
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "billing_cycle_anchor": None,
        "billing_thresholds": None,
        "collection_method": None,
        "currency": subscription["currency"],
        "default_payment_method": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "invoice_settings": None,
        "metadata": {},
        "on_behalf_of": None,
        "proration_behavior": proration,
        "transfer_data": None,
        "trial_end": None,
        **values,
    }


def _dates(phase: Object) -> dict[str, Any]:
    return {name: phase[name] for name in ("start_date", "end_date")}
