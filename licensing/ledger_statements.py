"""The SQL of the ledger: each verb is one statement, so that check and act cannot come apart.

Called by `licensing.ledger` alone, which says what each statement means. They rely on READ
COMMITTED: a statement that waited for a row's lock looks at the row again before it acts.
"""

from sqlalchemy import text

HOLD = text(
    """
    WITH wallet AS (
        UPDATE account SET held_micros = held_micros + :amount_micros
         WHERE organisation_id = :organisation_id AND kind = 'wallet'
           AND settled_micros - held_micros >= :amount_micros
        RETURNING id
    )
    INSERT INTO hold (id, organisation_id, account_id, member_id, generation_id, amount_micros,
                      price_version, state, created_at, expires_at)
    SELECT :id, :organisation_id, wallet.id, :member_id, :generation_id, :amount_micros,
           :price_version, 'held', :created_at, :expires_at
      FROM wallet
    RETURNING *
    """
)

# The hold's row is locked first, then the wallet's; the transfer's key is a second guard. A second
# settle or release waits for the first one's commit and then finds no hold in state 'held'.
SETTLE = text(
    """
    WITH resolved AS (
        UPDATE hold SET state = 'settled', settled_micros = :amount_micros, resolved_at = :at
         WHERE generation_id = :generation_id AND state = 'held'
           AND amount_micros >= :amount_micros
        RETURNING id, organisation_id, account_id, amount_micros
    ), wallet AS (
        UPDATE account SET held_micros = account.held_micros - resolved.amount_micros,
                           settled_micros = account.settled_micros - :amount_micros
          FROM resolved WHERE account.id = resolved.account_id
    ), entry AS (
        INSERT INTO transfer (organisation_id, kind, source_id, destination_id, amount_micros,
                              key, hold_id, note, at)
        SELECT resolved.organisation_id, 'settle', resolved.account_id, revenue.id,
               :amount_micros, 'settle:' || resolved.id, resolved.id, '', :at
          FROM resolved
          JOIN account AS revenue ON revenue.organisation_id = resolved.organisation_id
                                 AND revenue.kind = 'revenue'
         WHERE :amount_micros > 0
    )
    SELECT id FROM resolved
    """
)

RELEASE = text(
    """
    WITH resolved AS (
        UPDATE hold SET state = 'released', reason = :reason, resolved_at = :at
         WHERE generation_id = :generation_id AND state = 'held'
        RETURNING id, account_id, amount_micros
    ), wallet AS (
        UPDATE account SET held_micros = account.held_micros - resolved.amount_micros
          FROM resolved WHERE account.id = resolved.account_id
    )
    SELECT id FROM resolved
    """
)

# Wallets are updated in the order of their ids, so that two sweeps cannot wait for each other.
EXPIRE = text(
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
         ORDER BY account.id FOR NO KEY UPDATE OF account
    ), wallet AS (
        UPDATE account SET held_micros = account.held_micros - locked.amount_micros
          FROM locked WHERE account.id = locked.id
    )
    SELECT generation_id FROM resolved
    """
)

OPEN_ACCOUNTS = text(
    """
    INSERT INTO account (id, organisation_id, kind, settled_micros, held_micros)
    VALUES (:wallet_id, :organisation_id, 'wallet', 0, 0),
           (:cash_id, :organisation_id, 'cash', 0, 0),
           (:revenue_id, :organisation_id, 'revenue', 0, 0)
    ON CONFLICT (organisation_id, kind) DO NOTHING
    """
)

TOP_UP = text(
    """
    WITH entry AS (
        INSERT INTO transfer (organisation_id, kind, source_id, destination_id, amount_micros,
                              key, author_id, note, at)
        SELECT :organisation_id, 'top_up', cash.id, wallet.id, :amount_micros, :key,
               CAST(:author_id AS uuid), :note, :at
          FROM account AS cash JOIN account AS wallet USING (organisation_id)
         WHERE organisation_id = :organisation_id AND cash.kind = 'cash' AND wallet.kind = 'wallet'
        ON CONFLICT (organisation_id, key) DO NOTHING
        RETURNING destination_id, amount_micros
    )
    UPDATE account SET settled_micros = account.settled_micros + entry.amount_micros
      FROM entry WHERE account.id = entry.destination_id
    RETURNING account.id
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
