"""The clock: what happens by itself when time passes, and putting time forward."""

from webapp.stripe_standin import checkout, disputes
from webapp.stripe_standin.problems import StripeProblem
from webapp.stripe_standin.store import Store

FORWARD_SECONDS_MAX = 800 * 24 * 3600  # two years: a yearly renewal and its reminder


def catch_up(store: Store) -> None:
    """Let everything happen whose time has come, in a fixed order."""
    now = store.now()
    for session in store.all("checkout.session"):
        if session["status"] == "open" and session["expires_at"] <= now:
            checkout.close(store, session)
    disputes.open_due(store)


def advance(store: Store, seconds: int) -> None:
    """Put the clock forward and let everything happen that falls due."""
    if seconds > FORWARD_SECONDS_MAX:
        raise StripeProblem("The clock can be put forward two years at a time at most.")
    store.ahead_seconds += seconds
    catch_up(store)
