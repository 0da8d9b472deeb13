"""What the web process reads about payments: Stripe's keys, or the stand-in for them, or nothing.

Without a key a demonstration (its provider signs people in, on loopback alone) gets the stand-in,
which moves play money; any other studio takes no payments until it is given a key. Read by
`webapp.settings`, once, at the start.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

STANDIN = "standin"  # what STRIPE_SECRET_KEY says to ask for the stand-in
STANDIN_PATH = "/stripe-standin"
# No secrets: whoever reaches a stand-in can pay with play money anyway.
STANDIN_KEY = "sk_test_standin"
STANDIN_WEBHOOK_SECRET = "whsec_standin"  # noqa: S105 - play money
SEAT_PRICE_VARIABLES = {
    "individual": "STRIPE_SEAT_PRICE_INDIVIDUAL",
    "business": "STRIPE_SEAT_PRICE_BUSINESS",
    "enterprise": "STRIPE_SEAT_PRICE_ENTERPRISE",
}
WEBHOOK_PATH = "/stripe/webhook"


class PaymentSettingsProblem(ValueError):  # noqa: N818 - one sentence for a person
    """One sentence for the person who starts the studio."""


@dataclass(frozen=True)
class PaymentSettings:
    """How to reach the provider. `api_base` is None for Stripe itself."""

    secret_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    api_base: str | None
    seat_prices: Mapping[str, str]  # plan -> the provider's price of one seat
    is_standin: bool = False


def read_payment_settings(
    environ: Mapping[str, str], url: str, *, is_demo: bool, is_loopback: bool
) -> PaymentSettings | None:
    """Read STRIPE_*; None where payments are off. Raises `PaymentSettingsProblem`."""
    key = environ.get("STRIPE_SECRET_KEY") or (STANDIN if is_demo else "")
    if not key:
        return None
    prices = {tier: environ.get(name) for tier, name in SEAT_PRICE_VARIABLES.items()}
    if key == STANDIN:
        if not is_loopback:
            raise PaymentSettingsProblem(
                "STRIPE_SECRET_KEY=standin moves play money and answers on this machine alone: "
                "write a key of Stripe's there, or leave ATELIER_HOST and ATELIER_URL on 127.0.0.1."
            )
        return PaymentSettings(
            secret_key=STANDIN_KEY,
            webhook_secret=environ.get("STRIPE_WEBHOOK_SECRET") or STANDIN_WEBHOOK_SECRET,
            api_base=environ.get("STRIPE_API_BASE") or f"{url}{STANDIN_PATH}",
            seat_prices={tier: prices[tier] or f"price_standin_{tier}" for tier in prices},
            is_standin=True,
        )
    if not key.startswith(("sk_", "rk_")):
        raise PaymentSettingsProblem(
            "STRIPE_SECRET_KEY must be a secret key of Stripe's (sk_... or rk_...), or: standin."
        )
    secret = environ.get("STRIPE_WEBHOOK_SECRET")
    if not secret:
        raise PaymentSettingsProblem(
            "STRIPE_SECRET_KEY is set, STRIPE_WEBHOOK_SECRET is not: add the endpoint "
            f"{url}{WEBHOOK_PATH} at Stripe and write its signing secret there."
        )
    return PaymentSettings(
        secret_key=key,
        webhook_secret=secret,
        api_base=environ.get("STRIPE_API_BASE") or None,
        seat_prices={tier: price for tier, price in prices.items() if price},
    )
