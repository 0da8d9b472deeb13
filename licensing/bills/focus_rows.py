"""What each row of the FOCUS files says: lines of usage, movements of the balance, and seats.

Each value is an SQL text over its source's row; `licensing.bills.focus` says what they mean and
puts the columns into order. A value that no row has is `NULL`.
"""

from licensing.bills.profiles import moment, usd

ISSUER = "Atelier"  # who provides the service, and who writes this file


def _hour(sql: str) -> str:
    return f"""to_char({sql} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24":00:00Z"')"""


def _literal(words: str) -> str:
    return f"'{words}'"


NOTHING = usd("0")

# The month's statement stands for all charges that no invoice of the payment provider lists.
_STATEMENT = "%(statement)s"

# What every row says. Prices are in dollars like the bill, and nothing is committed: the columns
# that say so are there because rules on others ask for them.
_ALWAYS = {
    "BillingAccountId": "%(organisation_id)s",
    "BillingAccountName": "%(organisation_name)s",
    "BillingCurrency": _literal("USD"),
    "BillingPeriodEnd": "%(period_end)s",
    "BillingPeriodStart": "%(period_start)s",
    "CommitmentDiscountStatus": "NULL",
    "InvoiceIssuerName": _literal(ISSUER),
    "PricingCurrency": _literal("USD"),
    "ServiceCategory": _literal("AI and Machine Learning"),
    "ServiceName": _literal(ISSUER),
    "ServiceSubcategory": _literal("Generative AI"),
}

_UNPRICED = {
    "ConsumedQuantity": "NULL",
    "ConsumedUnit": "NULL",
    "ContractedUnitPrice": "NULL",
    "ListUnitPrice": "NULL",
    "PricingCategory": "NULL",
    "PricingQuantity": "NULL",
    "PricingUnit": "NULL",
    "SkuId": "NULL",
    "SkuMeter": "NULL",
    "SkuPriceDetails": "NULL",
    "SkuPriceId": "NULL",
}

_NOBODY = {
    "SubAccountId": "NULL",
    "SubAccountName": "NULL",
    "SubAccountType": "NULL",
    "Tags": "NULL",
    "x_ApiKeyId": "NULL",
    "x_ApiKeyName": "NULL",
    "x_GenerationId": "NULL",
    "x_LineId": "NULL",
    "x_MemberId": "NULL",
    "x_Model": "NULL",
    "x_PriceVersion": "NULL",
}


def _of_usage(sql: str, otherwise: str = "NULL") -> str:
    """A value of lines that are usage; corrections have `otherwise`."""
    return f"CASE WHEN line.kind = 'usage' THEN {sql} ELSE {otherwise} END"


# Lines from before unit prices were kept cost the same for each picture.
_UNIT_PRICE = usd("coalesce(line.unit_price_micros, line.amount_micros / nullif(line.images, 0))")
_ORIGINAL_AT = "(SELECT first.at FROM usage_line AS first WHERE first.id = line.corrects_id)"

USAGE = _ALWAYS | {
    "BilledCost": NOTHING,
    "ChargeCategory": _of_usage("'Usage'", "'Adjustment'"),
    "ChargeClass": (
        f"CASE WHEN line.kind = 'correction' AND {_ORIGINAL_AT} < %(start)s THEN 'Correction' END"
    ),
    "ChargeDescription": _of_usage(
        "line.model || ' ' || line.width || 'x' || line.height || ', ' || line.images"
        " || CASE line.images WHEN 1 THEN ' image' ELSE ' images' END",
        "'Correction: ' || line.reason",
    ),
    "ChargeFrequency": _of_usage("'Usage-Based'", "'One-Time'"),
    "ChargePeriodEnd": _hour("(line.at + interval '1 hour')"),
    "ChargePeriodStart": _hour("line.at"),
    "ConsumedQuantity": _of_usage("line.images || '.0'"),
    "ConsumedUnit": _of_usage("'Images'"),
    "ContractedCost": _of_usage(usd("line.amount_micros"), NOTHING),
    "ContractedUnitPrice": _of_usage(_UNIT_PRICE),
    "EffectiveCost": usd("line.amount_micros"),
    "InvoiceDetailId": f"{_STATEMENT} || '/usage'",
    "InvoiceId": _STATEMENT,
    "ListCost": _of_usage(usd("line.amount_micros"), NOTHING),
    "ListUnitPrice": _of_usage(_UNIT_PRICE),
    "PricingCategory": _of_usage("'Standard'"),
    "PricingQuantity": _of_usage("line.images || '.0'"),
    "PricingUnit": _of_usage("'Images'"),
    "SkuId": _of_usage("line.model || coalesce('/' || line.price_class, '')"),
    "SkuMeter": _of_usage("'Images'"),
    "SkuPriceDetails": _of_usage(
        """'{"x_PixelHeight": ' || line.height || ', "x_PixelWidth": ' || line.width || '}'"""
    ),
    "SkuPriceId": _of_usage(
        "line.price_version || '/' || line.model || coalesce('/' || line.price_class, '')"
        " || '/' || coalesce(line.unit_price_micros, line.amount_micros / nullif(line.images, 0))"
    ),
    "SubAccountId": "line.team_id",
    "SubAccountName": "line.team_name",
    "SubAccountType": "CASE WHEN line.team_id IS NOT NULL THEN 'Team' END",
    "Tags": (
        "CASE WHEN line.project IS NOT NULL OR line.cost_centre IS NOT NULL THEN "
        "json_strip_nulls(json_build_object('cost_centre', line.cost_centre,"
        " 'project', line.project)) END"
    ),
    "x_ApiKeyId": "line.api_key_id",
    "x_ApiKeyName": "line.api_key_name",
    "x_BalanceChange": usd("-line.amount_micros"),
    "x_GenerationId": "line.generation_id",
    "x_LineId": "line.id",
    "x_MemberId": "line.member_id",
    "x_Model": "line.model",
    "x_PriceVersion": "line.price_version",
    "x_SettledAt": moment("line.at"),
    "x_TransferId": "line.transfer_id",
}

# Refunds of pictures are lines already; the condition on 'settle' stands as the index has it.
MOVEMENTS = """transfer AS moved
      JOIN account AS source ON source.id = moved.source_id
      JOIN account AS destination ON destination.id = moved.destination_id
      LEFT JOIN payment ON payment.transfer_id = moved.id
      LEFT JOIN payment_invoice AS invoice ON invoice.payment_id = payment.id
     WHERE moved.organisation_id = %(organisation_id)s
       AND moved.kind <> 'settle' AND moved.kind <> 'refund_generation'
       AND moved.at >= %(start)s AND moved.at < %(end)s"""

_CASH = usd(
    "CASE WHEN source.kind = 'cash' THEN moved.amount_micros"
    " WHEN destination.kind = 'cash' THEN -moved.amount_micros ELSE 0 END"
)


def _of_purchase(sql: str) -> str:
    return f"CASE WHEN source.kind = 'cash' AND moved.kind = 'top_up' THEN {sql} END"


MOVED = (
    _ALWAYS
    | _UNPRICED
    | _NOBODY
    | {
        "BilledCost": _CASH,
        "ChargeCategory": (
            "CASE WHEN moved.kind = 'top_up' THEN 'Purchase'"
            " WHEN moved.kind IN ('grant', 'adjust') THEN 'Credit' ELSE 'Adjustment' END"
        ),
        "ChargeClass": "NULL",
        "ChargeDescription": (
            "CASE moved.kind WHEN 'top_up' THEN 'Balance topped up'"
            " WHEN 'grant' THEN 'Balance granted' WHEN 'adjust' THEN 'Balance adjusted'"
            " WHEN 'refund_top_up' THEN 'Top-up refunded' WHEN 'chargeback' THEN 'Dispute lost'"
            " WHEN 'return_refund' THEN 'Refund did not arrive'"
            " WHEN 'expire' THEN 'Balance expired' ELSE moved.kind END"
        ),
        "ChargeFrequency": _literal("One-Time"),
        "ChargePeriodEnd": _hour("(moved.at + interval '1 hour')"),
        "ChargePeriodStart": _hour("moved.at"),
        "ContractedCost": _CASH,
        "ContractedUnitPrice": _of_purchase(usd("moved.amount_micros")),
        "EffectiveCost": usd(
            "CASE WHEN moved.kind = 'expire' AND (SELECT origin.kind FROM transfer AS origin"
            " WHERE origin.id = moved.origin_id) = 'top_up' THEN moved.amount_micros ELSE 0 END"
        ),
        "InvoiceDetailId": f"coalesce(invoice.invoice_id, {_STATEMENT}) || '/payments'",
        "InvoiceId": f"coalesce(invoice.invoice_id, {_STATEMENT})",
        "ListCost": _CASH,
        "ListUnitPrice": _of_purchase(usd("moved.amount_micros")),
        "PricingCategory": _of_purchase("'Standard'"),
        "PricingQuantity": _of_purchase("'1.0'"),
        "PricingUnit": _of_purchase("'Payments'"),
        "SkuId": _of_purchase("'balance'"),
        "SkuMeter": _of_purchase("'Payments'"),
        "SkuPriceId": _of_purchase("'balance'"),
        "x_BalanceChange": usd(
            "CASE WHEN destination.kind = 'wallet' THEN moved.amount_micros"
            " ELSE -moved.amount_micros END"
        ),
        "x_SettledAt": moment("moved.at"),
        "x_TransferId": "moved.id",
    }
)


# What the rows that cost the same in every respect say.
def _priced(amount: str) -> dict[str, str]:
    return dict.fromkeys(
        ("ContractedCost", "ContractedUnitPrice", "ListCost", "ListUnitPrice"), usd(amount)
    )


# Each seat invoice is a purchase and, in the same hour, the use of it: what is bought for a time
# to come has no effective cost, what uses it has no billed one.
SEATS = """payment_invoice AS invoice CROSS JOIN (VALUES ('Purchase'), ('Usage')) AS side (name)
     WHERE invoice.organisation_id = %(organisation_id)s AND invoice.kind = 'seats'
       AND invoice.state IN ('open', 'paid') AND invoice.amount_micros > 0
       AND invoice.billed_at >= %(start)s AND invoice.billed_at < %(end)s"""


def _of_side(name: str, sql: str, otherwise: str = "NULL") -> str:
    return f"CASE side.name WHEN '{name}' THEN {sql} ELSE {otherwise} END"


SEAT = (
    _ALWAYS
    | _NOBODY
    | _priced("invoice.amount_micros")
    | {
        "BilledCost": _of_side("Purchase", usd("invoice.amount_micros"), NOTHING),
        "ChargeCategory": "side.name",
        "ChargeClass": "NULL",
        "ChargeDescription": _of_side("Purchase", "'Seats bought'", "'Seats'"),
        "ChargeFrequency": _literal("Recurring"),
        "ChargePeriodEnd": _hour("(invoice.billed_at + interval '1 hour')"),
        "ChargePeriodStart": _hour("invoice.billed_at"),
        "ConsumedQuantity": _of_side("Usage", "'1.0'"),
        "ConsumedUnit": _of_side("Usage", "'Subscriptions'"),
        "EffectiveCost": _of_side("Usage", usd("invoice.amount_micros"), NOTHING),
        "InvoiceDetailId": "coalesce(invoice.invoice_id, invoice.id::text) || '/' || side.name",
        "InvoiceId": "coalesce(invoice.invoice_id, invoice.id::text)",
        "PricingCategory": _literal("Standard"),
        "PricingQuantity": _literal("1.0"),
        "PricingUnit": _literal("Subscriptions"),
        "SkuId": _literal("seats"),
        "SkuMeter": _literal("Subscriptions"),
        "SkuPriceDetails": "NULL",
        "SkuPriceId": _literal("seats"),
        "x_BalanceChange": NOTHING,
        "x_SettledAt": moment("invoice.billed_at"),
        "x_TransferId": "NULL",
    }
)
