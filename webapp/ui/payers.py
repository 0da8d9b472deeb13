"""Who pays and how, as the finance page shows it: notices, card, automatic top-up, payments.

Reads `licensing.payments` and the wallet's state; writes nothing.
"""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from licensing import payments
from licensing.money import MICROS_PER_USD, format_usd
from licensing.payments import Overview
from webapp.studio import Studio
from webapp.ui.funds import Wallet

PAYMENTS_SHOWN = 50
INVOICES_SHOWN = 24  # two years of months


@dataclass(frozen=True)
class Word:
    """A sentence on top of the page; `level` is `bad` where work stops, else `care`."""

    level: str
    words: str
    dismiss_id: int | None = None


def read_notices(overview: Overview, wallet: Wallet, *, paid: bool | None = None) -> list[Word]:
    """What has to be known before anything else, the worst first."""
    balance = wallet.balance
    found: list[Word] = []
    if paid is True:
        found.append(
            Word("good", "Thank you. The balance has it as soon as the payment is confirmed.")
        )
    elif paid is False:
        found.append(Word("care", "The payment was not finished, and nothing was charged."))
    if balance.frozen_reason is not None:
        found.append(
            Word(
                "bad",
                f"The balance is frozen: {balance.frozen_reason} Nobody can start a new picture "
                "until that is settled; what is running is finished and charged.",
            )
        )
    elif balance.spendable_micros <= 0:
        found.append(
            Word(
                "care",
                "Nothing is available, so nobody can start a new picture until the balance is "
                "topped up.",
            )
        )
    elif balance.available_micros <= 0:
        left = format_usd(balance.spendable_micros)
        found.append(Word("care", f"New pictures are on credit now; {left} of it is left."))
    found += [
        Word("care", one.sentence, one.id if one.is_dismissable else None)
        for one in overview.notices
        if one.kind != "frozen"
    ]
    return found


def read_balance_parts(
    session: Session, studio: Studio, organisation_id: uuid.UUID, overview: Overview
) -> dict[str, Any]:
    """What the templates of the balance view need."""
    return {
        "card": overview.card,
        "automatic": overview.automatic,
        "alert_micros": overview.alert_micros,
        "payments": payments.payment_lines(session, organisation_id, limit=PAYMENTS_SHOWN),
        "invoices": payments.invoice_lines(session, organisation_id, limit=INVOICES_SHOWN),
        "is_standin": bool(studio.settings.payments and studio.settings.payments.is_standin),
    }


def dollars(amount_micros: int) -> str:
    """An amount as somebody would type it: `25` or `12.50`."""
    if amount_micros % MICROS_PER_USD == 0:
        return str(amount_micros // MICROS_PER_USD)
    return format_usd(amount_micros).removeprefix("$").replace(",", "")
