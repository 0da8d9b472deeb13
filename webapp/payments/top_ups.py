"""Paying by card: the provider's page for a top-up, and for a card to keep.

Write, commit, ask: the row is there before the provider hears of it, and its id is the key of the
question. The wallet moves when the provider's message is applied; nobody's return to the finance
page moves anything.
"""

from typing import Any

from licensing.payments import cards, top_ups
from licensing.payments.payloads import CURRENCY, ORGANISATION_KEY, PAYMENT_KEY, cents
from licensing.seats import Member
from webapp.payments import payers, provider
from webapp.studio import Studio

PAID = "/finance?view=balance&paid=1"
NOT_PAID = "/finance?view=balance&paid=0"
SAVED = "/finance?view=balance&card=1"
NOT_SAVED = "/finance?view=balance&card=0"


def start_top_up(
    studio: Studio, member: Member, amount_micros: int, *, save_card: bool = False
) -> str:
    """Begin a payment and return the address of the provider's page for it.

    `save_card` also keeps the card for automatic top-up. Raises `NotAllowed`, `InvalidAmount`,
    `TooManyPayments`, and the errors of `provider`.
    """
    provider.settings_of(studio)
    with studio.database.read() as session:
        payers.require_payer(session, member)
    top_ups.checked_top_up(amount_micros)
    customer_id = payers.customer(studio, member.organisation_id)
    with studio.database.transaction() as session:
        payers.require_payer(session, member)
        payment = top_ups.begin(session, member.organisation_id, amount_micros, author_id=member.id)
    own = payers.metadata(PAYMENT_KEY, payment.id, payment.organisation_id)
    intent: dict[str, Any] = {"metadata": own, "description": "Atelier top-up"}
    if save_card:
        intent["setup_future_usage"] = "off_session"
    order: Any = {
        "mode": "payment",
        "customer": customer_id,
        "client_reference_id": str(payment.id),
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": CURRENCY,
                    "unit_amount": cents(amount_micros),
                    "product_data": {"name": "Prepaid balance"},
                },
            }
        ],
        "metadata": own,
        "payment_intent_data": intent,
        "success_url": f"{studio.settings.url}{PAID}",
        "cancel_url": f"{studio.settings.url}{NOT_PAID}",
    }
    try:
        with provider.answers():
            page = provider.connect(studio).v1.checkout.sessions.create(
                order, {"idempotency_key": f"checkout:{payment.id}"}
            )
    except provider.ProviderRefused as error:
        with studio.database.transaction() as session:
            top_ups.not_asked(session, payment.id, error.message)
        raise
    with studio.database.transaction() as session:
        top_ups.asked(session, payment.id, page.id)
    return _address(page.url)


def save_card(studio: Studio, member: Member) -> str:
    """Return the address of the provider's page on which a card is kept and nothing is paid."""
    provider.settings_of(studio)
    with studio.database.read() as session:
        payers.require_payer(session, member)
    customer_id = payers.customer(studio, member.organisation_id)
    own = {ORGANISATION_KEY: str(member.organisation_id)}
    order: Any = {
        "mode": "setup",
        "currency": CURRENCY,
        "customer": customer_id,
        "metadata": own,
        "setup_intent_data": {"metadata": own},
        "success_url": f"{studio.settings.url}{SAVED}",
        "cancel_url": f"{studio.settings.url}{NOT_SAVED}",
    }
    with provider.answers():
        page = provider.connect(studio).v1.checkout.sessions.create(order)
    return _address(page.url)


def remove_card(studio: Studio, member: Member, card_id: str) -> None:
    """Take a saved card away, here and at the provider; raises `NotFound` for another's card."""
    with studio.database.read() as session:
        payers.require_payer(session, member)
        cards.require_card(session, member.organisation_id, card_id)
    with provider.answers():
        provider.connect(studio).v1.payment_methods.detach(card_id)
    with studio.database.transaction() as session:
        cards.forget(session, card_id)


def _address(url: str | None) -> str:
    if not url:
        raise provider.ProviderAway
    return url
