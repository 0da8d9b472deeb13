"""The sums by day against the lines they add up, and closed months against the lines in them."""

from sqlalchemy import text

from licensing.audit.check import Check

CHECKS = (
    Check(
        "On {0} the lines of organisation {1} add up to {2} micros, its sums by day to {3}.",
        text(
            """
            WITH line AS (
                SELECT (at AT TIME ZONE 'UTC')::date AS day, organisation_id,
                       sum(amount_micros)::bigint AS micros, sum(images)::bigint AS images,
                       count(*) AS lines
                  FROM usage_line GROUP BY 1, 2
            ), added AS (
                SELECT day, organisation_id, sum(amount_micros)::bigint AS micros,
                       sum(images)::bigint AS images, sum(lines)::bigint AS lines
                  FROM usage_day GROUP BY 1, 2
            )
            SELECT day, organisation_id, coalesce(line.micros, 0), coalesce(added.micros, 0)
              FROM line FULL JOIN added USING (day, organisation_id)
             WHERE (line.micros, line.images, line.lines)
                   IS DISTINCT FROM (added.micros, added.images, added.lines)
             ORDER BY 1, 2 LIMIT :limit
            """
        ),
    ),
    Check(
        "The month of {0} of organisation {1} was closed with {2} lines and {3} micros, "
        "but has {4} lines and {5}.",
        text(
            """
            SELECT month.starts_on, month.organisation_id, month.lines, month.amount_micros,
                   coalesce(found.lines, 0), coalesce(found.micros, 0)
              FROM bill_month AS month
             CROSS JOIN LATERAL (
                SELECT count(*) AS lines, coalesce(sum(amount_micros), 0)::bigint AS micros
                  FROM usage_line
                 WHERE usage_line.organisation_id = month.organisation_id
                   AND at >= month.starts_on::timestamp AT TIME ZONE 'UTC' AND at < month.ends_at
             ) AS found
             WHERE month.closed_at IS NOT NULL
               AND (month.lines, month.amount_micros) <> (found.lines, found.micros)
             ORDER BY 1, 2 LIMIT :limit
            """
        ),
    ),
)
