"""E-mail domains of an organisation: whose address has one joins by signing in.

Owns the table `domain`. A domain counts once its owner has proved it by a DNS record that holds the
organisation's token (`licensing.domain_proofs`); one organisation alone can have it then. The seat
policy says what a person who joins in
this way gets. On a plan with SSO enforcement a domain may also require one sign-in provider.
"""

import re
import secrets
import uuid
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    UniqueConstraint,
    delete,
    select,
    text,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing import tiers
from licensing.actors import Actor, record, require_admin
from licensing.db import Base, now
from licensing.errors import AtelierError, Conflict, NotAllowed, NotFound
from licensing.seats import Member, Role

DOMAINS_MAX = 20  # an organisation; a company with more writes its people's names into a file
DOMAIN_CHARACTERS_MAX = 253  # the longest name that DNS knows
TOKEN_BYTES = 24
RECORD_LABEL = "_atelier-challenge"  # the TXT record stands under this name, as is usual for proofs
RECORD_PREFIX = "atelier-domain-verification="

_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]*[a-z][a-z0-9-]*")


class SeatPolicy(StrEnum):
    """What somebody who joins by their address gets."""

    SEAT = "seat"  # a seat while there is one, else they wait for one
    NO_SEAT = "no_seat"
    ASK = "ask"  # none yet; an admin sees that they wait for one


class InvalidDomain(AtelierError):  # noqa: N818 - reads as the answer that it is
    """Not a domain that can stand in an e-mail address."""

    code = "invalid_domain"
    status = 422


def add(
    session: Session, actor: Actor, *, domain: str, seat_policy: SeatPolicy = SeatPolicy.ASK
) -> "Domain":
    """Claim a domain; it counts once `domain_proofs.confirm` has seen its DNS record.

    Raises `InvalidDomain`, `Conflict`, `TierRequired`.
    """
    actor = require_admin(session, actor)
    assert isinstance(actor, Member), "a directory claims no domains"
    tiers.require(session, actor.organisation_id, "domains")
    name = normalise(domain)
    mine = domains(session, actor.organisation_id)
    if any(other.domain == name for other in mine):
        raise Conflict(f"{name} is in the list already.")
    if len(mine) >= DOMAINS_MAX:
        raise Conflict(f"An organisation has at most {DOMAINS_MAX} domains.")
    made = Domain(
        id=uuid.uuid4(),
        organisation_id=actor.organisation_id,
        domain=name,
        token=secrets.token_urlsafe(TOKEN_BYTES),
        seat_policy=SeatPolicy(seat_policy),
        created_by=actor.id,
        created_at=now(),
    )
    session.add(made)
    record(session, actor, "domain_added", detail=name)
    return made


def set_policy(
    session: Session, actor: Actor, domain_id: uuid.UUID, seat_policy: SeatPolicy
) -> "Domain":
    """Choose what the next people who join by this domain get; raises `NotFound`."""
    actor = require_admin(session, actor)
    domain = get(session, actor.organisation_id, domain_id)
    before, after = domain.seat_policy, SeatPolicy(seat_policy)
    if before != after:
        domain.seat_policy = after
        words = f"{domain.domain}: {before} -> {after}"
        record(session, actor, "domain_policy", detail=words)
    return domain


def require_issuer(
    session: Session, actor: Actor, domain_id: uuid.UUID, issuer: str | None
) -> "Domain":
    """Let people with this domain sign in through one provider alone; None lifts it.

    For owners. Raises `TierRequired`, `NotAllowed`, `NotFound`, and `Conflict` where the domain is
    not proved, or where the owner who asks would lock themselves out.
    """
    actor = require_admin(session, actor)
    domain = get(session, actor.organisation_id, domain_id)
    if actor.role != Role.OWNER:
        raise NotAllowed("Only an owner can choose how people must sign in.")
    if issuer is not None:
        tiers.require(session, actor.organisation_id, "sso_enforced")
        if domain.verified_at is None:
            raise Conflict(f"Prove first that {domain.domain} is yours.")
        if isinstance(actor, Member) and actor.issuer != issuer and has(domain, actor.email):
            raise Conflict(
                "You are signed in through another provider yourself, and would be locked out. "
                "Let an owner who signs in through that provider do it."
            )
    if domain.required_issuer != issuer:
        domain.required_issuer = issuer
        words = f"{domain.domain}: {issuer or 'any provider'}"
        record(session, actor, "domain_issuer", detail=words)
    return domain


def remove(session: Session, actor: Actor, domain_id: uuid.UUID) -> None:
    """Give a domain up: nobody joins by it any more. Who joined stays. Raises `NotFound`."""
    actor = require_admin(session, actor)
    domain = get(session, actor.organisation_id, domain_id)
    if domain.required_issuer is not None and actor.role != Role.OWNER:
        raise NotAllowed("This domain says how people must sign in: only an owner can remove it.")
    session.execute(delete(Domain).where(Domain.id == domain.id))
    record(session, actor, "domain_removed", detail=domain.domain)


def domains(session: Session, organisation_id: uuid.UUID) -> list["Domain"]:
    """The domains of an organisation, proved or not, by name."""
    query = select(Domain).where(Domain.organisation_id == organisation_id)
    return list(session.scalars(query.order_by(Domain.domain)))


def get(session: Session, organisation_id: uuid.UUID, domain_id: uuid.UUID) -> "Domain":
    """Read a domain of an organisation; raises `NotFound`."""
    query = select(Domain).where(Domain.id == domain_id, Domain.organisation_id == organisation_id)
    domain = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if domain is None:
        raise NotFound("There is no such domain.")
    return domain


def verified(session: Session, name: str) -> "Domain | None":
    """Return the proved domain of that name, whosever it is."""
    query = select(Domain).where(Domain.domain == name, Domain.verified_at.is_not(None))
    return session.scalars(query).one_or_none()


def of_address(session: Session, address: str) -> "Domain | None":
    """Return the proved domain that an e-mail address has; a subdomain is another domain."""
    try:
        return verified(session, normalise(address.rpartition("@")[2]))
    except InvalidDomain:
        return None


def opens(session: Session, domain: "Domain") -> bool:
    """Whether people may join by the domain: it is proved, and the plan still has that."""
    features = tiers.of(session, domain.organisation_id).features
    return domain.verified_at is not None and "domains" in features


def refusal(
    session: Session, organisation_id: uuid.UUID, issuer: str, addresses: Iterable[str]
) -> str | None:
    """Say why somebody may not sign in to an organisation through `issuer`; None if they may.

    `addresses` are all that are known of the person, the one on record and the one that the
    provider says now, so that a change of address at the other provider opens nothing.
    """
    for address in set(addresses) - {""}:
        domain = of_address(session, address)
        if (
            domain is not None
            and domain.organisation_id == organisation_id
            and domain.required_issuer not in (None, issuer)
            and "sso_enforced" in tiers.of(session, organisation_id).features
        ):
            return (
                f"Your organisation signs in people of {domain.domain} through another provider. "
                "Choose that one on the sign-in page."
            )
    return None


def has(domain: "Domain", address: str) -> bool:
    """Whether an e-mail address belongs to the domain."""
    try:
        return normalise(address.rpartition("@")[2]) == domain.domain
    except InvalidDomain:
        return False


def normalise(given: str) -> str:
    """Return a domain as it is compared: lower case, ASCII; raises `InvalidDomain`."""
    words = given.strip().strip(".").lower()
    try:
        name = words.encode("idna").decode("ascii") if words else ""
    except UnicodeError:
        name = ""
    if len(name) > DOMAIN_CHARACTERS_MAX or not _DOMAIN.fullmatch(name):
        raise InvalidDomain(f"“{words[:80]}” is not a domain. Write it like example.org.")
    return name


class Domain(Base):
    """An e-mail domain that an organisation claims, and once `verified_at` is set, has."""

    __tablename__ = "domain"
    __table_args__ = (
        UniqueConstraint("organisation_id", "domain"),
        CheckConstraint("seat_policy IN ('seat', 'no_seat', 'ask')", name="seat_policy"),
        Index(
            "ix_domain_domain",
            "domain",
            unique=True,
            postgresql_where=text("verified_at IS NOT NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    domain: Mapped[str]
    token: Mapped[str]
    seat_policy: Mapped[str]
    required_issuer: Mapped[str | None]
    created_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    created_at: Mapped[datetime]
    checked_at: Mapped[datetime | None]
    verified_at: Mapped[datetime | None]
    missing_since: Mapped[datetime | None]  # the record of a proved domain is gone

    @property
    def record_name(self) -> str:
        """Where the TXT record has to stand."""
        return f"{RECORD_LABEL}.{self.domain}"

    @property
    def record_value(self) -> str:
        """What the TXT record has to say."""
        return f"{RECORD_PREFIX}{self.token}"
