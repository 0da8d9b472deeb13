"""The switch of each model: who switched it off or on for everybody, when and why.

Owns the append-only table `model_switch`; the latest row of a model counts, and a model without
one is on. `licensing.licence` asks it before any work; `inference.withdrawal` stops the work that
is on its way when a model goes off.
"""

import uuid
from datetime import datetime
from typing import Literal

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base, now
from licensing.errors import Conflict

REASON_CHARACTERS_MAX = 500  # a few sentences that people read where they wanted to choose it

Action = Literal["revoked", "restored", "deleted"]


def latest(session: Session, model_id: str) -> "ModelSwitch | None":
    """The last time the model was switched off or on; None if it never was."""
    query = select(ModelSwitch).where(
        ModelSwitch.model_id == model_id, ModelSwitch.action != "deleted"
    )
    return session.scalars(query.order_by(ModelSwitch.id.desc()).limit(1)).first()


def revoked(session: Session) -> dict[str, "ModelSwitch"]:
    """The models that are switched off now, by id."""
    query = (
        select(ModelSwitch)
        .where(ModelSwitch.action != "deleted")
        .ext(distinct_on(ModelSwitch.model_id))
        .order_by(ModelSwitch.model_id, ModelSwitch.id.desc())
    )
    return {row.model_id: row for row in session.scalars(query) if row.is_off}


def switches(session: Session, *, limit: int) -> list["ModelSwitch"]:
    """Who switched which model when, newest first."""
    return list(session.scalars(select(ModelSwitch).order_by(ModelSwitch.id.desc()).limit(limit)))


def switch(
    session: Session,
    model_id: str,
    action: Action,
    *,
    reason: str,
    given_by: str,
    author_id: uuid.UUID | None = None,
) -> "ModelSwitch":
    """Write that a model was switched off or on again, or that files of it were deleted.

    One at a time; readers are not held up. Raises `Conflict` without a reason or a name, and where
    the model stands so already.
    """
    session.execute(text("LOCK TABLE model_switch IN SHARE ROW EXCLUSIVE MODE"))
    why, who = " ".join(reason.split()), given_by.strip()
    if not why or len(why) > REASON_CHARACTERS_MAX or not why.isprintable():
        raise Conflict(
            f"Say why in at most {REASON_CHARACTERS_MAX} characters: whoever wanted to use the "
            "model will read it."
        )
    if not who or not who.isprintable():
        raise Conflict("Write the name of the person who says so.")
    before = latest(session, model_id)
    is_off = before is not None and before.is_off
    if action == "revoked" and is_off:
        raise Conflict(f"{model_id} is switched off already.")
    if action == "restored" and not is_off:
        raise Conflict(f"{model_id} is not switched off.")
    made = ModelSwitch(
        model_id=model_id,
        action=action,
        reason=why if why[-1] in ".!?" else f"{why}.",
        given_by=who,
        author_id=author_id,
        at=now(),
    )
    session.add(made)
    session.flush()
    return made


class ModelSwitch(Base):
    """A model went off or on, or its files were deleted. Append-only."""

    __tablename__ = "model_switch"
    __table_args__ = (
        CheckConstraint("action IN ('revoked', 'restored', 'deleted')", name="action"),
        Index("ix_model_switch_model_id_id", "model_id", "id"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    model_id: Mapped[str]
    action: Mapped[str]
    reason: Mapped[str]
    given_by: Mapped[str]
    author_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    at: Mapped[datetime]

    @property
    def is_off(self) -> bool:
        """Whether this row switches the model off."""
        return self.action == "revoked"
