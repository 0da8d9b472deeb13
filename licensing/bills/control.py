"""The control totals of a month, and the proof that its lines are the ledger's money.

Three figures must agree before anything leaves the house: the month's lines, added up one by one;
the sums by day that pages show; and the wallet, whose balance is every other movement of its money
less every line. A month that is being closed is also compared line by line with the transfers.
"""

import uuid
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from licensing.errors import AtelierError
from licensing.money import format_usd


class BooksDiffer(AtelierError):  # noqa: N818 - reads as the answer that it is
    """Lines and ledger do not agree: no bill may be written before an operator has looked."""

    code = "books_differ"
    status = 500


@dataclass(frozen=True)
class Totals:
    """The figures to compare a file with. All amounts are microdollars.

    `lines` counts usage and corrections, `generations` usage alone. `opening_micros` is the
    wallet's settled balance at the month's first moment, `closing_micros` at its end (or now), and
    `movements` what came and went between them by kind, signed, without the lines.
    """

    lines: int
    generations: int
    images: int
    amount_micros: int
    opening_micros: int
    closing_micros: int
    movements: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """As it is stored and written beside a file."""
        return asdict(self)


def checked_totals(
    session: Session, organisation_id: uuid.UUID, start: datetime, end: datetime
) -> Totals:
    """Add a month up and prove it: Σ lines = sums by day, and wallet = movements less Σ lines.

    Needs one snapshot (REPEATABLE READ). Raises `BooksDiffer`.
    """
    values = {"organisation_id": organisation_id, "start": start, "end": end}
    lines, generations, images, amount = session.execute(_LINES, values).one()
    by_day, before, ever = session.execute(_SUMS, values).one()
    if by_day != amount:
        raise BooksDiffer(
            f"The month's lines add up to {format_usd(amount)}, its days to {format_usd(by_day)}. "
            "Nothing was exported. Run `atelier audit`."
        )
    moved = session.execute(_MOVED, values).all()
    wallet = session.execute(_WALLET, values).scalar_one()
    expected = sum(row.micros for row in moved) - ever
    if wallet != expected:
        raise BooksDiffer(
            f"The wallet holds {format_usd(wallet)}, but its movements less all lines make "
            f"{format_usd(expected)}. Nothing was exported. Run `atelier audit`."
        )
    opening = sum(row.micros for row in moved if row.stage == "before") - before
    movements = {row.kind: int(row.micros) for row in moved if row.stage == "within"}
    return Totals(
        lines=lines,
        generations=generations,
        images=images,
        amount_micros=amount,
        opening_micros=int(opening),
        closing_micros=int(opening + sum(movements.values()) - amount),
        movements=dict(sorted(movements.items())),
    )


def compare_lines(
    session: Session, organisation_id: uuid.UUID, start: datetime, end: datetime
) -> None:
    """Compare each line of a month with the transfer that it names; raises `BooksDiffer`."""
    values = {"organisation_id": organisation_id, "start": start, "end": end}
    for query in (_USAGE_DIFFERENCE, _CORRECTION_DIFFERENCE):
        found = session.execute(query, values).first()
        if found is not None:
            raise BooksDiffer(
                f"Line {found.id} says {format_usd(found.line_micros)}, the ledger "
                f"{format_usd(found.ledger_micros)}. The month was not closed. Run `atelier audit`."
            )


_LINES = text(
    """
    SELECT count(*), count(*) FILTER (WHERE kind = 'usage'), coalesce(sum(images), 0)::bigint,
           coalesce(sum(amount_micros), 0)::bigint
      FROM usage_line
     WHERE organisation_id = :organisation_id AND at >= :start AND at < :end
    """
)

# Of the days: within the month, before it, ever.
_SUMS = text(
    """
    SELECT coalesce(sum(amount_micros) FILTER (WHERE day >= first AND day < following), 0)::bigint,
           coalesce(sum(amount_micros) FILTER (WHERE day < first), 0)::bigint,
           coalesce(sum(amount_micros), 0)::bigint
      FROM usage_day,
           (SELECT CAST(:start AT TIME ZONE 'UTC' AS date) AS first,
                   CAST(:end AT TIME ZONE 'UTC' AS date) AS following) AS month
     WHERE organisation_id = :organisation_id
    """
)

# A refund of a picture is a line already, like the charge that it takes back.
_MOVED = text(
    """
    SELECT CASE WHEN moved.at < :start THEN 'before' WHEN moved.at < :end THEN 'within'
                ELSE 'after' END AS stage,
           moved.kind,
           sum(CASE WHEN moved.destination_id = wallet.id THEN moved.amount_micros
                    ELSE -moved.amount_micros END)::bigint AS micros
      FROM account AS wallet
      JOIN transfer AS moved ON wallet.id IN (moved.source_id, moved.destination_id)
     WHERE wallet.organisation_id = :organisation_id AND wallet.kind = 'wallet'
       AND moved.organisation_id = :organisation_id
       AND moved.kind <> 'settle' AND moved.kind <> 'refund_generation'
     GROUP BY 1, 2
    """
)

_WALLET = text(
    """
    SELECT coalesce(max(settled_micros), 0)::bigint FROM account
     WHERE organisation_id = :organisation_id AND kind = 'wallet'
    """
)

# Through the hold, which has one generation and one charge.
_USAGE_DIFFERENCE = text(
    """
    SELECT line.id, line.amount_micros AS line_micros,
           coalesce(charge.amount_micros, 0) AS ledger_micros
      FROM usage_line AS line
      LEFT JOIN hold ON hold.generation_id = line.generation_id
                    AND hold.organisation_id = line.organisation_id
      LEFT JOIN transfer AS charge ON charge.hold_id = hold.id
     WHERE line.organisation_id = :organisation_id AND line.at >= :start AND line.at < :end
       AND line.kind = 'usage' AND line.amount_micros <> coalesce(charge.amount_micros, 0)
     LIMIT 1
    """
)

_CORRECTION_DIFFERENCE = text(
    """
    SELECT line.id, line.amount_micros AS line_micros,
           -coalesce(refund.amount_micros, 0) AS ledger_micros
      FROM usage_line AS line
      LEFT JOIN transfer AS refund ON refund.id = line.transfer_id
                                  AND refund.kind = 'refund_generation'
     WHERE line.organisation_id = :organisation_id AND line.at >= :start AND line.at < :end
       AND line.kind = 'correction' AND line.amount_micros <> -coalesce(refund.amount_micros, 0)
     LIMIT 1
    """
)
