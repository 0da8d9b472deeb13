"""Budgets against the jobs that they count, and those jobs against their holds."""

from sqlalchemy import text

from licensing.audit.check import Check

CHECKS = (
    Check(
        "Budget counter {0} {1} ({2} from {3}) shows {4} micros used and {5} held, but its jobs "
        "add up to {6} and {7}.",
        text(
            """
            WITH counted AS (
                SELECT subject.scope, subject.id AS subject_id, period.name AS period,
                       period.starts_on, sum(coalesce(used_micros, 0)) AS used_micros,
                       coalesce(sum(amount_micros) FILTER (WHERE resolved_at IS NULL), 0)
                           AS held_micros
                  FROM budget_reservation
                 CROSS JOIN LATERAL (VALUES ('api_key', api_key_id), ('member', member_id),
                                            ('team', team_id)) AS subject (scope, id)
                 CROSS JOIN LATERAL (VALUES ('day', day),
                                            ('month', date_trunc('month', day)::date))
                         AS period (name, starts_on)
                 WHERE subject.id IS NOT NULL
                 GROUP BY 1, 2, 3, 4
            )
            SELECT scope, subject_id, period, starts_on,
                   coalesce(counter.used_micros, 0), coalesce(counter.held_micros, 0),
                   coalesce(counted.used_micros, 0), coalesce(counted.held_micros, 0)
              FROM budget_counter AS counter
              FULL JOIN counted USING (scope, subject_id, period, starts_on)
             WHERE coalesce(counter.used_micros, 0) <> coalesce(counted.used_micros, 0)
                OR coalesce(counter.held_micros, 0) <> coalesce(counted.held_micros, 0)
             ORDER BY starts_on, scope, subject_id LIMIT :limit
            """
        ),
    ),
    # An expired hold and its reservation are resolved one after the other: that is no difference
    # until the sweep has been by, so only a reservation that counts too much is one.
    Check(
        "Generation {0} counts {1} micros used in its budgets, but its hold is {2} for {3}.",
        text(
            """
            SELECT hold.generation_id, coalesce(reservation.used_micros, 0), hold.state,
                   coalesce(hold.settled_micros, 0)
              FROM budget_reservation AS reservation JOIN hold USING (generation_id)
             WHERE reservation.amount_micros <> hold.amount_micros
                OR reservation.member_id <> hold.member_id
                OR coalesce(reservation.used_micros, 0) <> coalesce(hold.settled_micros, 0)
                OR (hold.state <> 'expired'
                    AND (hold.state = 'held') <> (reservation.resolved_at IS NULL))
             ORDER BY 1 LIMIT :limit
            """
        ),
    ),
)
