"""Test cards: the numbers that mean something here, as in Stripe's test mode. Pure.

A card's number is never kept; its last four digits say how it behaves. A number that is not listed
is refused: nobody shall type a real card into a stand-in.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Decline:
    """A bank's no, in the words that Stripe uses for it."""

    code: str
    decline_code: str | None
    message: str


DECLINED = Decline("card_declined", "generic_decline", "Your card was declined.")
DECLINES = {
    "generic_decline": DECLINED,
    "insufficient_funds": Decline(
        "card_declined", "insufficient_funds", "Your card has insufficient funds."
    ),
    "lost_card": Decline("card_declined", "lost_card", "Your card was declined."),
    "expired_card": Decline("expired_card", None, "Your card has expired."),
    "incorrect_cvc": Decline("incorrect_cvc", None, "Your card's security code is incorrect."),
    "processing_error": Decline(
        "processing_error", None, "An error occurred while processing your card."
    ),
    "authentication_required": Decline(
        "authentication_required",
        "authentication_required",
        "Your card was declined. This transaction requires authentication.",
    ),
}


@dataclass(frozen=True)
class TestCard:
    """One number and what its bank does."""

    __test__ = False  # a card for tests, not a test

    number: str
    brand: str
    purpose: str
    token: str  # how the SDK names it without a page, as in Stripe's test mode
    decline: Decline | None = None  # at once, on the page and when it is saved
    later_decline: Decline | None = None  # once it is saved
    is_confirmed_first: bool = False  # its holder is asked on the page; a saved one may be charged
    is_confirmed_always: bool = False  # its holder is asked each time
    is_disputed: bool = False  # its holder disputes the payment a day later

    @property
    def last4(self) -> str:
        return self.number[-4:]


CARDS = (
    TestCard("4242424242424242", "visa", "Pays", "pm_card_visa"),
    TestCard("5555555555554444", "mastercard", "Pays", "pm_card_mastercard"),
    TestCard(
        "4000002500003155",
        "visa",
        "Asks its holder to confirm, then pays",
        "pm_card_authenticationRequiredOnSetup",
        is_confirmed_first=True,
    ),
    TestCard(
        "4000002760003184",
        "visa",
        "Asks its holder each time, also when it is saved",
        "pm_card_authenticationRequired",
        is_confirmed_always=True,
    ),
    TestCard(
        "4000000000000259",
        "visa",
        "Pays, and disputes the payment a day later",
        "pm_card_createDispute",
        is_disputed=True,
    ),
    TestCard(
        "4000000000000341",
        "visa",
        "Can be saved, then every payment is declined",
        "pm_card_chargeCustomerFail",
        later_decline=DECLINED,
    ),
    TestCard(
        "4000000000000002",
        "visa",
        "Is declined",
        "pm_card_visa_chargeDeclined",
        decline=DECLINED,
    ),
    TestCard(
        "4000000000009995",
        "visa",
        "Is declined: too little money",
        "pm_card_visa_chargeDeclinedInsufficientFunds",
        decline=DECLINES["insufficient_funds"],
    ),
    TestCard(
        "4000000000000069",
        "visa",
        "Is declined: expired",
        "pm_card_chargeDeclinedExpiredCard",
        decline=DECLINES["expired_card"],
    ),
)


def by_number(number: str) -> TestCard | None:
    """Return the card with this number, however it is spaced."""
    digits = "".join(number.split()).replace("-", "")
    return next((card for card in CARDS if card.number == digits), None)


def by_last4(last4: str) -> TestCard:
    """Return the card that a stored payment method was made from."""
    return next(card for card in CARDS if card.last4 == last4)


def by_token(token: str) -> TestCard | None:
    """Return the card that a ready-made test token names."""
    return next((card for card in CARDS if card.token == token), None)
