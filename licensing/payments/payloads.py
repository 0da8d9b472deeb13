"""Reading what the provider sends: checked fields, or an error that says which one is wrong.

A payload's signature was verified before it came here; its contents are still only what somebody
at the provider wrote. Whatever names money is compared with the row that we wrote first.
"""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from licensing.errors import AtelierError, Conflict
from licensing.money import MICROS_PER_CENT, cents_to_micros

CURRENCY = "usd"  # the ledger counts nothing else
PAYMENT_KEY = "atelier_payment"  # metadata that we put on what we make at the provider
ORGANISATION_KEY = "atelier_organisation"
REFUND_KEY = "atelier_refund"
INVOICE_KEY = "atelier_invoice"
TIER_KEY = "atelier_tier"

Payload = Mapping[str, Any]


class NotOurs(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The event is about something that this studio did not make: kept, and left alone."""

    code = "not_ours"
    status = 422


class Mismatch(Conflict):
    """The event contradicts our own row; nothing is moved until somebody has looked."""

    code = "payment_mismatch"


def text_of(payload: Payload, name: str) -> str:
    """Read a field that must be a text; raises `Mismatch`."""
    value = payload.get(name)
    if not isinstance(value, str) or not value:
        raise Mismatch(f"The provider's message has no {name}.")
    return value


def id_of(payload: Payload, name: str) -> str | None:
    """Read a field that names an object: its id, or the object itself with the id inside."""
    value = payload.get(name)
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if isinstance(value, str) and value else None


def cents_of(payload: Payload, name: str) -> int:
    """Read a field that counts cents, as micros; raises `Mismatch`."""
    value = payload.get(name)
    if type(value) is not int or value < 0:
        raise Mismatch(f"The provider's message has no {name}.")
    return cents_to_micros(value)


def time_of(payload: Payload, name: str) -> datetime | None:
    """Read a field that counts seconds since 1970."""
    value = payload.get(name)
    return datetime.fromtimestamp(value, UTC) if type(value) is int else None


def inner(payload: Payload, *names: str) -> Payload:
    """Follow names inwards; an empty mapping where one of them is missing."""
    for name in names:
        found = payload.get(name)
        if not isinstance(found, Mapping):
            return {}
        payload = found
    return payload


def metadata_id(payload: Payload, key: str) -> uuid.UUID | None:
    """Read one of our own ids from the metadata; None for what we did not write."""
    try:
        return uuid.UUID(inner(payload, "metadata").get(key))
    except (TypeError, ValueError, AttributeError):
        return None


def require_currency(payload: Payload) -> None:
    """Raise `Mismatch` for money that the ledger does not count."""
    if payload.get("currency") != CURRENCY:
        raise Mismatch(f"The money is in {payload.get('currency')!r}, not in US dollars.")


def cents(amount_micros: int) -> int:
    """Return whole cents, as the provider counts them; raises `Conflict` for a part of a cent."""
    whole, rest = divmod(amount_micros, MICROS_PER_CENT)
    if rest:
        raise Conflict("Payments are made in whole cents.")
    return whole
