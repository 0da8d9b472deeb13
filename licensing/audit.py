"""The books, added up again from the first row: what `atelier audit` prints.

Nothing here trusts a cached figure. Each check is one query that returns the rows that contradict
each other; a sound ledger returns none. Read only.
"""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import TextClause

DIFFERENCES_MAX = 20  # of each kind: the first one says where to look, a thousand say no more


def audit(session: Session) -> list[str]:
    """Re-add every transfer, hold and usage line; returns a sentence for each difference.

    An empty list means that the books balance. The first sentence names the first difference.
    """
    return [
        check.sentence.format(*row)
        for check in CHECKS
        for row in session.execute(check.query, {"limit": DIFFERENCES_MAX})
    ]


@dataclass(frozen=True)
class Check:
    """A query for contradictions; each row fills the sentence."""

    sentence: str
    query: TextClause


CHECKS = (
    Check(
        "Wallet {0} shows {1} micros settled, but its transfers add up to {2}.",
        text(
            """
            SELECT account.id, account.settled_micros, moved.micros
              FROM account
              CROSS JOIN LATERAL (
                SELECT coalesce(sum(amount_micros) FILTER (WHERE destination_id = account.id), 0)
                     - coalesce(sum(amount_micros) FILTER (WHERE source_id = account.id), 0)
                       AS micros
                  FROM transfer WHERE organisation_id = account.organisation_id
              ) AS moved
             WHERE account.kind = 'wallet' AND account.settled_micros <> moved.micros
             ORDER BY account.id LIMIT :limit
            """
        ),
    ),
    Check(
        "Wallet {0} shows {1} micros held, but its open holds add up to {2}.",
        text(
            """
            SELECT account.id, account.held_micros, coalesce(sum(hold.amount_micros), 0)
              FROM account
              LEFT JOIN hold ON hold.account_id = account.id AND hold.state = 'held'
             WHERE account.kind = 'wallet'
             GROUP BY account.id
            HAVING account.held_micros <> coalesce(sum(hold.amount_micros), 0)
             ORDER BY account.id LIMIT :limit
            """
        ),
    ),
    Check(
        "Hold {0} is {1} for {2} micros, but transfer {3} moved {4} for it.",
        text(
            """
            SELECT hold.id, hold.state, coalesce(hold.settled_micros, 0),
                   coalesce(transfer.id::text, '(none)'), coalesce(transfer.amount_micros, 0)
              FROM hold LEFT JOIN transfer ON transfer.hold_id = hold.id
             WHERE coalesce(hold.settled_micros, 0) <> coalesce(transfer.amount_micros, 0)
             ORDER BY hold.id LIMIT :limit
            """
        ),
    ),
    Check(
        "Transfer {0} ({1}) moves money between accounts {2} and {3}, which do not belong so.",
        text(
            """
            SELECT transfer.id, transfer.kind, source.id, destination.id
              FROM transfer
              JOIN account AS source ON source.id = transfer.source_id
              JOIN account AS destination ON destination.id = transfer.destination_id
             WHERE source.organisation_id <> transfer.organisation_id
                OR destination.organisation_id <> transfer.organisation_id
                OR (transfer.kind, source.kind, destination.kind) NOT IN
                   (('top_up', 'cash', 'wallet'), ('settle', 'wallet', 'revenue'))
             ORDER BY transfer.id LIMIT :limit
            """
        ),
    ),
    Check(
        "Generation {0} has a usage line of {1} micros, but its hold was settled for {2}.",
        text(
            """
            SELECT coalesce(hold.generation_id, usage_line.generation_id),
                   coalesce(usage_line.amount_micros, 0), coalesce(hold.settled_micros, 0)
              FROM hold FULL JOIN usage_line ON usage_line.generation_id = hold.generation_id
             WHERE coalesce(usage_line.amount_micros, 0) <> coalesce(hold.settled_micros, 0)
                OR usage_line.organisation_id <> hold.organisation_id
                OR usage_line.member_id <> hold.member_id
             ORDER BY 1 LIMIT :limit
            """
        ),
    ),
)
