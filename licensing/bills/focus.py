"""The bill in the FinOps Open Cost and Usage Specification (FOCUS), versions 1.2 and 1.4.

A prepaid product has two moments: money is paid in, and pictures use it up. A top-up is a
`Purchase` whose cash stands in BilledCost and which costs nothing yet (EffectiveCost 0); a picture
is `Usage` with BilledCost 0 and its price in EffectiveCost. So the sum of BilledCost is what was
paid, the sum of EffectiveCost what was used. `x_BalanceChange` says what each row did to the
wallet; its sum is the month's closing balance less its opening one. Refunds to the payer and lost
disputes take BilledCost back; gifts and goodwill are `Credit` rows that cost nobody anything; money
that ran out unused is an `Adjustment` with an effective cost. Seats are bought by invoice and touch
no wallet.

Amounts are US dollars with six decimals, times UTC with exclusive ends; a charge lies in the hour
in which it was settled. Members are named by their id alone: the specification wants no names or
addresses of people. Both versions share all but a few columns.
"""

from licensing.bills import focus_rows
from licensing.bills.profiles import LINES, Column, Kind, Part, Profile

_ISSUER = f"'{focus_rows.ISSUER}'"

_KINDS: dict[str, Kind] = {
    **dict.fromkeys(
        (
            "BillingAccountName",
            "ChargeDescription",
            "InvoiceDetailId",
            "InvoiceId",
            "SkuId",
            "SkuPriceId",
            "SubAccountName",
            "x_ApiKeyName",
            "x_Model",
            "x_PriceVersion",
        ),
        "words",
    ),
    **dict.fromkeys(
        (
            "BilledCost",
            "ConsumedQuantity",
            "ContractedCost",
            "ContractedUnitPrice",
            "EffectiveCost",
            "ListCost",
            "ListUnitPrice",
            "PricingCurrencyContractedUnitPrice",
            "PricingCurrencyEffectiveCost",
            "PricingCurrencyListUnitPrice",
            "PricingQuantity",
            "x_BalanceChange",
        ),
        "decimal",
    ),
    **dict.fromkeys(
        (
            "BillingPeriodEnd",
            "BillingPeriodStart",
            "ChargePeriodEnd",
            "ChargePeriodStart",
            "x_SettledAt",
        ),
        "moment",
    ),
    **dict.fromkeys(("x_LineId", "x_TransferId"), "count"),
}

_PROVIDERS_1_2 = {"ProviderName": _ISSUER, "PublisherName": _ISSUER}
_PROVIDERS_1_4 = {"HostProviderName": _ISSUER, "ServiceProviderName": _ISSUER}


def _part(values: dict[str, str], source: str, order: str) -> Part:
    """FOCUS columns first, in the order of the alphabet, then our own, which begin with `x_`."""
    values = values | {
        "PricingCurrencyContractedUnitPrice": values["ContractedUnitPrice"],
        "PricingCurrencyEffectiveCost": values["EffectiveCost"],
        "PricingCurrencyListUnitPrice": values["ListUnitPrice"],
    }
    names = sorted(values, key=lambda name: (name.startswith("x_"), name))
    columns = [Column(name, values[name], _KINDS.get(name, "text")) for name in names]
    return Part(source=source, values=columns, order=order)


def _profile(version: str, providers: dict[str, str], without: frozenset[str]) -> Profile:
    def chosen(values: dict[str, str]) -> dict[str, str]:
        return {name: sql for name, sql in (values | providers).items() if name not in without}

    return Profile(
        name=f"focus-{version}/1",
        stem=f"atelier-focus-{version}",
        parts=(
            _part(chosen(focus_rows.USAGE), LINES, "line.at, line.id"),
            _part(chosen(focus_rows.MOVED), focus_rows.MOVEMENTS, "moved.at, moved.id"),
            _part(
                chosen(focus_rows.SEAT),
                focus_rows.SEATS,
                "invoice.created_at, invoice.id, side.name",
            ),
        ),
    )


FOCUS_1_2 = _profile("1.2", _PROVIDERS_1_2, frozenset({"InvoiceDetailId"}))
FOCUS_1_4 = _profile("1.4", _PROVIDERS_1_4, frozenset())
