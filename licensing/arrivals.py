"""The way in: a sign-in that finds a member, uses an invite or joins by a proved domain.

Accounts are keyed on (issuer, subject): an address opens an invite, and only if the provider
vouches for it. Called by `webapp.sso.sign_in`.
"""

import uuid

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from licensing import domains, seats, teams
from licensing.db import now
from licensing.domains import Domain, SeatPolicy
from licensing.errors import Conflict, NotAllowed, NotFound
from licensing.invites import Invite, digest, pending
from licensing.seats import Identity, Member, Role, Status


def sign_in(session: Session, identity: Identity) -> Member:
    """Return the member who signed in; somebody new comes in by an invite or by their domain.

    Raises `NotAllowed` for a stranger, for a suspended member and for the wrong provider.
    """
    member = seats.find_member(session, identity.issuer, identity.subject)
    if member is None:
        return _join_by_address(session, identity)
    if member.status == Status.SUSPENDED:
        raise NotAllowed(
            "Your membership is suspended. An admin of your organisation can resume it."
        )
    _require_issuer(session, member.organisation_id, identity, member.email)
    if identity.email_verified and identity.address:
        # An address opens domains and invites: one that nobody vouches for changes nothing.
        member.email = identity.address
    member.name = identity.shown_name or member.name
    session.flush()
    return member


def accept_invite(session: Session, token: str, identity: Identity) -> Member:
    """Join by an invite's link; the person must sign in with the address that was invited.

    Raises `NotFound` for a token that is unknown, used, revoked or run out, `NotAllowed` for
    another address, and `Conflict` if the person is a member of another organisation.
    """
    found = session.scalars(select(Invite).where(Invite.token_sha256 == digest(token))).first()
    if found is None:
        raise NotFound("This invite is not valid any more. Ask for a new one.")
    if found.email != identity.address:
        raise NotAllowed(f"This invite is for {found.email}. Sign in with that address.")
    return _use(session, found, identity)


def _join_by_address(session: Session, identity: Identity) -> Member:
    """Let somebody in by an invite of their address, or by its domain.

    People of a proved domain belong to its organisation: an invite of another one lets them in by
    its link alone, which they have to follow themselves.
    """
    if identity.email_verified and identity.address:
        domain = domains.of_address(session, identity.address)
        is_home = domain is not None and domains.opens(session, domain)
        query = select(Invite).where(Invite.email == identity.address, pending())
        if domain is not None and is_home:
            # Else anybody could draw a company's new people in by inviting them first.
            query = query.where(Invite.organisation_id == domain.organisation_id)
        found = session.scalars(query.order_by(Invite.created_at)).first()
        if found is not None:
            return _use(session, found, identity)
        if domain is not None and is_home:
            return _join_by_domain(session, domain, identity)
    raise NotAllowed(
        "You have signed in, but no organisation here knows you. Ask an admin to invite "
        f"{identity.address or 'you'}."
    )


def _join_by_domain(session: Session, domain: Domain, identity: Identity) -> Member:
    """Let somebody in whose address has a proved domain, with what its seat policy gives.

    Whoever was removed stays out until an admin invites them: signing in again undoes nothing.
    """
    organisation_id = domain.organisation_id
    seats.lock(session, organisation_id)
    seats.lock_person(session, identity)
    member = seats.find_member(session, identity.issuer, identity.subject)
    if member is not None:
        return member  # a second tab was faster
    fresh = domains.of_address(session, identity.address)
    if fresh is None or fresh.organisation_id != organisation_id:
        raise NotAllowed("Your organisation has just given this domain up. Ask for an invite.")
    _require_issuer(session, organisation_id, identity)
    if _was_removed(session, organisation_id, identity):
        raise NotAllowed("You were removed from this organisation. Ask an admin to invite you.")
    left = seats.seat_usage(session, organisation_id).left
    is_seated = fresh.seat_policy == SeatPolicy.SEAT and left > 0
    joined = seats.join(session, organisation_id, identity, role=Role.CREATOR, seated=is_seated)
    if not is_seated and fresh.seat_policy != SeatPolicy.NO_SEAT:
        joined.seat_asked_at = now()
        seats.record(session, organisation_id, "seat_asked", member=joined)
    return joined


def _require_issuer(
    session: Session, organisation_id: uuid.UUID, identity: Identity, *known: str
) -> None:
    addresses = (identity.address, *known)
    refused = domains.refusal(session, organisation_id, identity.issuer, addresses)
    if refused is not None:
        raise NotAllowed(refused)


def _was_removed(session: Session, organisation_id: uuid.UUID, identity: Identity) -> bool:
    same_account = and_(Member.issuer == identity.issuer, Member.subject == identity.subject)
    gone = select(Member.id).where(
        Member.organisation_id == organisation_id,
        Member.status == Status.REMOVED,
        or_(same_account, Member.email == identity.address),
    )
    return session.scalars(gone.limit(1)).first() is not None


def _use(session: Session, found: Invite, identity: Identity) -> Member:
    """Turn a pending invite into a member. The invite's seat becomes the member's."""
    seats.lock(session, found.organisation_id)
    seats.lock_person(session, identity)
    member = seats.find_member(session, identity.issuer, identity.subject)
    if member is not None and member.organisation_id == found.organisation_id:
        return member  # a double click, or a second tab: they are in
    if member is not None:
        raise Conflict("You are a member of another organisation already.")
    still = select(Invite).where(Invite.id == found.id, pending())
    used = session.scalars(still.execution_options(populate_existing=True)).one_or_none()
    if used is None:
        raise NotFound("This invite is not valid any more. Ask for a new one.")
    _require_issuer(session, found.organisation_id, identity)
    used.accepted_at = now()
    joined = seats.join(
        session,
        used.organisation_id,
        identity,
        role=Role(used.role),
        seated=used.seated,
    )
    if used.team_id is not None:
        teams.join_first(session, joined, used.team_id)
    return joined
