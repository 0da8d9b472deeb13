"""Payments: our side of the provider, as rows. Nothing in here calls a network.

What must hold:

- What we ask of the provider is written and committed first; the id of the row is the key under
  which the provider is asked, so that asking twice is asking once.
- What the provider says is verified, recorded, then applied once, in any order; see `events` and
  `apply`. A crash between its answer and our row is repaired by its message.
- The wallet moves by the ledger's verbs alone, under a key made of the provider's own name for the
  payment. A message that disagrees with our row about money or payer moves nothing.

Every state a page shows is read from rows. `webapp.payments` makes the calls, with no transaction
open.

    events   what was told          apply      what follows from it
    top_ups  money on its way       receipts   what is said of it
    refunds  money on its way back  disputes   money that a bank takes back
    automatic                       charges by themselves, and their brakes
    subscriptions, schedules        seats that are paid for
    invoices usage on credit        notices    what payers have to know
    cards    who pays with what     figures    what the finance page shows
"""

from licensing.payments.figures import (
    Automatic,
    Card,
    InvoiceLine,
    Notice,
    Overview,
    PaymentLine,
    Subscription,
    invoice_lines,
    overview,
    payment_lines,
    problems,
)
from licensing.payments.top_ups import (
    TOP_UP_MICROS_MAX,
    TOP_UP_MICROS_MIN,
    TOP_UP_PRESETS_MICROS,
)

__all__ = [
    "TOP_UP_MICROS_MAX",
    "TOP_UP_MICROS_MIN",
    "TOP_UP_PRESETS_MICROS",
    "Automatic",
    "Card",
    "InvoiceLine",
    "Notice",
    "Overview",
    "PaymentLine",
    "Subscription",
    "invoice_lines",
    "overview",
    "payment_lines",
    "problems",
]
