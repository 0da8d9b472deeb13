"""What the provider paid and took against what the ledger moved for it, both ways round."""

from sqlalchemy import text

from licensing.audit.check import Check

CHECKS = (
    Check(
        "Payment {0} is paid with {1} micros, but transfer {2} ({3}) moved {4}.",
        text(
            """
            SELECT payment.id, payment.amount_micros, transfer.id, transfer.key,
                   transfer.amount_micros
              FROM payment JOIN transfer ON transfer.id = payment.transfer_id
             WHERE transfer.amount_micros <> payment.amount_micros
                OR transfer.organisation_id <> payment.organisation_id
                OR transfer.key IS DISTINCT FROM 'top_up:stripe:' || payment.payment_intent_id
             ORDER BY transfer.id LIMIT :limit
            """
        ),
    ),
    Check(
        "Transfer {0} ({1}) moved {2} micros for the payment provider, and no payment, refund or "
        "dispute says so.",
        text(
            """
            SELECT transfer.id, transfer.key, transfer.amount_micros
              FROM transfer
             WHERE (transfer.key LIKE 'top\\_up:stripe:%'
                    OR transfer.key LIKE 'top\\_up:refund-failed:%'
                    OR transfer.key LIKE 'return\\_refund:stripe:%'
                    OR transfer.key LIKE 'chargeback:stripe:%')
               AND NOT EXISTS (SELECT FROM payment WHERE payment.transfer_id = transfer.id)
               AND NOT EXISTS (SELECT FROM payment_refund AS refund
                                WHERE transfer.id IN (refund.transfer_id, refund.returned_id))
               AND NOT EXISTS (SELECT FROM payment_dispute AS dispute
                                WHERE dispute.transfer_id = transfer.id)
             ORDER BY transfer.id LIMIT :limit
            """
        ),
    ),
    Check(
        "Refund {0} of {1} micros ({2}) was moved as {3}, and given back as {4}.",
        text(
            """
            SELECT refund.id, refund.amount_micros, refund.state, taken.amount_micros,
                   coalesce(returned.amount_micros, 0)
              FROM payment_refund AS refund
              JOIN payment ON payment.id = refund.payment_id
              JOIN transfer AS taken ON taken.id = refund.transfer_id
              LEFT JOIN transfer AS returned ON returned.id = refund.returned_id
             WHERE taken.amount_micros <> refund.amount_micros
                OR taken.kind NOT IN ('refund_top_up', 'chargeback')
                OR taken.origin_id <> payment.transfer_id
                OR returned.amount_micros <> refund.amount_micros
                OR returned.kind = 'return_refund' AND returned.origin_id <> taken.id
                OR refund.organisation_id <> payment.organisation_id
                OR taken.organisation_id <> payment.organisation_id
             ORDER BY refund.created_at, refund.id LIMIT :limit
            """
        ),
    ),
    Check(
        "Of payment {0} ({1} micros), {2} micros went back.",
        text(
            """
            SELECT payment.id, payment.amount_micros, sum(refund.amount_micros)
              FROM payment JOIN payment_refund AS refund ON refund.payment_id = payment.id
             WHERE refund.state <> 'failed'
             GROUP BY payment.id
            HAVING sum(refund.amount_micros) > payment.amount_micros
             ORDER BY payment.id LIMIT :limit
            """
        ),
    ),
    Check(
        "Dispute {0} over {1} micros was lost, but transfer {2} moved {3}.",
        text(
            """
            SELECT dispute.id, dispute.amount_micros, transfer.id, transfer.amount_micros
              FROM payment_dispute AS dispute
              JOIN payment ON payment.id = dispute.payment_id
              JOIN transfer ON transfer.id = dispute.transfer_id
             WHERE transfer.amount_micros <> dispute.amount_micros
                OR transfer.kind <> 'chargeback'
                OR transfer.origin_id <> payment.transfer_id
             ORDER BY dispute.id LIMIT :limit
            """
        ),
    ),
)
