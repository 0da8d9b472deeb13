"""The clock: what happens by itself when time passes, each thing at its moment; putting it forward.

Sessions run out, cards are disputed, subscriptions renew, schedules turn, invoices become overdue.
"""

from webapp.stripe_standin import (
    checkout,
    disputes,
    invoice_payments,
    invoices,
    renewals,
    schedules,
)
from webapp.stripe_standin.problems import StripeProblem
from webapp.stripe_standin.store import Due, Store

FORWARD_SECONDS_MAX = 800 * 24 * 3600  # two years: a yearly renewal and its reminder
# In the order in which they happen at the same moment: a schedule changes what is then renewed.
DUE = (
    schedules.due,
    renewals.due,
    invoice_payments.retry_due,
    invoices.due,
    disputes.due,
    checkout.due,
)


def catch_up(store: Store) -> None:
    """Let everything happen whose time has come, the earliest first."""
    until = store.now()
    while (found := _earliest(store)) is not None and found[0] <= until:
        store.moment, act = found
        act()
    store.moment = None


def advance(store: Store, seconds: int) -> None:
    """Put the clock forward and let everything happen that falls due."""
    if seconds > FORWARD_SECONDS_MAX:
        raise StripeProblem("The clock can be put forward two years at a time at most.")
    store.ahead_seconds += seconds
    catch_up(store)


def _earliest(store: Store) -> Due | None:
    return min((due for dues in DUE for due in dues(store)), key=lambda due: due[0], default=None)
