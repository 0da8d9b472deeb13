"""The books, added up again from the first row: what `atelier audit` prints.

Nothing here trusts a cached figure. Each check is one query that returns the rows that contradict
each other; a sound ledger returns none. Read only.
"""

from sqlalchemy import text
from sqlalchemy.orm import Session

from licensing.audit import accounts, bills, budgets, lots, payments, usage

DIFFERENCES_MAX = 20  # of each kind: the first one says where to look, a thousand say no more

CHECKS = (
    *accounts.CHECKS,
    *lots.CHECKS,
    *usage.CHECKS,
    *budgets.CHECKS,
    *bills.CHECKS,
    *payments.CHECKS,
)


def audit(session: Session) -> list[str]:
    """Re-add transfers, holds, lots, usage, budgets and payments; a sentence for each difference.

    An empty list means that the books balance. The first sentence names the first difference.
    """
    # It reads everything that ever happened; a limit meant for pages must not call that a fault.
    session.execute(text("SET LOCAL statement_timeout = 0"))
    return [
        check.sentence.format(*row)
        for check in CHECKS
        for row in session.execute(check.query, {"limit": DIFFERENCES_MAX})
    ]
