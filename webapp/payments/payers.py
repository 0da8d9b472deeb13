"""Who may pay: owners and finance, read afresh; and their organisation's name at the provider."""

import uuid
from typing import Any

from sqlalchemy.orm import Session

from licensing import seats
from licensing.db import now
from licensing.errors import NotAllowed
from licensing.payments import cards
from licensing.payments.payloads import ORGANISATION_KEY
from licensing.seats import Member, Page, Role, Status
from webapp.payments import provider
from webapp.studio import Studio


def require_payer(session: Session, member: Member) -> Member:
    """Return the member as they are now; raises `NotAllowed` for anybody but owner and finance."""
    fresh = seats.get_member(session, member.id)
    if fresh is None or fresh.status != Status.ACTIVE or not seats.may(fresh.role, Page.FINANCE):
        raise NotAllowed("Only an owner or finance can change how the organisation pays.")
    return fresh


def customer(studio: Studio, organisation_id: uuid.UUID) -> str:
    """Return the provider's name of an organisation, made at the first need.

    Two at once ask under one key and get one customer; should one be made and not written down
    here, it stays behind at the provider without a payment.
    """
    with studio.database.read() as session:
        known = cards.customer_of(session, organisation_id)
        organisation = seats.get_organisation(session, organisation_id)
        email = _owner_email(session, organisation_id)
    if known is not None:
        return known
    assert organisation is not None, "whoever asks for it has one"
    order: Any = {
        "name": organisation.name,
        "email": email,
        "metadata": {ORGANISATION_KEY: str(organisation.id)},
    }
    with provider.answers():
        made = provider.connect(studio).v1.customers.create(
            order, {"idempotency_key": f"customer:{organisation.id}:{now():%Y-%m-%d}:{email}"}
        )
    with studio.database.transaction() as session:
        return cards.keep_customer(session, organisation.id, made.id)


def _owner_email(session: Session, organisation_id: uuid.UUID) -> str:
    """Where the provider sends invoices and receipts: to the owner of longest standing."""
    owners = [
        member
        for member in seats.members(session, organisation_id)
        if member.role == Role.OWNER and member.status == Status.ACTIVE
    ]
    return min(owners, key=lambda owner: (owner.created_at, owner.id)).email if owners else ""


def metadata(key: str, value: uuid.UUID | str, organisation_id: uuid.UUID) -> dict[str, str]:
    """What our things bear at the provider, so that its messages lead back to our rows."""
    return {key: str(value), ORGANISATION_KEY: str(organisation_id)}
