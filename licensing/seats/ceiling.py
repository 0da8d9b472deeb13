"""How many seats there are, how many are taken, and what is said when none is left."""

import uuid
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from licensing import tiers
from licensing.db import now
from licensing.errors import AtelierError, NotFound
from licensing.seats.people import Member
from licensing.seats.roles import Status


class NoSeat(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The member may sign in and look, and may not generate."""

    code = "no_seat"
    status = 403


class SeatCeilingReached(AtelierError):  # noqa: N818 - reads as the answer that it is
    """Every seat of the organisation is assigned or held by a pending invite."""

    code = "seat_ceiling_reached"
    status = 409


def require_seat(member: Member) -> None:
    """Raise `NoSeat` unless the member is active and holds a seat."""
    if member.status != Status.ACTIVE:
        raise NoSeat("Your membership is suspended. An admin of your organisation can resume it.")
    if not member.seated:
        raise NoSeat(
            "You have no seat, so you cannot generate yet. An admin of your organisation can "
            "assign one."
        )


@dataclass(frozen=True)
class SeatUsage:
    """Seats of one organisation: `assigned` + `pending` + `left` = `ceiling`."""

    assigned: int
    pending: int
    ceiling: int

    @property
    def taken(self) -> int:
        """Seats that nobody else can have."""
        return self.assigned + self.pending

    @property
    def left(self) -> int:
        """Seats that can still be given away."""
        return max(self.ceiling - self.taken, 0)


def seat_usage(session: Session, organisation_id: uuid.UUID) -> SeatUsage:
    """Count the seats of an organisation; raises `NotFound`."""
    found = session.execute(_COUNT_SEATS, {"id": organisation_id, "now": now()}).one_or_none()
    if found is None:
        raise NotFound("This organisation does not exist.")
    return SeatUsage(assigned=found.assigned, pending=found.pending, ceiling=found.seat_ceiling)


def require_seat_left(session: Session, organisation_id: uuid.UUID) -> None:
    """Raise `SeatCeilingReached` if no seat is left. The caller holds `lock`."""
    usage = seat_usage(session, organisation_id)
    if usage.left == 0:
        raise SeatCeilingReached(
            f"All {usage.ceiling} seats are taken: {usage.assigned} assigned, {usage.pending} held "
            "by pending invites. Revoke a seat or an invite first, or "
            f"{_way_up(session, organisation_id, usage)} under /team?view=plan."
        )


def _way_up(session: Session, organisation_id: uuid.UUID, usage: SeatUsage) -> str:
    """Name the step that makes room for one more."""
    tier = tiers.of(session, organisation_id)
    larger = tiers.next_above(tier)
    if tier.allows(usage.ceiling + 1) or larger is None:
        return "buy more seats"
    return f"move to the {larger.name} plan ({tier.name} ends at {tier.seats_max} seats)"


# Both counts in one statement see one moment, so that an invite that turns into a member is
# counted once. A pending invite is one that was neither used nor revoked and has not run out.
_COUNT_SEATS = text(
    """
    SELECT organisation.seat_ceiling,
           (SELECT count(*) FROM member
             WHERE member.organisation_id = organisation.id AND member.seated) AS assigned,
           (SELECT count(*) FROM invite
             WHERE invite.organisation_id = organisation.id AND invite.seated
               AND invite.accepted_at IS NULL AND invite.revoked_at IS NULL
               AND invite.expires_at > :now) AS pending
      FROM organisation WHERE organisation.id = :id
    """
)
