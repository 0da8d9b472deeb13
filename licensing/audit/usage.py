"""Usage lines against what the ledger charged and gave back."""

from sqlalchemy import text

from licensing.audit.check import Check

CHECKS = (
    Check(
        "Generation {0} has a usage line of {1} micros, but its hold was settled for {2}.",
        text(
            """
            WITH line AS (SELECT * FROM usage_line WHERE kind = 'usage')
            SELECT coalesce(hold.generation_id, line.generation_id),
                   coalesce(line.amount_micros, 0), coalesce(hold.settled_micros, 0)
              FROM hold FULL JOIN line ON line.generation_id = hold.generation_id
             WHERE coalesce(line.amount_micros, 0) <> coalesce(hold.settled_micros, 0)
                OR line.organisation_id <> hold.organisation_id
                OR line.member_id <> hold.member_id
             ORDER BY 1 LIMIT :limit
            """
        ),
    ),
    Check(
        "Generation {0} was given back {1} micros, but its corrections say {2}.",
        text(
            """
            WITH returned AS (
                SELECT hold.generation_id, sum(back.amount_micros)::bigint AS micros
                  FROM transfer AS back
                  JOIN transfer AS charge ON charge.id = back.origin_id
                  JOIN hold ON hold.id = charge.hold_id
                 WHERE back.kind = 'refund_generation'
                 GROUP BY hold.generation_id
            ), corrected AS (
                SELECT generation_id, -sum(amount_micros)::bigint AS micros
                  FROM usage_line WHERE kind = 'correction' GROUP BY generation_id
            )
            SELECT coalesce(returned.generation_id, corrected.generation_id),
                   coalesce(returned.micros, 0), coalesce(corrected.micros, 0)
              FROM returned FULL JOIN corrected USING (generation_id)
             WHERE returned.micros IS DISTINCT FROM corrected.micros
             ORDER BY 1 LIMIT :limit
            """
        ),
    ),
)
