"""Money that comes in, and what is put right: top-up, grant, adjustment, lost dispute.

Each verb locks the wallet, so that its checks and its movement are one step to everybody else.
"""

import uuid
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from licensing.errors import Conflict, NotFound
from licensing.ledger.lots import lot_of, open_lot, take
from licensing.ledger.posting import Entry, post, posted, stored_key
from licensing.ledger.tables import Transfer
from licensing.ledger.wallet import InvalidEntry, checked_words, freeze, lock
from licensing.money import checked, format_usd

__all__ = ["InvalidEntry", "adjust", "chargeback", "grant", "top_up", "top_up_of"]


def top_up(
    session: Session,
    organisation_id: uuid.UUID,
    amount_micros: int,
    *,
    key: str,
    author_id: uuid.UUID | None,
    note: str,
    expires_at: datetime | None = None,
) -> Transfer:
    """Put money that was paid into a wallet, as a lot of its own; what is owed is paid from it.

    The same `key` again returns the first transfer and moves nothing. Raises `InvalidAmount`,
    `InvalidEntry`, and `Conflict` if the key was used for another amount.
    """
    entry = Entry(
        organisation_id=organisation_id,
        kind="top_up",
        source="cash",
        destination="wallet",
        amount_micros=checked(amount_micros),
        key=key,
        author_id=author_id,
        note=note,
    )
    return _bring(session, entry, kind="paid", expires_at=expires_at)


def grant(
    session: Session,
    organisation_id: uuid.UUID,
    amount_micros: int,
    *,
    key: str,
    author_id: uuid.UUID | None,
    note: str,
    expires_at: datetime | None,
) -> Transfer:
    """Give money that nobody paid for: a promotional lot, spent before paid ones.

    The same `key` again returns the first transfer and moves nothing. Raises as `top_up`.
    """
    entry = Entry(
        organisation_id=organisation_id,
        kind="grant",
        source="promotion",
        destination="wallet",
        amount_micros=checked(amount_micros),
        key=key,
        author_id=author_id,
        note=note,
    )
    return _bring(session, entry, kind="promotional", expires_at=expires_at)


def adjust(
    session: Session,
    organisation_id: uuid.UUID,
    amount_micros: int,
    *,
    key: str,
    author_id: uuid.UUID | None,
    reason: str,
) -> Transfer:
    """Put a balance right by hand, up (a promotional lot without an end) or down (negative).

    Down takes at most what is available; more is a `Conflict` that says how much could be. Raises
    as `top_up`, and `InvalidEntry` without a reason.
    """
    checked_words(reason)
    is_up = type(amount_micros) is not int or amount_micros > 0
    entry = Entry(
        organisation_id=organisation_id,
        kind="adjust",
        source="adjustment" if is_up else "wallet",
        destination="wallet" if is_up else "adjustment",
        amount_micros=checked(amount_micros if is_up else -amount_micros),
        key=key,
        author_id=author_id,
        note=reason,
    )
    if is_up:
        return _bring(session, entry, kind="promotional", expires_at=None)
    available_micros = lock(session, organisation_id).available_micros
    made = posted(session, entry)
    if made is not None:
        return made
    if entry.amount_micros > available_micros:
        raise Conflict(f"At most {format_usd(max(0, available_micros))} can be taken out now.")
    made = post(session, entry)
    take(session, made)
    return made


def chargeback(
    session: Session,
    organisation_id: uuid.UUID,
    amount_micros: int,
    *,
    top_up_key: str,
    key: str,
    note: str,
) -> Transfer:
    """Book a lost dispute: the payment is gone, even if it was spent, and the wallet is frozen.

    The disputed lot pays first, then the others; the rest is owed. Raises `NotFound` for an unknown
    top-up, and `Conflict` for more than it brought.
    """
    lock(session, organisation_id)
    paid = top_up_of(session, organisation_id, top_up_key)
    entry = Entry(
        organisation_id=organisation_id,
        kind="chargeback",
        source="wallet",
        destination="cash",
        amount_micros=checked(amount_micros),
        key=key,
        author_id=None,
        note=note,
        origin_id=paid.id,
    )
    made = posted(session, entry)
    if made is not None:
        return made
    if amount_micros > paid.amount_micros:
        raise Conflict(f"That top-up brought {format_usd(paid.amount_micros)}, not more.")
    made = post(session, entry)
    take(session, made, first_id=lot_of(session, paid).id)
    amount = format_usd(amount_micros)
    freeze(
        session,
        organisation_id,
        f"a dispute took the payment of {amount} back",
        author_id=None,
        cause="dispute_lost",
    )
    return made


def top_up_of(session: Session, organisation_id: uuid.UUID, key: str) -> Transfer:
    """Find a top-up by the key it was made with; raises `NotFound`."""
    query = select(Transfer).where(
        Transfer.organisation_id == organisation_id,
        Transfer.key == stored_key("top_up", key),
        Transfer.kind == "top_up",
        Transfer.kind != "settle",  # lets the index of these keys be used
    )
    found = session.scalars(query).one_or_none()
    if found is None:
        raise NotFound("There is no such top-up.")
    return found


def _bring(session: Session, entry: Entry, *, kind: str, expires_at: datetime | None) -> Transfer:
    lock(session, entry.organisation_id)
    made = posted(session, entry)
    if made is None:
        made = post(session, entry)
        open_lot(session, made, kind, expires_at)
    return made
