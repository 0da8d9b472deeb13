"""The SQL of the ledger: each verb is one statement, so that check and act cannot come apart.

Called by this package alone; the verbs say what each statement means. All rely on READ COMMITTED: a
statement that waited for a row's lock looks at the row again before it acts, and the next statement
of the transaction sees everything that was committed meanwhile.

Those of the hot path are written as the driver takes them, because building them anew each time
took as long as running them.
"""

from sqlalchemy import text

# A function of the database (migration 0017) locks and changes the wallet, then writes the hold.
# Times are the database's, so that an application host whose clock jumps cannot end a hold early.
# With `must` a wallet that does not cover it is an error, ck_hold_covered, else no row: where the
# COMMIT follows in the same message, it must not be reached then.
HOLD = """
SELECT account_id, created_at, expires_at
  FROM place_hold(%(id)s, %(organisation_id)s, %(member_id)s, %(generation_id)s, %(amount_micros)s,
                  %(price_version)s, %(lifetime)s, %(must)s)
"""

# The hold's row is locked first, then the wallet's, then the lot's; the transfer's hold is a second
# guard. A second settle or release waits for the first one's commit and then finds no hold in state
# 'held'. The lot is chosen as of the statement's start and checked again under its lock: if it
# cannot pay all of it any more, none pays here, and TAKE follows with a fresh look at all of them.
SETTLE = """
WITH resolved AS (
    UPDATE hold SET state = 'settled', settled_micros = %(amount_micros)s,
                    resolved_at = statement_timestamp()
     WHERE generation_id = %(generation_id)s AND state = 'held'
       AND amount_micros >= %(amount_micros)s
    RETURNING id, account_id, amount_micros
), wallet AS (
    UPDATE account SET held_micros = account.held_micros - resolved.amount_micros,
                       settled_micros = account.settled_micros - %(amount_micros)s
      FROM resolved WHERE account.id = resolved.account_id
    RETURNING account.id, account.organisation_id, account.settled_micros,
              resolved.id AS hold_id
), payer AS (
    UPDATE lot SET remaining_micros = lot.remaining_micros - %(amount_micros)s,
                   is_open = lot.kind = 'credit' OR lot.remaining_micros > %(amount_micros)s
      FROM wallet
     CROSS JOIN LATERAL (
        SELECT following.id FROM lot AS following
         WHERE following.organisation_id = wallet.organisation_id AND following.is_open
         ORDER BY following.kind DESC, following.expires_at, following.created_at, following.id
         LIMIT 1
     ) AS first
     WHERE lot.id = first.id AND %(amount_micros)s > 0
       AND (lot.remaining_micros >= %(amount_micros)s
            OR lot.kind = 'credit' AND wallet.settled_micros + %(amount_micros)s <= 0)
    RETURNING lot.id
), entry AS (
    INSERT INTO transfer (organisation_id, kind, source_id, destination_id, amount_micros,
                          key, hold_id, note, at)
    SELECT wallet.organisation_id, 'settle', wallet.id, revenue.id, %(amount_micros)s,
           'settle:' || wallet.hold_id, wallet.hold_id, '', statement_timestamp()
      FROM wallet
      JOIN account AS revenue ON revenue.organisation_id = wallet.organisation_id
                             AND revenue.kind = 'revenue'
     WHERE %(amount_micros)s > 0
    RETURNING id
), spend AS (
    INSERT INTO lot_spend (transfer_id, lot_id, amount_micros)
    SELECT entry.id, payer.id, %(amount_micros)s FROM entry CROSS JOIN payer
)
SELECT wallet.organisation_id, entry.id AS transfer_id, payer.id AS lot_id
  FROM wallet LEFT JOIN entry ON true LEFT JOIN payer ON true
"""

RELEASE = """
WITH resolved AS (
    UPDATE hold SET state = 'released', reason = %(reason)s, resolved_at = statement_timestamp()
     WHERE generation_id = %(generation_id)s AND state = 'held'
    RETURNING id, account_id, amount_micros
), wallet AS (
    UPDATE account SET held_micros = account.held_micros - resolved.amount_micros
      FROM resolved WHERE account.id = resolved.account_id
)
SELECT id FROM resolved
"""

# Wallets are locked in the order of their organisations, as by all who lock several: two sweeps at
# once, one of them at lots that ran out, cannot wait for each other.
EXPIRE_HOLDS = text(
    """
    WITH due AS (
        SELECT id FROM hold WHERE state = 'held' AND expires_at <= :at
         ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), resolved AS (
        UPDATE hold SET state = 'expired', reason = 'expired', resolved_at = :at
          FROM due WHERE hold.id = due.id
        RETURNING hold.generation_id, hold.account_id, hold.amount_micros
    ), owed AS (
        SELECT account_id, sum(amount_micros)::bigint AS amount_micros
          FROM resolved GROUP BY account_id
    ), locked AS (
        SELECT account.id, owed.amount_micros FROM account JOIN owed ON owed.account_id = account.id
         ORDER BY account.organisation_id FOR NO KEY UPDATE OF account
    ), wallet AS (
        UPDATE account SET held_micros = account.held_micros - locked.amount_micros
          FROM locked WHERE account.id = locked.id
    )
    SELECT generation_id FROM resolved
    """
)

# All of an organisation's accounts and its credit lot, if this is its first money.
OPEN_ACCOUNTS = text(
    """
    WITH opened AS (
        INSERT INTO account (id, organisation_id, kind, settled_micros, held_micros)
        SELECT gen_random_uuid(), :organisation_id, kind, 0, 0
          FROM unnest(ARRAY['wallet', 'cash', 'revenue', 'promotion', 'adjustment', 'breakage'])
               AS kind
        ON CONFLICT (organisation_id, kind) DO NOTHING
    )
    INSERT INTO lot (id, organisation_id, kind, amount_micros, remaining_micros, is_open,
                     created_at)
    VALUES (gen_random_uuid(), :organisation_id, 'credit', 0, 0, true, statement_timestamp())
    ON CONFLICT (organisation_id) WHERE kind = 'credit' DO NOTHING
    """
)

LOCK_WALLET = text(
    """
    SELECT settled_micros, held_micros, credit_limit_micros, frozen_reason
      FROM account WHERE organisation_id = :organisation_id AND kind = 'wallet'
       FOR NO KEY UPDATE
    """
)

# One movement between two accounts of an organisation, one of which is its wallet.
ENTER = text(
    """
    INSERT INTO transfer (organisation_id, kind, source_id, destination_id, amount_micros,
                          key, origin_id, author_id, note, at)
    SELECT :organisation_id, :kind, source.id, destination.id, :amount_micros, :key,
           CAST(:origin_id AS bigint), CAST(:author_id AS uuid), :note, statement_timestamp()
      FROM account AS source JOIN account AS destination USING (organisation_id)
     WHERE organisation_id = :organisation_id
       AND source.kind = :source AND destination.kind = :destination
    RETURNING *
    """
)

# What an entry means for its wallet; locks it.
MOVE = text(
    """
    UPDATE account
       SET settled_micros = account.settled_micros
         + CASE WHEN account.id = transfer.source_id
                THEN -transfer.amount_micros ELSE transfer.amount_micros END
      FROM transfer
     WHERE transfer.id = :transfer_id AND account.kind = 'wallet'
       AND account.id IN (transfer.source_id, transfer.destination_id)
    """
)

# Let the open lots pay in their order, `first_id` before all; what they cannot is owed on credit.
TAKE = text(
    """
    WITH line AS (
        SELECT id, remaining_micros,
               sum(remaining_micros) OVER (
                   ORDER BY (id = CAST(:first_id AS uuid)) IS TRUE DESC,
                            kind DESC, expires_at, created_at, id
               ) - remaining_micros AS before_micros
          FROM lot WHERE organisation_id = :organisation_id AND is_open AND kind <> 'credit'
    ), taken AS (
        SELECT id, least(remaining_micros, :amount_micros - before_micros)::bigint AS micros
          FROM line WHERE before_micros < :amount_micros
    ), short AS (
        SELECT lot.id, :amount_micros - coalesce((SELECT sum(micros) FROM taken), 0)::bigint
               AS micros
          FROM lot WHERE organisation_id = :organisation_id AND kind = 'credit'
    ), due AS (
        SELECT id, micros FROM taken UNION ALL SELECT id, micros FROM short WHERE micros > 0
    ), lots AS (
        UPDATE lot SET remaining_micros = lot.remaining_micros - due.micros,
                       is_open = lot.kind = 'credit' OR lot.remaining_micros > due.micros
          FROM due WHERE lot.id = due.id
    )
    INSERT INTO lot_spend (transfer_id, lot_id, amount_micros)
    SELECT :transfer_id, id, micros FROM due
    """
)

# What is owed on credit is paid back from the lots that have something, in their order.
REPAY = text(
    """
    WITH debt AS (
        SELECT id, -remaining_micros AS micros FROM lot
         WHERE organisation_id = :organisation_id AND kind = 'credit' AND remaining_micros < 0
    ), line AS (
        SELECT id, remaining_micros,
               sum(remaining_micros) OVER (ORDER BY kind DESC, expires_at, created_at, id)
               - remaining_micros AS before_micros
          FROM lot WHERE organisation_id = :organisation_id AND is_open AND kind <> 'credit'
    ), paid AS (
        SELECT line.id, least(remaining_micros, debt.micros - before_micros)::bigint AS micros
          FROM line CROSS JOIN debt WHERE before_micros < debt.micros
    ), due AS (
        SELECT id, micros FROM paid
        UNION ALL
        SELECT debt.id, -(SELECT sum(micros) FROM paid)::bigint
          FROM debt WHERE EXISTS (SELECT FROM paid)
    ), lots AS (
        UPDATE lot SET remaining_micros = lot.remaining_micros - due.micros,
                       is_open = lot.kind = 'credit' OR lot.remaining_micros > due.micros
          FROM due WHERE lot.id = due.id
    )
    INSERT INTO lot_spend (transfer_id, lot_id, amount_micros)
    SELECT :transfer_id, id, micros FROM due
    """
)

# Money goes back, for a picture or of a refund that did not arrive: first to what is owed, then to
# the lots that paid, the last one first. What was paid on credit and is no longer owed goes to the
# newest lot that has room.
GIVE_BACK = text(
    """
    WITH own AS (
        SELECT lot_spend.lot_id AS id, sum(lot_spend.amount_micros)::bigint AS micros
          FROM transfer JOIN lot_spend ON lot_spend.transfer_id = transfer.id
         WHERE transfer.id = :origin_id OR transfer.origin_id = :origin_id
         GROUP BY lot_spend.lot_id
    ), place AS (
        SELECT id, 0 AS rank, kind, expires_at, created_at, -remaining_micros AS micros
          FROM lot WHERE organisation_id = :organisation_id AND kind = 'credit'
        UNION ALL
        SELECT lot.id, 1, kind, expires_at, created_at,
               least(own.micros, amount_micros - remaining_micros)
          FROM lot JOIN own ON own.id = lot.id
         WHERE kind <> 'credit' AND own.micros > 0
        UNION ALL
        SELECT lot.id, 2, kind, NULL, created_at,
               amount_micros - remaining_micros
               - greatest(least(coalesce(own.micros, 0), amount_micros - remaining_micros), 0)
          FROM lot LEFT JOIN own ON own.id = lot.id
         WHERE organisation_id = :organisation_id AND kind <> 'credit'
    ), line AS (
        SELECT id, micros,
               sum(micros) OVER (
                   ORDER BY rank, kind, expires_at DESC, created_at DESC, id DESC
               ) - micros AS before_micros
          FROM place WHERE micros > 0
    ), given AS (
        SELECT id, sum(least(micros, :amount_micros - before_micros))::bigint AS micros
          FROM line WHERE before_micros < :amount_micros GROUP BY id
    ), lots AS (
        UPDATE lot SET remaining_micros = lot.remaining_micros + given.micros, is_open = true
          FROM given WHERE lot.id = given.id
    )
    INSERT INTO lot_spend (transfer_id, lot_id, amount_micros)
    SELECT :transfer_id, id, -micros FROM given
    """
)

# The last word on each cause for which a wallet may be frozen, where it was to freeze.
FREEZES = text(
    """
    SELECT cause, reason FROM (
        SELECT DISTINCT ON (cause) cause, kind, reason, id FROM wallet_change
         WHERE organisation_id = :organisation_id AND cause IS NOT NULL
         ORDER BY cause, id DESC
    ) AS last WHERE kind = 'freeze' ORDER BY id
    """
)

# Lots past their time that still have something to give, in the order of their wallets.
DUE_LOTS = text(
    """
    SELECT DISTINCT lot.organisation_id FROM lot
      JOIN account ON account.organisation_id = lot.organisation_id AND account.kind = 'wallet'
     WHERE is_open AND expires_at <= :at AND account.settled_micros > account.held_micros
     ORDER BY lot.organisation_id LIMIT :limit
    """
)

# Whom a person without money should ask; the owners' and finance people's names, two at most.
PAYERS = text(
    """
    SELECT name FROM member
     WHERE organisation_id = :organisation_id AND status = 'active' AND role IN ('finance', 'owner')
     ORDER BY role, name LIMIT 2
    """
)
