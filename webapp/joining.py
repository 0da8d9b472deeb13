"""How people come into a team: an invite by mail, a file of them, a domain that is the team's own.

Each use-case is one transaction; mail and DNS are asked outside of it. An invite's link exists in
the mail, or, where none could be sent, in the answer, once. Called by the team page.
"""

import uuid
from dataclasses import dataclass

from licensing import domain_proofs, domains, invites, member_import, roster, seats
from licensing.domain_proofs import DomainNotProved
from licensing.domains import Domain, SeatPolicy
from licensing.errors import NotAllowed
from licensing.invites import INVITE_LIFETIME, Invite
from licensing.member_import import ImportPlan
from licensing.seats import Member, Page, Role
from webapp import dns, mail
from webapp.mail import Letter
from webapp.sso import sessions
from webapp.studio import Studio

DEMO_SUFFIX = (
    ".example"  # domains of which nobody can own one; the demonstration's people have them
)


@dataclass(frozen=True)
class Invitation:
    """An invite that was made. `link` is None if it was mailed; else `problem` may say why not."""

    invite: Invite
    link: str | None
    problem: str | None = None


@dataclass(frozen=True)
class Imported:
    """What became of a file: its lines, and an invitation for each that invited somebody."""

    plan: ImportPlan
    invitations: tuple[Invitation, ...]


def invite(
    studio: Studio,
    actor: Member,
    *,
    email: str,
    role: Role,
    seated: bool,
    team_id: uuid.UUID | None = None,
) -> Invitation:
    """Invite an address and mail its link, or return the link, which nobody can read again.

    Raises `InvalidEmail`, `Conflict`, `SeatCeilingReached`, `NotAllowed`, `NotFound`.
    """
    with studio.database.transaction() as session:
        made = invites.invite(
            session, actor, email=email, role=role, seated=seated, team_id=team_id
        )
    return _tell(studio, actor, [made])[0]


def renew_invite(studio: Studio, actor: Member, invite_id: uuid.UUID) -> Invitation:
    """Send a pending invite again with a new link; the old one is dead. Raises `NotFound`."""
    with studio.database.transaction() as session:
        made = invites.renew(session, actor, invite_id)
    return _tell(studio, actor, [made])[0]


def revoke_invite(studio: Studio, actor: Member, invite_id: uuid.UUID) -> None:
    """Take a pending invite back: its link stops working and its seat is free. `NotFound`."""
    with studio.database.transaction() as session:
        invites.revoke_invite(session, actor, invite_id)


def plan_import(studio: Studio, actor: Member, content: bytes) -> ImportPlan:
    """Say of every line of a CSV what it would do; nothing is written. Raises `ImportRefused`."""
    if not seats.may(actor.role, Page.TEAM):
        raise NotAllowed("Only an owner or an admin can change the team.")
    with studio.database.read() as session:
        return member_import.plan(session, actor, content)


def carry_out_import(studio: Studio, actor: Member, content: bytes) -> Imported:
    """Invite everybody in a CSV, or nobody. Raises `ImportRefused`, whose plan says why."""
    with studio.database.transaction() as session:
        plan, made = member_import.carry_out(session, actor, content)
    return Imported(plan, tuple(_tell(studio, actor, made)))


def add_domain(
    studio: Studio, actor: Member, *, domain: str, seat_policy: SeatPolicy = SeatPolicy.ASK
) -> Domain:
    """Claim a domain; the row says which DNS record has to stand where."""
    with studio.database.transaction() as session:
        return domains.add(session, actor, domain=domain, seat_policy=seat_policy)


def verify_domain(studio: Studio, actor: Member, domain_id: uuid.UUID) -> Domain:
    """Look for the domain's DNS record; from then on people with that domain may join.

    In the demonstration a domain that nobody can own counts as proved. Raises `DomainNotProved`
    with what to do, `DnsAway`, `Conflict`, `NotFound`.
    """
    with studio.database.read() as session:
        domain = domains.get(session, actor.organisation_id, domain_id)
    if is_for_show(studio, domain):
        found = [domain.record_value]
    else:
        found = dns.txt_records(domain.record_name, studio.settings.dns_servers)
    with studio.database.transaction() as session:
        proved = domain_proofs.confirm(session, actor, domain_id, found)
    if proved is None:
        what = "another value stands there" if found else "there is no TXT record yet"
        raise DomainNotProved(
            f"At {domain.record_name} {what}. Add a TXT record with the value "
            f"{domain.record_value} and try again; a new record can take an hour to be seen."
        )
    return proved


def is_for_show(studio: Studio, domain: Domain) -> bool:
    """Whether it is the demonstration's: nobody can own it, and no name server knows it."""
    return studio.settings.has_demo_provider and domain.domain.endswith(DEMO_SUFFIX)


def set_domain_policy(
    studio: Studio, actor: Member, domain_id: uuid.UUID, seat_policy: SeatPolicy
) -> Domain:
    """Choose what the next people who join by this domain get."""
    with studio.database.transaction() as session:
        return domains.set_policy(session, actor, domain_id, seat_policy)


def require_provider(
    studio: Studio, actor: Member, domain_id: uuid.UUID, issuer: str | None
) -> Domain:
    """Let people of a domain sign in through one provider alone, and sign the others out.

    None lifts it. Raises as `domains.require_issuer`.
    """
    known = {provider.issuer for provider in studio.settings.providers}
    if issuer is not None and issuer not in known:
        raise DomainNotProved("This studio has no such sign-in provider.")
    with studio.database.transaction() as session:
        domain = domains.require_issuer(session, actor, domain_id, issuer)
        everybody = seats.members(session, actor.organisation_id)
    if issuer is not None:
        for member in everybody:
            if member.issuer != issuer and domains.has(domain, member.email):
                with studio.database.transaction() as session:
                    sessions.end_sessions(session, member.id)
    return domain


def remove_domain(studio: Studio, actor: Member, domain_id: uuid.UUID) -> None:
    """Give a domain up; who joined by it stays. Raises `NotFound`, `NotAllowed`."""
    with studio.database.transaction() as session:
        domains.remove(session, actor, domain_id)


def ask_for_seat(studio: Studio, member: Member) -> Member:
    """Let the admins know that a member waits for a seat. Again is harmless."""
    with studio.database.transaction() as session:
        return roster.ask_for_seat(session, member)


def _tell(studio: Studio, actor: Member, made: list[tuple[Invite, str]]) -> list[Invitation]:
    """Mail every link; what could not be mailed comes back with its link."""
    with studio.database.read() as session:
        organisation = seats.get_organisation(session, actor.organisation_id)
    assert organisation is not None, "a member's organisation exists"
    links = [f"{studio.settings.url}/invite/{token}" for _, token in made]
    if studio.settings.mail is None:
        return [Invitation(one, link) for (one, _), link in zip(made, links, strict=True)]
    letters = [
        _letter(actor, organisation.name, one, link)
        for (one, _), link in zip(made, links, strict=True)
    ]
    problems = mail.send_all(studio.settings.mail, letters)
    return [
        Invitation(one, None if problem is None else link, problem)
        for (one, _), link, problem in zip(made, links, problems, strict=True)
    ]


def _letter(actor: Member, organisation: str, made: Invite, link: str) -> Letter:
    seat = " A seat is kept for you until then." if made.seated else ""
    return Letter(
        to=made.email,
        subject=f"{actor.name} invites you to {organisation}",
        text=(
            f"{actor.name} ({actor.email}) invites you to {organisation} on Atelier, a studio for "
            f"making pictures.\n\nOpen this link and sign in with {made.email}:\n\n{link}\n\n"
            f"The link works until {made.expires_at:%d %B %Y}, {INVITE_LIFETIME.days} days after "
            f"it was made.{seat}\n\nIf you did not expect this, leave it: nothing happens "
            "without you.\n"
        ),
    )
