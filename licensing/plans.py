"""Changing what an organisation has bought: its plan, and how many seats.

Called by the seat subscription when Stripe's events say so, and by the operator's command. What
must hold: the seats that are bought are never fewer than those that are taken, and never more than
the plan has. Taking a seat from somebody frees it and changes nothing here: revoking is not
reducing.
"""

import uuid
from dataclasses import dataclass

from sqlalchemy.orm import Session

from licensing import seats, tiers
from licensing.errors import Conflict, NotFound
from licensing.seats import Organisation, SeatUsage
from licensing.tiers import Tier

SEATS_BOUGHT_MAX = 100_000  # more is a slip of the finger, in any company


@dataclass(frozen=True)
class Plan:
    """What the organisation is on: `tier`, its seats, and the plan above it, if there is one."""

    tier: Tier
    seats: SeatUsage
    next_tier: Tier | None

    @property
    def room(self) -> int | None:
        """How many seats more could be bought on this plan; None where it has no end."""
        if self.tier.seats_max is None:
            return None
        return max(self.tier.seats_max - self.seats.ceiling, 0)


def read(session: Session, organisation_id: uuid.UUID) -> Plan:
    """Read an organisation's plan for a page; raises `NotFound`."""
    tier = tiers.of(session, organisation_id)
    return Plan(tier, seats.seat_usage(session, organisation_id), tiers.next_above(tier))


def set_ceiling(
    session: Session,
    organisation_id: uuid.UUID,
    ceiling: int,
    *,
    actor_id: uuid.UUID | None = None,
    detail: str = "",
    keep_taken: bool = False,
) -> int:
    """Set how many seats are bought; returns the number that holds from now on.

    The same number again changes nothing. Raises `Conflict` below what is taken, unless
    `keep_taken` says to stop there (the payer has cut the number already, and nobody loses a seat
    for it), and above what the plan has.
    """
    organisation = seats.lock(session, organisation_id)
    tier = tiers.find(organisation.tier)
    taken = _require_fits(session, organisation_id, tier, ceiling, keep_taken=keep_taken)
    wanted = max(ceiling, taken)
    before = organisation.seat_ceiling
    if wanted != before:
        organisation.seat_ceiling = wanted
        words = f"{before} -> {wanted}" + (f", {detail}" if detail else "")
        _record(session, organisation, "ceiling", actor_id, words)
    return wanted


def change_tier(
    session: Session,
    organisation_id: uuid.UUID,
    tier_id: str,
    *,
    ceiling: int,
    actor_id: uuid.UUID | None = None,
    detail: str = "",
) -> Tier:
    """Move an organisation to another plan with that many seats.

    Raises `NotFound` for an unknown plan and `Conflict` as `set_ceiling`. Teams, domains and
    documents stay; what the new plan does not have is closed until the organisation is back.
    """
    organisation = seats.lock(session, organisation_id)
    tier = tiers.find(tier_id)
    if tier not in tiers.offered() and tier.id != organisation.tier:
        raise NotFound(f"The {tier.name} plan is not on offer any more.")
    _require_fits(session, organisation_id, tier, ceiling, keep_taken=False)
    before = (organisation.tier, organisation.seat_ceiling)
    if before != (tier.id, ceiling):
        organisation.tier, organisation.seat_ceiling = tier.id, ceiling
        words = f"{before[0]} ({before[1]}) -> {tier.id} ({ceiling})"
        words += f", {detail}" if detail else ""
        _record(session, organisation, "plan", actor_id, words)
    return tier


def _require_fits(
    session: Session, organisation_id: uuid.UUID, tier: Tier, ceiling: int, *, keep_taken: bool
) -> int:
    """Raise `Conflict` unless the plan and the people allow `ceiling`; return what is taken."""
    if not 0 < ceiling <= SEATS_BOUGHT_MAX:
        raise Conflict(f"Buy from 1 to {SEATS_BOUGHT_MAX:,} seats (not {ceiling}).")
    if not tier.allows(ceiling):
        larger = tiers.next_above(tier)
        onward = f" Move to {larger.name} for more." if larger else ""
        raise Conflict(
            f"The {tier.name} plan ends at {tier.seats_max} seats (not {ceiling}).{onward}"
        )
    usage = seats.seat_usage(session, organisation_id)
    if usage.taken > ceiling and not keep_taken:
        raise Conflict(
            f"{usage.taken} seats are taken ({usage.assigned} assigned, {usage.pending} held by "
            f"pending invites), so {ceiling} are too few. Revoke {usage.taken - ceiling} first; "
            "revoking alone does not lower what you pay."
        )
    return usage.taken


def _record(
    session: Session,
    organisation: Organisation,
    kind: str,
    actor_id: uuid.UUID | None,
    detail: str,
) -> None:
    actor = None if actor_id is None else seats.get_member(session, actor_id)
    seats.record(session, organisation.id, kind, actor=actor, detail=detail)
