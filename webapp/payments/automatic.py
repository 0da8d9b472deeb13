"""Automatic top-up: asking the saved card, once for each row.

A charge whose answer was lost is asked again under the same key, and the provider gives the first
answer again; what it has to say later comes as a message. The brakes are in the rows
(`licensing.payments.automatic`).
"""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from licensing.payments import automatic, notices, receipts, top_ups
from licensing.payments.automatic import Charge
from licensing.payments.payloads import CURRENCY, PAYMENT_KEY, cents
from licensing.seats import Member
from webapp.payments import payers, provider, turns
from webapp.studio import Studio

ASK_AGAIN_AFTER = timedelta(seconds=60)  # longer than a call may take
# The provider forgets a key after a day; a question asked anew then would be a second charge.
GIVE_UP_AFTER = timedelta(hours=20)
NO_ANSWER = "The payment provider never said whether the card was charged."


def set_automatic(
    studio: Studio,
    member: Member,
    *,
    threshold_micros: int,
    amount_micros: int,
    monthly_ceiling_micros: int,
) -> None:
    """Let the saved card be charged when the balance falls below the threshold."""
    provider.settings_of(studio)
    with studio.database.transaction() as session:
        payer = payers.require_payer(session, member)
        automatic.turn_on(
            session,
            payer.organisation_id,
            threshold_micros=threshold_micros,
            amount_micros=amount_micros,
            monthly_ceiling_micros=monthly_ceiling_micros,
            author_id=payer.id,
        )


def stop_automatic(studio: Studio, member: Member) -> bool:
    """Turn automatic top-up off; False if it was."""
    with studio.database.transaction() as session:
        payer = payers.require_payer(session, member)
        return automatic.turn_off(session, payer.organisation_id, author_id=payer.id)


def set_alert(studio: Studio, member: Member, threshold_micros: int | None) -> None:
    """Say below how much owners and finance are told; None: never."""
    with studio.database.transaction() as session:
        payer = payers.require_payer(session, member)
        notices.set_alert(session, payer.organisation_id, threshold_micros, author_id=payer.id)


def dismiss_notice(studio: Studio, member: Member, notice_id: int) -> None:
    """Put a notice away that only says what has happened."""
    with studio.database.transaction() as session:
        payer = payers.require_payer(session, member)
        notices.dismiss(session, payer.organisation_id, notice_id)


def charge_due(studio: Studio, at: datetime) -> int:
    """Charge every organisation that is low and may be charged; return how many were looked at."""
    with studio.database.read() as session:
        low = automatic.low(session)

    def charge_one(organisation_id: uuid.UUID) -> None:
        with studio.database.transaction() as session:
            charge = automatic.begin(session, organisation_id, at)
        if charge is not None:
            ask(studio, charge, at)

    return turns.each(low, charge_one)


def ask_again(studio: Studio, at: datetime) -> int:
    """Ask again about charges whose answer was lost; return how many there were."""
    before = at - ASK_AGAIN_AFTER
    with studio.database.read() as session:
        waiting = top_ups.forgotten(session, before)

    def ask_one(payment_id: uuid.UUID) -> None:
        with studio.database.transaction() as session:
            payment = top_ups.take_forgotten(session, payment_id, before)
            charge = None if payment is None else automatic.again(session, payment)
            if payment is not None and (charge is None or payment.created_at < at - GIVE_UP_AFTER):
                top_ups.fail(session, payment.id, NO_ANSWER)
                charge = None
        if charge is not None:
            ask(studio, charge, at)

    return turns.each(waiting, ask_one)


def ask(studio: Studio, charge: Charge, at: datetime) -> None:
    """Ask the card for one charge. No answer leaves the row as it is, to be asked again."""
    order: Any = {
        "amount": cents(charge.amount_micros),
        "currency": CURRENCY,
        "customer": charge.customer_id,
        "payment_method": charge.card_id,
        "off_session": True,
        "confirm": True,
        "description": "Atelier automatic top-up",
        "metadata": payers.metadata(PAYMENT_KEY, charge.payment_id, charge.organisation_id),
    }
    try:
        with provider.answers():
            intent = provider.connect(studio).v1.payment_intents.create(
                order, {"idempotency_key": f"payment:{charge.payment_id}"}
            )
    except (provider.PaymentDeclined, provider.ProviderRefused) as error:
        with studio.database.transaction() as session:
            top_ups.fail(session, charge.payment_id, error.message)
    except provider.ProviderAway:
        return
    else:
        _keep(studio, provider.plain(intent))
    with studio.database.transaction() as session:
        automatic.brake(session, charge.organisation_id, at)


def _keep(studio: Studio, intent: Mapping[str, Any]) -> None:
    """Book an answer that says the money is there; what is still open comes as a message."""
    with studio.database.transaction() as session:
        if intent["status"] == "succeeded":
            receipts.intent_succeeded(session, intent)
        elif intent["status"] in {"requires_action", "requires_payment_method", "canceled"}:
            receipts.intent_failed(session, intent)
