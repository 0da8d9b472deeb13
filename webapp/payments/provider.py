"""The provider's client, and its errors in our words.

Only this package imports `stripe`. A client is made for each use and shares nothing; each call that
makes something bears a key of ours, so that asking again after a lost answer makes nothing twice.
Never call it with a transaction open.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests
import stripe

from licensing.db import in_transaction
from licensing.errors import AtelierError, Conflict
from webapp.payment_settings import PaymentSettings
from webapp.studio import Studio

# A call takes about a second, and a person waits at a page.
ANSWER_SECONDS_MAX = 20.0
RETRIES = 2  # by the SDK, under the same key

log = logging.getLogger("atelier.payments")


class PaymentsOff(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The studio was started without a payment provider."""

    code = "payments_off"
    status = 503

    def __init__(self) -> None:
        super().__init__(
            "This studio takes no payments: its operator has set no STRIPE_SECRET_KEY."
        )


class ProviderAway(AtelierError):  # noqa: N818 - says what happened
    """The provider did not answer, or not in a way that says what it did."""

    code = "payment_provider_away"
    status = 502

    def __init__(self) -> None:
        super().__init__(
            "The payment provider does not answer. Nothing is charged twice; try again in a minute."
        )


class ProviderRefused(Conflict):
    """The provider understood, and will not do it."""

    code = "payment_provider_refused"


class PaymentDeclined(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The card's bank said no; `message` is the provider's sentence for the payer."""

    code = "payment_declined"
    status = 402

    def __init__(self, message: str, payment_intent_id: str | None = None) -> None:
        super().__init__(message)
        self.payment_intent_id = payment_intent_id


def settings_of(studio: Studio) -> PaymentSettings:
    """How this studio reaches its provider; raises `PaymentsOff`."""
    if studio.settings.payments is None:
        raise PaymentsOff
    return studio.settings.payments


def connect(studio: Studio) -> stripe.StripeClient:
    """A client for one use; raises `PaymentsOff`."""
    settings = settings_of(studio)
    session = requests.Session()
    # The stand-in is on this machine: no proxy of the environment stands in between.
    session.trust_env = settings.api_base is None
    return stripe.StripeClient(
        settings.secret_key,
        base_addresses={"api": settings.api_base} if settings.api_base else None,
        max_network_retries=RETRIES,
        http_client=OutsideTransactions(timeout=ANSWER_SECONDS_MAX, session=session),
    )


class OutsideTransactions(stripe.RequestsClient):
    """Refuses to wait for the provider while rows are locked: that is a fault of ours."""

    def request(self, *arguments: Any, **named: Any) -> Any:
        """Send a request; no transaction may be open in this thread."""
        assert not in_transaction(), "the provider is asked with no transaction open"
        return super().request(*arguments, **named)


@contextmanager
def answers() -> Iterator[None]:
    """Turn the provider's errors into ours, for the length of the block."""
    try:
        yield
    except stripe.CardError as error:
        intent = error.error.payment_intent if error.error else None
        message = error.user_message or "The card was declined."
        raise PaymentDeclined(message, intent["id"] if intent else None) from error
    except stripe.InvalidRequestError as error:
        log.warning("the payment provider refuses: %s", error)
        message = error.user_message or str(error)
        raise ProviderRefused(f"The payment provider refused: {message}") from error
    except stripe.StripeError as error:
        # Also a key that was used with other words, by an older release: it may have worked then.
        log.warning("the payment provider is away: %s", error)
        raise ProviderAway from error


def plain(answer: Any) -> Mapping[str, Any]:
    """Return the provider's answer as the mapping that its messages carry too."""
    found: Mapping[str, Any] = answer.to_dict()
    return found


def verified(studio: Studio, body: bytes, signature: str | None) -> Mapping[str, Any]:
    """Return the message in `body` if the provider signed it lately; raises `Forged`."""
    secret = settings_of(studio).webhook_secret
    try:
        stripe.WebhookSignature.verify_header(
            body.decode(), signature or "", secret, stripe.Webhook.DEFAULT_TOLERANCE
        )
    except (stripe.SignatureVerificationError, UnicodeDecodeError) as error:
        raise Forged from error
    return _read(body)


def _read(body: bytes) -> Mapping[str, Any]:
    """Read a verified body; raises `Forged` for anything but an object."""
    try:
        found = json.loads(body)
    except ValueError as error:
        raise Forged from error
    if not isinstance(found, dict):
        raise Forged
    return {str(name): _without_nul(value) for name, value in found.items()}


def _without_nul(value: Any) -> Any:
    """Drop what PostgreSQL keeps in no text; nothing that names money contains it."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {str(_without_nul(name)): _without_nul(item) for name, item in value.items()}
    return value


class Forged(AtelierError):  # noqa: N818 - reads as the answer that it is
    """A message that the provider did not sign, or not lately."""

    code = "forged"
    status = 400

    def __init__(self) -> None:
        super().__init__("This message bears no valid signature of the payment provider.")
