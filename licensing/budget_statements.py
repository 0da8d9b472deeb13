"""The SQL of budgets: a job's counters move in one statement, in one order, or not at all.

Called by `licensing.budgets` alone, which says what each statement means. They rely on READ
COMMITTED: a statement that waited for a row's lock looks at the row again before it acts.
"""

from sqlalchemy import text

# The limit of one counter: the subject's own, or for a member the organisation's default.
_LIMIT = """
    (SELECT budget.limit_micros FROM budget
      WHERE budget.organisation_id = {0}.organisation_id AND budget.period = {0}.period
        AND ((budget.scope = {0}.scope AND budget.subject_id = {0}.subject_id)
             OR ({0}.scope = 'member' AND budget.scope = 'organisation_default'))
      ORDER BY budget.scope = 'organisation_default' LIMIT 1)
"""

# The counters of a job that this member makes with this key for this team, in the order of locks.
_WANTED = """
    SELECT CAST(:organisation_id AS uuid) AS organisation_id, scope, subject_id, period, starts_on
      FROM (VALUES ('api_key', CAST(:api_key_id AS uuid)), ('member', CAST(:member_id AS uuid)),
                   ('team', CAST(:team_id AS uuid))) AS subject (scope, subject_id)
     CROSS JOIN (VALUES ('day', CAST(:day AS date)), ('month', CAST(:month AS date)))
             AS period (period, starts_on)
     WHERE subject_id IS NOT NULL
"""

# Two jobs at once meet at the counter's row: the second waits for the first one's commit and then
# compares with what that one left. The reservation is written exactly if every counter had room.
RESERVE = text(
    f"""
    WITH wanted AS ({_WANTED}), counted AS (
        INSERT INTO budget_counter AS counter (organisation_id, scope, subject_id, period,
                                               starts_on, used_micros, held_micros)
        SELECT wanted.*, 0, :amount_micros FROM wanted
         WHERE :amount_micros <= coalesce({_LIMIT.format("wanted")}, :amount_micros)
         ORDER BY scope, subject_id, period
        ON CONFLICT (subject_id, scope, period, starts_on) DO UPDATE
           SET held_micros = counter.held_micros + excluded.held_micros
         WHERE counter.used_micros + counter.held_micros + excluded.held_micros
               <= coalesce({_LIMIT.format("counter")}, 9223372036854775807)
        RETURNING scope, subject_id, period, starts_on
    ), reserved AS (
        INSERT INTO budget_reservation (generation_id, organisation_id, member_id, team_id,
                                        api_key_id, amount_micros, day, reserved_at)
        SELECT :generation_id, :organisation_id, :member_id, CAST(:team_id AS uuid),
               CAST(:api_key_id AS uuid), :amount_micros, :day, :at
         WHERE (SELECT count(*) FROM counted) = :wanted
    )
    SELECT scope, subject_id, period, starts_on FROM counted
    """  # noqa: S608 - put together from this file's own words
)

# Takes back what RESERVE did to one counter when another one of the job had no room.
UNCOUNT = text(
    """
    UPDATE budget_counter SET held_micros = held_micros - :amount_micros
     WHERE subject_id = :subject_id AND scope = :scope AND period = :period
       AND starts_on = :starts_on
    """
)

# The reservations are locked first, then their counters in the order of RESERVE.
RESOLVE = text(
    """
    WITH resolved AS (
        UPDATE budget_reservation SET used_micros = :amount_micros, resolved_at = :at
         WHERE generation_id = ANY(:generation_ids) AND resolved_at IS NULL
           AND amount_micros >= :amount_micros
        RETURNING generation_id, member_id, team_id, api_key_id, amount_micros, day
    ), owed AS (
        SELECT subject.id AS subject_id, subject.scope, period.name AS period, period.starts_on,
               sum(amount_micros)::bigint AS amount_micros, count(*) AS jobs
          FROM resolved
         CROSS JOIN LATERAL (VALUES ('api_key', api_key_id), ('member', member_id),
                                    ('team', team_id)) AS subject (scope, id)
         CROSS JOIN LATERAL (VALUES ('day', day), ('month', date_trunc('month', day)::date))
                 AS period (name, starts_on)
         GROUP BY 1, 2, 3, 4
    ), locked AS (
        SELECT owed.*
          FROM owed JOIN budget_counter AS counter USING (subject_id, scope, period, starts_on)
         ORDER BY scope, subject_id, period, starts_on
           FOR NO KEY UPDATE OF counter
    ), counted AS (
        UPDATE budget_counter AS counter
           SET held_micros = counter.held_micros - locked.amount_micros,
               used_micros = counter.used_micros + locked.jobs * :amount_micros
          FROM locked
         WHERE counter.subject_id = locked.subject_id AND counter.scope = locked.scope
           AND counter.period = locked.period AND counter.starts_on = locked.starts_on
    )
    SELECT generation_id FROM resolved
    """
)

STANDINGS = text(
    f"""
    WITH wanted AS ({_WANTED})
    SELECT wanted.scope, wanted.subject_id, wanted.period, found.limit_micros,
           coalesce(counter.used_micros, 0) AS used_micros,
           coalesce(counter.held_micros, 0) AS held_micros
      FROM wanted
     CROSS JOIN LATERAL {_LIMIT.format("wanted")} AS found (limit_micros)
      LEFT JOIN budget_counter AS counter
        ON counter.subject_id = wanted.subject_id AND counter.scope = wanted.scope
       AND counter.period = wanted.period AND counter.starts_on = wanted.starts_on
     WHERE found.limit_micros IS NOT NULL
     ORDER BY wanted.scope, wanted.period
    """  # noqa: S608 - put together from this file's own words
)

STRANDED = text(
    """
    SELECT reservation.generation_id, coalesce(hold.settled_micros, 0)
      FROM budget_reservation AS reservation
      JOIN hold ON hold.generation_id = reservation.generation_id
     WHERE reservation.resolved_at IS NULL AND hold.state <> 'held'
     ORDER BY reservation.reserved_at LIMIT :limit
    """
)

# Whom a person at the end of a budget should ask; two names at most.
RAISERS = text(
    """
    SELECT name FROM member
     WHERE organisation_id = :organisation_id AND status = 'active' AND role IN ('admin', 'owner')
     ORDER BY role, name LIMIT 2
    """
)

# Teams and API keys are other modules' tables; a budget needs only to know whose they are.
NAMES = {
    "member": text(
        "SELECT name FROM member WHERE id = :id AND organisation_id = :organisation_id"
        " AND status <> 'removed'"
    ),
    "team": text("SELECT name FROM team WHERE id = :id AND organisation_id = :organisation_id"),
    "api_key": text(
        "SELECT name FROM api_key WHERE id = :id AND organisation_id = :organisation_id"
    ),
}
