"""Setup intents: a card that is to be saved, without money."""

from typing import Any

from webapp.stripe_standin import events, payment_methods
from webapp.stripe_standin.fields import Fields, allow
from webapp.stripe_standin.store import Object, Store, new_id


def make(store: Store, **values: Any) -> Object:
    """Keep a new intent to save a card of a customer."""
    intent_id = new_id("seti")
    return store.add(
        "setup_intent",
        id=intent_id,
        automatic_payment_methods=None,
        cancellation_reason=None,
        client_secret=f"{intent_id}_secret_{new_id('')[1:]}",
        description=None,
        last_setup_error=None,
        latest_attempt=None,
        mandate=None,
        next_action=None,
        payment_method=None,
        payment_method_options={"card": {"request_three_d_secure": "automatic"}},
        payment_method_types=["card"],
        status="requires_payment_method",
        usage="off_session",
        **values,
    )


def attempt(store: Store, intent: Object, method: Object, *, is_confirmed: bool = False) -> None:
    """Save a card once its holder has confirmed it; raises `CardProblem` if the bank refuses."""
    card = payment_methods.behaviour(method)
    intent["payment_method"] = method["id"]
    if (card.is_confirmed_first or card.is_confirmed_always) and not is_confirmed:
        where = f"{store.url}/confirm/{intent['id']}"
        intent |= {
            "status": "requires_action",
            "next_action": {
                "type": "redirect_to_url",
                "redirect_to_url": {"return_url": None, "url": where},
            },
        }
        events.emit(store, "setup_intent.requires_action", intent)
        return
    payment_methods.attach_to(store, method, intent["customer"])
    intent |= {"status": "succeeded", "next_action": None}
    events.emit(store, "setup_intent.succeeded", intent)


def retrieve(store: Store, fields: Fields, intent: str) -> Object:
    """Return one intent."""
    allow(fields, "client_secret")
    return store.find("setup_intent", intent)
