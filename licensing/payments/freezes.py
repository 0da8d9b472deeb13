"""Whether payments keep a wallet from new work: an open dispute, or an invoice long overdue.

Reads the rows and brings the wallet into line with them. A wallet that the operator froze, or that
a lost dispute did, has a reason of its own and is left alone: people lift it.
"""

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from licensing import ledger
from licensing.ledger.wallet import lock
from licensing.payments.tables import PaymentDispute, PaymentNotice

DISPUTED = "a payment is disputed with the bank that made it"
OVERDUE = "an invoice is long overdue"
OURS = frozenset({DISPUTED, OVERDUE})


def settle(session: Session, organisation_id: uuid.UUID) -> None:
    """Freeze or free a wallet as its disputes and invoices say; locks it until the commit.

    It is locked before the reasons are read: of two messages at once, the later one sees what the
    earlier one wrote. Only notices may be written after this.
    """
    session.flush()
    current = lock(session, organisation_id).frozen_reason
    wanted = _reason(session, organisation_id)
    if current == wanted or (current is not None and current not in OURS):
        return
    if wanted is not None:
        ledger.freeze(session, organisation_id, wanted, author_id=None)
    else:
        ledger.unfreeze(
            session,
            organisation_id,
            author_id=None,
            reason="no dispute and no overdue invoice left",
        )


def _reason(session: Session, organisation_id: uuid.UUID) -> str | None:
    disputed = select(PaymentDispute.id).where(
        PaymentDispute.organisation_id == organisation_id, PaymentDispute.state == "open"
    )
    if session.scalars(disputed).first() is not None:
        return DISPUTED
    overdue = select(PaymentNotice.id).where(
        PaymentNotice.organisation_id == organisation_id,
        PaymentNotice.kind == "invoice_overdue",
        PaymentNotice.cleared_at.is_(None),
    )
    return OVERDUE if session.scalars(overdue).first() is not None else None
