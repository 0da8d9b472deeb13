"""Every change of a generation's state, with its money and its event, as one conditional UPDATE.

A function here says in its result whether this very call made the change. Whoever loses a race
(late worker, second sweep, cancel against finish) gets False and has changed nothing; so the hold
is settled or released once. The locks are always taken in this order: lane, row, budgets, hold,
wallet.
Called by the worker and, for `request_cancel`, by the web app; what takes a job away from its
worker is in `inference.repairs`.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import and_, func, select, update
from sqlalchemy.orm import Session

from inference import events
from inference.generations import IN_FLIGHT, Generation, Picture, access
from inference.transitions import change, close, emit, end, give_back, mine
from licensing import budgets, ledger, usage
from licensing.db import now
from licensing.seats import Member

Standing = Literal["go", "cancel", "lost"]


class HoldLost(RuntimeError):  # noqa: N818 - says what happened
    """The row is in flight and its hold is resolved: a fault; the transaction must not commit."""


@dataclass(frozen=True)
class Made:
    """A picture as the worker made and kept it; `refused` if the output filter said no to it."""

    id: uuid.UUID
    index: int
    seed: int
    key: str | None = None
    thumbnail_key: str | None = None
    sha256: str | None = None
    refused: bool = False


def claim(session: Session, generation_id: uuid.UUID, worker: str) -> Generation | None:
    """Make `worker` the one that runs it (queued -> running); None if it is not waiting.

    The returned row carries `worker` and `attempts`, which the later calls compare.
    """
    claimed = change(
        session,
        generation_id,
        Generation.state == "queued",
        state="running",
        worker=worker,
        attempts=Generation.attempts + 1,
        started_at=now(),
        heartbeat_at=func.clock_timestamp(),
        steps_done=0,
    )
    if claimed is not None:
        emit(session, claimed, "started", steps=claimed.steps_total, attempt=claimed.attempts)
    return claimed


def heartbeat(session: Session, claimed: Generation) -> Standing:
    """Say that the attempt lives, by the database's clock; learn whether to go on."""
    return _beat(session, claimed)


def standings(session: Session, claimed: Sequence[Generation]) -> dict[uuid.UUID, Standing]:
    """Learn whether these attempts may go on, without a heartbeat: one look at their rows."""
    rows = session.execute(
        select(
            Generation.id,
            Generation.state,
            Generation.worker,
            Generation.attempts,
            Generation.cancel_requested_at,
        ).where(Generation.id.in_([attempt.id for attempt in claimed]))
    ).all()
    found = {row.id: row for row in rows}
    return {attempt.id: _standing(attempt, found.get(attempt.id)) for attempt in claimed}


def progress(
    session: Session, claimed: Generation, *, step: int, steps: int, preview: str | None
) -> Standing:
    """Record that `step` of `steps` is done, as heartbeat and event; learn whether to go on."""
    events.take_lane(session, claimed.member_id)
    standing = _beat(session, claimed, steps_done=step, steps_total=steps)
    if standing != "lost":
        emit(session, claimed, "step", step=step, steps=steps, preview=preview)
    return standing


def note(
    session: Session, claimed: Generation, kind: Literal["loading", "saved"], **data: Any
) -> None:
    """Tell the page about a stage of the attempt that changes nothing else."""
    emit(session, claimed, kind, **data)


def finish(session: Session, claimed: Generation, made: Sequence[Made]) -> bool:
    """Deliver the pictures, settle for the delivered ones and write the usage line.

    The rest of the hold goes back. False too if a cancel was asked for before this: then nothing
    is delivered or charged. Raises `HoldLost` (roll back!) if the hold was resolved already.
    """
    delivered = sum(not picture.refused for picture in made)
    assert delivered > 0, "a generation without a delivered picture is refused, not finished"
    amount_micros = claimed.price_micros * delivered // claimed.images
    ended = change(
        session,
        claimed.id,
        and_(mine(claimed), Generation.cancel_requested_at.is_(None)),
        state="finished",
        finished_at=now(),
        charged_micros=amount_micros,
    )
    if ended is None:
        return False
    asked = ended.asked
    _keep(session, ended, made)
    emit(
        session,
        ended,
        "finished",
        charged_micros=amount_micros,
        pictures=[_picture_data(picture, asked.width, asked.height) for picture in made],
    )
    _record_usage(session, ended, delivered)
    budgets.resolve(session, ended.id, amount_micros)
    if not ledger.settle(session, ended.id, amount_micros):  # last: it locks the wallet
        raise HoldLost(f"generation {ended.id} finished without a hold")
    return True


def landed(session: Session, made: Sequence[Made]) -> bool:
    """Tell whether `finish` or `refuse` committed these pictures: the answer may have been lost."""
    ids = [picture.id for picture in made]
    return session.scalar(select(Picture.id).where(Picture.id.in_(ids)).limit(1)) is not None


def fail(session: Session, claimed: Generation, *, code: str, message: str) -> bool:
    """End the attempt and the generation; release the hold. `message` is shown to the person."""
    return end(session, claimed.id, mine(claimed), state="failed", code=code, message=message)


def refuse(
    session: Session,
    claimed: Generation,
    *,
    code: str,
    message: str,
    made: Sequence[Made] = (),
) -> bool:
    """End it because a content rule or filter said no to all of it; release the hold.

    `made`, all refused, are kept for the reviewer.
    """
    assert all(picture.refused for picture in made), "a delivered picture is finished and paid for"
    ended = close(session, claimed.id, mine(claimed), state="refused", code=code, message=message)
    if ended:
        _keep(session, claimed, made)
        give_back(session, [claimed.id], code)
    return ended


def cancel(session: Session, claimed: Generation) -> bool:
    """End it because somebody asked for that; release the hold."""
    return end(session, claimed.id, mine(claimed), state="cancelled")


def request_cancel(session: Session, member: Member, generation_id: uuid.UUID) -> Generation:
    """Cancel a waiting generation at once, ask the worker of a running one; else do nothing.

    Returns the row as it is now. Raises `NotFound` for what is not the member's own.
    """
    own = access(session, member, generation_id)
    if own.state == "queued" and end(
        session, own.id, Generation.state == "queued", state="cancelled"
    ):
        return access(session, member, generation_id)
    change(
        session,
        own.id,
        and_(Generation.state == "running", Generation.cancel_requested_at.is_(None)),
        cancel_requested_at=now(),
    )
    session.refresh(own)
    return own


def cancel_all(session: Session, member_id: uuid.UUID) -> int:
    """Cancel what a member has in flight, as `request_cancel` does: the seat or person is gone.

    Returns how many were told to stop.
    """
    stopped = 0
    ended: list[uuid.UUID] = []
    events.take_lane(session, member_id)
    for generation_id in session.scalars(
        select(Generation.id).where(
            Generation.member_id == member_id, Generation.state.in_(IN_FLIGHT)
        )
    ).all():
        if close(session, generation_id, Generation.state == "queued", state="cancelled"):
            ended.append(generation_id)
            continue
        running = Generation.state == "running"
        stopped += bool(change(session, generation_id, running, cancel_requested_at=now()))
    give_back(session, ended, "cancelled")
    return stopped + len(ended)


def _record_usage(session: Session, ended: Generation, delivered: int) -> None:
    asked = ended.asked
    usage.record(
        session,
        generation_id=ended.id,
        organisation_id=ended.organisation_id,
        member_id=ended.member_id,
        model=ended.model,
        images=delivered,
        width=asked.width,
        height=asked.height,
        amount_micros=ended.charged_micros,
        price_version=ended.price_version,
        price_class=ended.price_class,
        unit_price_micros=ended.price_micros // ended.images,
        project=ended.project,
        team_id=ended.team_id,
        api_key_id=ended.api_key_id,
    )


def _keep(session: Session, generation: Generation, made: Sequence[Made]) -> None:
    asked = generation.asked
    session.add_all(
        Picture(
            id=picture.id,
            generation_id=generation.id,
            index=picture.index,
            seed=picture.seed,
            width=asked.width,
            height=asked.height,
            key=picture.key,
            thumbnail_key=picture.thumbnail_key,
            sha256=picture.sha256,
            refused=picture.refused,
            created_at=now(),
        )
        for picture in made
    )
    if any(picture.refused for picture in made):
        events.forget_previews(session, generation.id)


def _beat(session: Session, claimed: Generation, **values: Any) -> Standing:
    told = session.execute(
        update(Generation)
        .where(Generation.id == claimed.id, mine(claimed))
        .values(heartbeat_at=func.clock_timestamp(), **values)
        .returning(Generation.cancel_requested_at)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if told is None:
        return "lost"
    return "go" if told.cancel_requested_at is None else "cancel"


def _standing(attempt: Generation, row: Any) -> Standing:
    mine_still = ("running", attempt.worker, attempt.attempts)
    if row is None or (row.state, row.worker, row.attempts) != mine_still:
        return "lost"
    return "go" if row.cancel_requested_at is None else "cancel"


def _picture_data(picture: Made, width: int, height: int) -> dict[str, Any]:
    return {
        "id": str(picture.id),
        "index": picture.index,
        "seed": picture.seed,
        "width": width,
        "height": height,
        "refused": picture.refused,
    }
