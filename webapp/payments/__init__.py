"""Payments with the provider: each question written down first, asked with no transaction open.

The rows and what follows from them are `licensing.payments`; here are the questions. `provider`
alone knows the SDK's errors; `intake` takes messages in; `due` is the round that asks again.
"""

from webapp.payments.automatic import dismiss_notice, set_alert, set_automatic, stop_automatic
from webapp.payments.due import catch_up, keep_paying, run_due, send_notices
from webapp.payments.intake import receive, replay
from webapp.payments.provider import (
    Forged,
    PaymentDeclined,
    PaymentsOff,
    ProviderAway,
    ProviderRefused,
)
from webapp.payments.refunds import refund
from webapp.payments.seats import (
    SeatPreview,
    change_seats,
    keep_seats,
    preview_seats,
    subscribe,
)
from webapp.payments.top_ups import remove_card, save_card, start_top_up

__all__ = [
    "Forged",
    "PaymentDeclined",
    "PaymentsOff",
    "ProviderAway",
    "ProviderRefused",
    "SeatPreview",
    "catch_up",
    "change_seats",
    "dismiss_notice",
    "keep_paying",
    "keep_seats",
    "preview_seats",
    "receive",
    "refund",
    "remove_card",
    "replay",
    "run_due",
    "save_card",
    "send_notices",
    "set_alert",
    "set_automatic",
    "start_top_up",
    "stop_automatic",
    "subscribe",
]
