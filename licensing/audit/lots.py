"""Lots against the transfers that brought and spent them, and against the wallet."""

from sqlalchemy import text

from licensing.audit.check import Check

CHECKS = (
    Check(
        "Transfer {0} ({1}) brought {2} micros, but its lot is {3} of {4}.",
        text(
            """
            SELECT transfer.id, transfer.kind, transfer.amount_micros,
                   coalesce(lot.kind, '(none)'), coalesce(lot.amount_micros, 0)
              FROM transfer
              JOIN account AS destination
                ON destination.id = transfer.destination_id AND destination.kind = 'wallet'
              LEFT JOIN lot ON lot.transfer_id = transfer.id
             WHERE transfer.kind NOT IN ('refund_generation', 'return_refund')
               AND ((lot.amount_micros, lot.organisation_id) IS DISTINCT FROM
                    (transfer.amount_micros, transfer.organisation_id)
                    OR (lot.kind = 'paid') <> (transfer.kind = 'top_up'))
             ORDER BY transfer.id LIMIT :limit
            """
        ),
    ),
    Check(
        "Lot {0} came with transfer {1} ({2}), which brought no lot.",
        text(
            """
            SELECT lot.id, transfer.id, transfer.kind
              FROM lot JOIN transfer ON transfer.id = lot.transfer_id
             WHERE transfer.kind NOT IN ('top_up', 'grant', 'adjust')
             ORDER BY lot.id LIMIT :limit
            """
        ),
    ),
    Check(
        "Lot {0} shows {1} micros remaining, but {2} less its spends are {3}.",
        text(
            """
            WITH spent AS (
                SELECT lot_id, sum(amount_micros)::bigint AS micros FROM lot_spend GROUP BY lot_id
            )
            SELECT lot.id, lot.remaining_micros, lot.amount_micros,
                   lot.amount_micros - coalesce(spent.micros, 0)
              FROM lot LEFT JOIN spent ON spent.lot_id = lot.id
             WHERE lot.remaining_micros <> lot.amount_micros - coalesce(spent.micros, 0)
             ORDER BY lot.id LIMIT :limit
            """
        ),
    ),
    Check(
        "Transfer {0} ({1}) of {2} micros changed lots by {3}, not by {4}.",
        text(
            """
            WITH spent AS (
                SELECT transfer_id, sum(amount_micros)::bigint AS micros
                  FROM lot_spend GROUP BY transfer_id
            ), due AS (
                SELECT transfer.id, transfer.kind, transfer.amount_micros,
                       CASE WHEN transfer.kind IN ('top_up', 'grant') THEN 0
                            WHEN transfer.kind IN ('refund_generation', 'return_refund')
                            THEN -transfer.amount_micros
                            WHEN transfer.kind = 'adjust' AND source.kind = 'adjustment' THEN 0
                            ELSE transfer.amount_micros END AS micros
                  FROM transfer JOIN account AS source ON source.id = transfer.source_id
            )
            SELECT due.id, due.kind, due.amount_micros, coalesce(spent.micros, 0), due.micros
              FROM due LEFT JOIN spent ON spent.transfer_id = due.id
             WHERE due.micros <> coalesce(spent.micros, 0)
             ORDER BY due.id LIMIT :limit
            """
        ),
    ),
    Check(
        "Transfer {0} spent from lot {1} of another organisation.",
        text(
            """
            SELECT transfer.id, lot.id
              FROM lot_spend
              JOIN transfer ON transfer.id = lot_spend.transfer_id
              JOIN lot ON lot.id = lot_spend.lot_id
             WHERE lot.organisation_id <> transfer.organisation_id
             ORDER BY transfer.id LIMIT :limit
            """
        ),
    ),
    Check(
        "Wallet {0} shows {1} micros settled, but its lots add up to {2}.",
        text(
            """
            SELECT account.id, account.settled_micros, coalesce(sum(lot.remaining_micros), 0)
              FROM account LEFT JOIN lot ON lot.organisation_id = account.organisation_id
             WHERE account.kind = 'wallet'
             GROUP BY account.id
            HAVING account.settled_micros <> coalesce(sum(lot.remaining_micros), 0)
             ORDER BY account.id LIMIT :limit
            """
        ),
    ),
    Check(
        "Organisation {0} owes {1} micros on credit, while lot {2} still has {3}.",
        text(
            """
            SELECT debt.organisation_id, -debt.remaining_micros, lot.id, lot.remaining_micros
              FROM lot AS debt
              JOIN lot ON lot.organisation_id = debt.organisation_id
             WHERE debt.kind = 'credit' AND debt.remaining_micros < 0
               AND lot.kind <> 'credit' AND lot.remaining_micros > 0
             ORDER BY debt.organisation_id, lot.id LIMIT :limit
            """
        ),
    ),
)
