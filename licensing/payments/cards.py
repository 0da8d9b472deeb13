"""Who an organisation is to the provider, and the cards that the provider keeps for it.

Owns `payment_customer` and `payment_card`. A card's number never comes here: four digits, a brand
and an id do. A card that was taken away does not come back by a late message.
"""

import uuid
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from licensing.db import now
from licensing.errors import NotFound
from licensing.payments.payloads import Mismatch, NotOurs, Payload, id_of, inner, text_of
from licensing.payments.tables import PaymentCard, PaymentCustomer


def customer_of(session: Session, organisation_id: uuid.UUID) -> str | None:
    """The provider's name for an organisation, once it has one."""
    query = select(PaymentCustomer.customer_id).where(
        PaymentCustomer.organisation_id == organisation_id
    )
    return session.scalars(query).one_or_none()


def organisation_of(session: Session, customer_id: str | None) -> uuid.UUID:
    """The organisation behind the provider's customer; raises `NotOurs`."""
    query = select(PaymentCustomer.organisation_id).where(
        PaymentCustomer.customer_id == customer_id
    )
    found = session.scalars(query).one_or_none()
    if found is None:
        raise NotOurs(f"No organisation here is the customer {customer_id}.")
    return found


def keep_customer(session: Session, organisation_id: uuid.UUID, customer_id: str) -> str:
    """Write the provider's name of an organisation; the first one that was written stays."""
    session.execute(
        insert(PaymentCustomer)
        .values(organisation_id=organisation_id, customer_id=customer_id, created_at=now())
        .on_conflict_do_nothing()
    )
    kept = customer_of(session, organisation_id)
    if kept is None:
        raise Mismatch(f"The customer {customer_id} belongs to another organisation.")
    return kept


def require_customer(session: Session, organisation_id: uuid.UUID, payload: Payload) -> None:
    """Raise `Mismatch` if a message about this organisation names another one's customer."""
    named = id_of(payload, "customer")
    if named != customer_of(session, organisation_id):
        raise Mismatch(f"The message names the customer {named}, who is somebody else here.")


def card_of(session: Session, organisation_id: uuid.UUID) -> PaymentCard | None:
    """The card that is charged: the one that was saved last."""
    query = (
        select(PaymentCard)
        .where(
            PaymentCard.organisation_id == organisation_id,
            PaymentCard.detached_at.is_(None),
            PaymentCard.brand != "",
        )
        .order_by(PaymentCard.attached_at.desc(), PaymentCard.id)
    )
    return session.scalars(query).first()


def require_card(session: Session, organisation_id: uuid.UUID, card_id: str) -> PaymentCard:
    """A saved card of this organisation; raises `NotFound` for anybody else's."""
    card = session.get(PaymentCard, card_id, populate_existing=True)
    if card is None or card.organisation_id != organisation_id or card.detached_at is not None:
        raise NotFound("There is no such card.")
    return card


def attached(session: Session, payload: Payload, at: datetime) -> uuid.UUID:
    """A card was saved, or its digits changed."""
    organisation_id = organisation_of(session, id_of(payload, "customer"))
    _write(session, organisation_id, payload, attached_at=at)
    return organisation_id


def detached(session: Session, payload: Payload, before: Payload, at: datetime) -> uuid.UUID:
    """A card was taken away; the message may come before the one that saved it."""
    known = session.get(PaymentCard, text_of(payload, "id"), populate_existing=True)
    organisation_id = (
        known.organisation_id
        if known is not None
        else organisation_of(session, id_of(before, "customer"))
    )
    _write(session, organisation_id, payload, attached_at=at, detached_at=at)
    return organisation_id


def forget(session: Session, card_id: str) -> None:
    """The provider has taken the card away on our word; its message says the same."""
    card = session.get(PaymentCard, card_id, populate_existing=True)
    if card is not None and card.detached_at is None:
        card.detached_at = now()


def _write(
    session: Session,
    organisation_id: uuid.UUID,
    payload: Payload,
    *,
    attached_at: datetime,
    detached_at: datetime | None = None,
) -> None:
    card = inner(payload, "card")
    values = {
        "brand": str(card.get("brand") or payload.get("type") or "card"),
        "last4": str(card.get("last4") or ""),
        "exp_month": int(card.get("exp_month") or 0),
        "exp_year": int(card.get("exp_year") or 0),
    }
    statement = insert(PaymentCard).values(
        id=text_of(payload, "id"),
        organisation_id=organisation_id,
        attached_at=attached_at,
        detached_at=detached_at,
        **values,
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[PaymentCard.id],
            set_={
                **values,
                "detached_at": func.coalesce(
                    PaymentCard.detached_at, statement.excluded.detached_at
                ),
            },
        )
    )
