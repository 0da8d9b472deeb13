"""Money that goes back: to whoever paid it in, or into the wallet for a picture."""

import uuid

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session, aliased

from licensing import usage
from licensing.errors import Conflict, NotFound
from licensing.ledger import statements
from licensing.ledger.funds import top_up_of
from licensing.ledger.lots import lot_of, take
from licensing.ledger.posting import Entry, enter, move, post, posted
from licensing.ledger.tables import Hold, Transfer
from licensing.ledger.wallet import checked_words, lock
from licensing.money import checked, format_usd


def refund_top_up(
    session: Session,
    organisation_id: uuid.UUID,
    amount_micros: int,
    *,
    top_up_key: str,
    key: str,
    author_id: uuid.UUID | None,
    note: str,
) -> Transfer:
    """Book money back to its payer, out of the lot that it brought.

    At most what that lot still has and what is available; more is a `Conflict` that says how much
    could be. The same `key` again moves nothing. Raises `NotFound` for an unknown top-up.
    """
    available_micros = lock(session, organisation_id).available_micros
    paid = top_up_of(session, organisation_id, top_up_key)
    entry = Entry(
        organisation_id=organisation_id,
        kind="refund_top_up",
        source="wallet",
        destination="cash",
        amount_micros=checked(amount_micros),
        key=key,
        author_id=author_id,
        note=note,
        origin_id=paid.id,
    )
    made = posted(session, entry)
    if made is not None:
        return made
    lot = lot_of(session, paid)
    unreturned_micros = paid.amount_micros - _returned_micros(session, paid)
    most_micros = max(0, min(lot.remaining_micros, unreturned_micros, available_micros))
    if amount_micros > most_micros:
        raise Conflict(
            f"At most {format_usd(most_micros)} of this top-up can be paid back now: the rest is "
            "spent or waits for running work."
        )
    made = post(session, entry)
    take(session, made, first_id=lot.id)
    return made


def return_refund(
    session: Session, organisation_id: uuid.UUID, refund_id: int, *, key: str, note: str
) -> Transfer:
    """Put the money of a refund that did not arrive back into the lots that had paid it.

    `refund_id` is the transfer that took it out, all of which comes back. What was owed meanwhile
    is paid first. The same `key` again moves nothing. Raises `NotFound` for another transfer.
    """
    lock(session, organisation_id)
    refund = session.get(Transfer, refund_id)
    if refund is None or refund.kind not in ("refund_top_up", "chargeback"):
        raise NotFound("There is no such refund.")
    entry = Entry(
        organisation_id=organisation_id,
        kind="return_refund",
        source="cash",
        destination="wallet",
        amount_micros=refund.amount_micros,
        key=key,
        author_id=None,
        note=note,
        origin_id=refund.id,
    )
    made = posted(session, entry)
    if made is not None:
        return made
    if _returned_micros(session, refund):
        raise Conflict("This refund has come back already.")
    made = post(session, entry)
    _give_back(session, made)
    return made


def refund_generation(
    session: Session,
    generation_id: uuid.UUID,
    amount_micros: int,
    *,
    key: str,
    author_id: uuid.UUID | None,
    reason: str,
) -> Transfer:
    """Give back what a generation was charged, or a part, into the lots that paid for it.

    Writes the correcting usage line in the same transaction. At most what was charged, in sum; more
    is a `Conflict`. The same `key` again moves nothing. Raises `NotFound` if it was never charged.
    """
    checked_words(reason)
    charge = _lock_charge(session, generation_id)
    entry = Entry(
        organisation_id=charge.organisation_id,
        kind="refund_generation",
        source="revenue",
        destination="wallet",
        amount_micros=checked(amount_micros),
        key=key,
        author_id=author_id,
        note=reason,
        origin_id=charge.id,
    )
    made = posted(session, entry)
    if made is not None:
        return made
    left_micros = charge.amount_micros - _returned_micros(session, charge)
    if amount_micros > left_micros:
        raise Conflict(f"At most {format_usd(left_micros)} of this charge is left to give back.")
    made = enter(session, entry)
    # The day's sums lock a row that a finishing job locks before the wallet: so do we.
    usage.correct(
        session,
        generation_id=generation_id,
        amount_micros=-amount_micros,
        reason=reason,
        author_id=author_id,
        transfer_id=made.id,
    )
    move(session, made)
    _give_back(session, made)
    return made


def _lock_charge(session: Session, generation_id: uuid.UUID) -> Transfer:
    """Find what a generation was charged; two refunds of it come one after the other."""
    query = (
        select(Transfer)
        .join(Hold, Hold.id == Transfer.hold_id)
        .where(Hold.generation_id == generation_id)
        .with_for_update(of=Hold)
    )
    found = session.scalars(query).one_or_none()
    if found is None:
        raise NotFound("Nothing was charged for this generation.")
    return found


def _give_back(session: Session, made: Transfer) -> None:
    """Let the lots that paid for what `made` takes back have it again."""
    values = {
        "organisation_id": made.organisation_id,
        "origin_id": made.origin_id,
        "transfer_id": made.id,
        "amount_micros": made.amount_micros,
    }
    session.execute(statements.GIVE_BACK, values)


def _returned_micros(session: Session, origin: Transfer) -> int:
    """Add up what was taken back of a transfer and stayed so.

    What ran out of its lot is not given back, and a refund that did not arrive was none.
    """
    came_back = aliased(Transfer)
    query = select(func.coalesce(func.sum(Transfer.amount_micros), 0)).where(
        Transfer.origin_id == origin.id,
        Transfer.kind != "expire",
        ~exists().where(came_back.origin_id == Transfer.id, came_back.kind == "return_refund"),
    )
    return int(session.scalars(query).one())
