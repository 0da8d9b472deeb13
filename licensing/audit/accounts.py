"""Wallets against transfers and holds; transfers against their accounts and what they take back."""

from sqlalchemy import text

from licensing.audit.check import Check

CHECKS = (
    Check(
        "Wallet {0} shows {1} micros settled, but its transfers add up to {2}.",
        text(
            """
            WITH moved AS (
                SELECT account_id, sum(micros)::bigint AS micros
                  FROM (
                    SELECT destination_id AS account_id, sum(amount_micros) AS micros
                      FROM transfer GROUP BY destination_id
                    UNION ALL
                    SELECT source_id, -sum(amount_micros) FROM transfer GROUP BY source_id
                  ) AS side
                 GROUP BY account_id
            )
            SELECT account.id, account.settled_micros, coalesce(moved.micros, 0)
              FROM account LEFT JOIN moved ON moved.account_id = account.id
             WHERE account.kind = 'wallet' AND account.settled_micros <> coalesce(moved.micros, 0)
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
                OR transfer.source_id <> hold.account_id
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
                OR (transfer.kind, source.kind, destination.kind) NOT IN (
                    ('top_up', 'cash', 'wallet'), ('grant', 'promotion', 'wallet'),
                    ('adjust', 'adjustment', 'wallet'), ('adjust', 'wallet', 'adjustment'),
                    ('settle', 'wallet', 'revenue'), ('refund_generation', 'revenue', 'wallet'),
                    ('refund_top_up', 'wallet', 'cash'), ('chargeback', 'wallet', 'cash'),
                    ('expire', 'wallet', 'breakage'), ('return_refund', 'cash', 'wallet'))
             ORDER BY transfer.id LIMIT :limit
            """
        ),
    ),
    Check(
        "Transfer {0} ({1}) takes back transfer {2} ({3}), which it cannot.",
        text(
            """
            SELECT back.id, back.kind, origin.id, origin.kind
              FROM transfer AS back JOIN transfer AS origin ON origin.id = back.origin_id
             WHERE back.organisation_id <> origin.organisation_id
                OR back.id <= origin.id
                OR NOT CASE back.kind WHEN 'refund_generation' THEN origin.kind = 'settle'
                                      WHEN 'expire' THEN origin.kind IN ('top_up', 'grant')
                                      WHEN 'return_refund'
                                      THEN origin.kind IN ('refund_top_up', 'chargeback')
                                      ELSE origin.kind = 'top_up' END
             ORDER BY back.id LIMIT :limit
            """
        ),
    ),
    Check(
        "Transfer {0} ({1}) moved {2} micros, but {3} of them were paid back.",
        text(
            """
            SELECT origin.id, origin.kind, origin.amount_micros, sum(back.amount_micros)
              FROM transfer AS back JOIN transfer AS origin ON origin.id = back.origin_id
             WHERE back.kind IN ('refund_generation', 'refund_top_up', 'return_refund')
               AND NOT EXISTS (SELECT FROM transfer AS arrived_not
                                WHERE arrived_not.origin_id = back.id
                                  AND arrived_not.kind = 'return_refund')
             GROUP BY origin.id
            HAVING sum(back.amount_micros) > origin.amount_micros
             ORDER BY origin.id LIMIT :limit
            """
        ),
    ),
    Check(
        "Wallet {0} is frozen: {1}; its recorded changes say {2}.",
        text(
            """
            SELECT account.id, coalesce(account.frozen_reason, '(no)'),
                   coalesce(change.told, '(no)')
              FROM account
              LEFT JOIN LATERAL (
                SELECT string_agg(reason, '; ' ORDER BY id) AS told FROM (
                    SELECT DISTINCT ON (cause) kind, reason, id FROM wallet_change
                     WHERE organisation_id = account.organisation_id AND cause IS NOT NULL
                     ORDER BY cause, id DESC
                ) AS last WHERE kind = 'freeze'
              ) AS change ON true
             WHERE account.kind = 'wallet' AND account.frozen_reason IS DISTINCT FROM change.told
             ORDER BY account.id LIMIT :limit
            """
        ),
    ),
    Check(
        "Wallet {0} has a credit limit of {1} micros; the last of its recorded changes says {2}.",
        text(
            """
            SELECT account.id, account.credit_limit_micros, coalesce(change.micros, 0)
              FROM account
              LEFT JOIN LATERAL (
                SELECT credit_limit_micros AS micros
                  FROM wallet_change
                 WHERE organisation_id = account.organisation_id AND kind = 'credit_limit'
                 ORDER BY id DESC LIMIT 1
              ) AS change ON true
             WHERE account.kind = 'wallet'
               AND account.credit_limit_micros <> coalesce(change.micros, 0)
             ORDER BY account.id LIMIT :limit
            """
        ),
    ),
)
