"""Refunds: out of the wallet first, then back to the card."""

import uuid
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from licensing.db import now
from licensing.payments import refunds
from licensing.payments.payloads import REFUND_KEY, cents, metadata_id
from licensing.payments.tables import Payment, PaymentRefund
from licensing.seats import Member
from webapp.payments import payers, provider, turns
from webapp.studio import Studio

ASK_AGAIN_AFTER = timedelta(seconds=60)
KEY_KEPT_FOR = timedelta(hours=20)  # the provider forgets keys after a day


def refund(
    studio: Studio,
    member: Member,
    payment_id: uuid.UUID,
    amount_micros: int,
    *,
    reason: str,
    key: uuid.UUID,
) -> uuid.UUID:
    """Send money of a payment back to its card; `key` is made with the form.

    Raises `NotFound` for another organisation's payment, `Conflict` for more than can go back, and
    the errors of `provider`. Where the provider is away the refund stays begun and is asked again.
    """
    provider.settings_of(studio)
    with studio.database.transaction() as session:
        payer = payers.require_payer(session, member)
        begun = refunds.begin(
            session,
            payer.organisation_id,
            payment_id,
            amount_micros,
            key=key,
            author_id=payer.id,
            reason=reason,
        )
        payment = session.get(Payment, payment_id)
    assert payment is not None, "a refund has a payment"
    if begun.refund_id is None and begun.state == "started":
        ask(studio, begun, payment)
    return begun.id


def ask_again(studio: Studio, at: datetime) -> int:
    """Ask again about refunds whose answer was lost; return how many there were."""
    with studio.database.read() as session:
        waiting = refunds.unanswered(session, at - ASK_AGAIN_AFTER)
        found = [(refund, session.get(Payment, refund.payment_id)) for refund in waiting]

    def ask_one(waiting: tuple[PaymentRefund, Payment | None]) -> None:
        begun, payment = waiting
        assert payment is not None, "a refund has a payment"
        with studio.database.transaction() as session:
            refunds.asked_again(session, begun.id)
        with suppress(provider.ProviderRefused, provider.PaymentDeclined):  # it is kept, and told
            ask(studio, begun, payment)

    return turns.each(found, ask_one)


def ask(studio: Studio, begun: PaymentRefund, payment: Payment) -> None:
    """Ask the provider for one refund, and keep its answer."""
    own = payers.metadata(REFUND_KEY, begun.id, begun.organisation_id)
    client = provider.connect(studio).v1
    order: Any = {
        "payment_intent": payment.payment_intent_id,
        "amount": cents(begun.amount_micros),
        "reason": "requested_by_customer",
        "metadata": own,
    }
    try:
        with provider.answers():
            answer = _made_earlier(client, begun, payment) or client.refunds.create(
                order, {"idempotency_key": f"refund:{begun.id}"}
            )
    except (provider.ProviderRefused, provider.PaymentDeclined) as error:
        with studio.database.transaction() as session:
            refunds.refused(session, begun.id, error.message)
        raise
    with studio.database.transaction() as session:
        refunds.answered(session, begun.id, provider.plain(answer))


def _made_earlier(client: Any, begun: PaymentRefund, payment: Payment) -> Any:
    """Find a refund that was asked for so long ago that the provider has forgotten its key."""
    if begun.created_at > now() - KEY_KEPT_FOR:
        return None
    made = client.refunds.list({"payment_intent": payment.payment_intent_id, "limit": 100})
    mine = [refund for refund in made.data if _bears(refund, begun)]
    return mine[0] if mine else None


def _bears(refund: Any, begun: PaymentRefund) -> bool:
    return metadata_id(provider.plain(refund), REFUND_KEY) == begun.id
