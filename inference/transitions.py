"""One change of a generation's row, its event and its money: what `inference.lifecycle` is made of.

A change is one conditional UPDATE under the lane of the row's member; whoever loses a race changes
nothing. Locks come in this order: lane, row, budgets, hold, wallet.
"""

import uuid
from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, select, update
from sqlalchemy.orm import Session

from inference import events
from inference.generations import Generation
from licensing import budgets, ledger
from licensing.db import now

Ending = Literal["failed", "cancelled", "refused"]


def change(
    session: Session, generation_id: uuid.UUID, condition: ColumnElement[bool], **values: Any
) -> Generation | None:
    """Set `values` if `condition` holds: one UPDATE, under the lane of the row's member."""
    member_id = session.scalar(select(Generation.member_id).where(Generation.id == generation_id))
    if member_id is None:
        return None
    events.take_lane(session, member_id)
    return session.scalar(
        update(Generation)
        .where(Generation.id == generation_id, condition)
        .values(**values)
        .returning(Generation)
        .execution_options(populate_existing=True, synchronize_session=False)
    )


def close(
    session: Session,
    generation_id: uuid.UUID,
    condition: ColumnElement[bool],
    *,
    state: Ending,
    code: str | None = None,
    message: str | None = None,
) -> bool:
    """End the row without pictures and say so; its money is for `give_back`."""
    ended = change(
        session,
        generation_id,
        condition,
        state=state,
        finished_at=now(),
        error_code=code,
        error_message=message,
    )
    if ended is None:
        return False
    data = {} if state == "cancelled" else {"code": code, "message": message}
    emit(session, ended, state, **data)
    return True


def give_back(session: Session, generation_ids: Sequence[uuid.UUID], reason: str) -> None:
    """Free the budgets and holds of rows that this transaction ended.

    All budgets before all holds before the wallet, and last of everything: whoever ends several
    at once must not wait for a counter while others wait for the wallet.
    """
    budgets.free(session, generation_ids)
    if len(generation_ids) > 1:
        held = select(ledger.Hold.id).where(ledger.Hold.generation_id.in_(generation_ids))
        session.execute(held.order_by(ledger.Hold.id).with_for_update())
    for generation_id in generation_ids:
        ledger.release(session, generation_id, reason)


def end(
    session: Session,
    generation_id: uuid.UUID,
    condition: ColumnElement[bool],
    *,
    state: Ending,
    code: str | None = None,
    message: str | None = None,
) -> bool:
    """End the row without pictures and give its money back; False if `condition` does not hold."""
    ended = close(session, generation_id, condition, state=state, code=code, message=message)
    if ended:
        give_back(session, [generation_id], code or state)
    return ended


def mine(claimed: Generation) -> ColumnElement[bool]:
    """The row is still the attempt that `claimed` describes."""
    return and_(
        Generation.state == "running",
        Generation.worker == claimed.worker,
        Generation.attempts == claimed.attempts,
    )


def emit(session: Session, generation: Generation, kind: events.Kind, **data: Any) -> None:
    """Tell the member's pages what happened."""
    events.emit(
        session,
        generation_id=generation.id,
        member_id=generation.member_id,
        kind=kind,
        data=data,
    )
