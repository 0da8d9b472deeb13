"""Whether payments keep a wallet from new work: an open dispute, or an invoice long overdue.

Reads the rows and brings the wallet into line with them, each cause for itself. What the operator
froze, or a lost dispute did, is left alone: people lift it.
"""

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from licensing import ledger
from licensing.ledger.wallet import Cause, lock
from licensing.payments.tables import PaymentDispute, PaymentNotice

DISPUTED = "a payment is disputed with the bank that made it"
OVERDUE = "an invoice is long overdue"


def settle(session: Session, organisation_id: uuid.UUID) -> None:
    """Freeze or free a wallet as its disputes and invoices say; locks it until the commit.

    It is locked before the reasons are read: of two messages at once, the later one sees what the
    earlier one wrote. Only notices may be written after this.
    """
    session.flush()
    lock(session, organisation_id)
    disputed = select(PaymentDispute.id).where(
        PaymentDispute.organisation_id == organisation_id, PaymentDispute.state == "open"
    )
    is_disputed = session.scalars(disputed).first() is not None
    _follow(session, organisation_id, "dispute", DISPUTED if is_disputed else None)
    overdue = select(PaymentNotice.id).where(
        PaymentNotice.organisation_id == organisation_id,
        PaymentNotice.kind == "invoice_overdue",
        PaymentNotice.cleared_at.is_(None),
    )
    is_overdue = session.scalars(overdue).first() is not None
    _follow(session, organisation_id, "overdue", OVERDUE if is_overdue else None)


def _follow(session: Session, organisation_id: uuid.UUID, cause: Cause, reason: str | None) -> None:
    if reason is not None:
        ledger.freeze(session, organisation_id, reason, author_id=None, cause=cause)
        return
    ledger.unfreeze(
        session,
        organisation_id,
        author_id=None,
        reason="the dispute is decided" if cause == "dispute" else "no invoice is overdue",
        causes=(cause,),
    )
