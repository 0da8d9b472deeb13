"""What an organisation's admins made stricter in the use policy, and when.

Owns the append-only table `policy_setting`; the latest row of a category counts. A category's floor
is the mildest action of its rules (`prompt_rules`): a setting raises it and cannot lower it, and
taking a setting back returns to the floor. Every prompt is judged with what `tightened` returns.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing import prompt_rules
from licensing.actors import require_admin
from licensing.db import Base, now
from licensing.errors import Conflict, NotFound
from licensing.prompt_rules import STRICTNESS, Action, Category
from licensing.seats import Member

REASON_CHARACTERS_MAX = 500  # a few sentences for whoever asks later


@dataclass(frozen=True)
class Standing:
    """A category as it stands in an organisation; `choices` are the floor and what is stricter."""

    category: Category
    action: Action
    choices: tuple[Action, ...]

    @property
    def is_tightened(self) -> bool:
        """Whether it is stricter than the floor."""
        return self.action != self.category.floor


def tightened(session: Session, organisation_id: uuid.UUID) -> dict[str, Action]:
    """Return the stricter actions, by category, for `moderation.check_prompt`."""
    query = (
        select(PolicySetting.category, PolicySetting.action)
        .where(PolicySetting.organisation_id == organisation_id)
        .ext(distinct_on(PolicySetting.category))
        .order_by(PolicySetting.category, PolicySetting.id.desc())
    )
    return {category: cast("Action", action) for category, action in session.execute(query)}


def standings(session: Session, organisation_id: uuid.UUID) -> list[Standing]:
    """Return every category as it stands, in the order of the rules' file."""
    chosen = tightened(session, organisation_id)
    return [
        Standing(
            category,
            prompt_rules.stricter(category.floor, chosen.get(category.id)),
            _choices(category),
        )
        for category in prompt_rules.load().categories.values()
    ]


def tighten(
    session: Session, actor: Member, category_id: str, action: str, *, reason: str
) -> "PolicySetting":
    """Set how a category is judged from now on. Raises `NotAllowed`, `NotFound` and `Conflict`."""
    actor = require_admin(session, actor)
    return _write(
        session,
        actor.organisation_id,
        actor.id,
        category_id=category_id,
        action=action,
        reason=reason,
    )


def tighten_as_operator(
    session: Session, organisation_id: uuid.UUID, category_id: str, action: str, *, reason: str
) -> "PolicySetting":
    """The same by the operator's command, written down as nobody's."""
    return _write(
        session, organisation_id, None, category_id=category_id, action=action, reason=reason
    )


def history(session: Session, organisation_id: uuid.UUID, *, limit: int) -> list["PolicySetting"]:
    """Who set what, newest first."""
    query = select(PolicySetting).where(PolicySetting.organisation_id == organisation_id)
    return list(session.scalars(query.order_by(PolicySetting.id.desc()).limit(limit)))


def _write(
    session: Session,
    organisation_id: uuid.UUID,
    member_id: uuid.UUID | None,
    *,
    category_id: str,
    action: str,
    reason: str,
) -> "PolicySetting":
    category = prompt_rules.load().categories.get(category_id)
    if category is None:
        raise NotFound("There is no such category.")
    why = " ".join(reason.split())
    if not why or len(why) > REASON_CHARACTERS_MAX or not why.isprintable():
        raise Conflict(f"Say why in at most {REASON_CHARACTERS_MAX} characters.")
    if action not in _choices(category):
        raise Conflict(
            f"{category.name} cannot be set to “{action}”: the licence asks for at least "
            f"“{category.floor}”."
        )
    now_in_force = tightened(session, organisation_id).get(category_id, category.floor)
    if action == now_in_force:
        raise Conflict(f"{category.name} stands at “{action}” already.")
    made = PolicySetting(
        organisation_id=organisation_id,
        member_id=member_id,
        category=category_id,
        action=action,
        reason=why,
        at=now(),
    )
    session.add(made)
    session.flush()
    return made


def _choices(category: Category) -> tuple[Action, ...]:
    actions: tuple[Action, ...] = ("label", "review", "block")
    return tuple(one for one in actions if STRICTNESS[one] >= STRICTNESS[category.floor])


class PolicySetting(Base):
    """One change of a category's action. Append-only."""

    __tablename__ = "policy_setting"
    __table_args__ = (
        CheckConstraint("action IN ('label', 'review', 'block')", name="action"),
        Index("ix_policy_setting_organisation_id_category_id", "organisation_id", "category", "id"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    member_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    category: Mapped[str]
    action: Mapped[str]
    reason: Mapped[str]
    at: Mapped[datetime]
