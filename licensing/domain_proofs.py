"""The DNS records that prove a domain: compared once at first, and again each day.

The look-up is done by the web app, outside of transactions; here it is only compared.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from licensing import seats
from licensing.actors import Actor, record, require_admin
from licensing.db import now
from licensing.domains import Domain, get, verified
from licensing.errors import AtelierError, Conflict

RECHECK_AFTER = timedelta(days=1)
MISSING_MAX = timedelta(days=30)  # a record that is gone for longer was not gone by mistake
RECHECKED_AT_ONCE_MAX = 100  # the next round takes the rest, those that waited longest first

# Two organisations that prove one domain at once stand in line here, and the second one is told.
_ONE_AT_A_TIME = select(func.pg_advisory_xact_lock(func.hashtextextended(text(":domain"), 8)))


class DomainNotProved(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The DNS record is not there, or says something else."""

    code = "domain_not_proved"
    status = 409


def confirm(
    session: Session, actor: Actor, domain_id: uuid.UUID, found: Iterable[str]
) -> Domain | None:
    """Compare what DNS said with the token. None, and the time of the try, if it does not match.

    Raises `Conflict` if another organisation has proved the domain before, `NotFound`.
    """
    actor = require_admin(session, actor)
    domain = get(session, actor.organisation_id, domain_id)
    domain.checked_at = now()
    if domain.record_value not in {value.strip() for value in found}:
        return None
    domain.missing_since = None
    if domain.verified_at is None:
        session.execute(_ONE_AT_A_TIME, {"domain": domain.domain})
        if verified(session, domain.domain) is not None:
            raise Conflict(f"Another organisation of this studio has proved {domain.domain}.")
        domain.verified_at = domain.checked_at
        record(session, actor, "domain_verified", detail=domain.domain)
    return domain


def to_recheck(session: Session, at: datetime) -> list[Domain]:
    """Proved domains that nobody has looked for since a day, those that waited longest first."""
    query = select(Domain).where(
        Domain.verified_at.is_not(None), Domain.checked_at < at - RECHECK_AFTER
    )
    return list(session.scalars(query.order_by(Domain.checked_at).limit(RECHECKED_AT_ONCE_MAX)))


def rechecked(
    session: Session, domain_id: uuid.UUID, found: Iterable[str], at: datetime
) -> str | None:
    """Compare what DNS says of a proved domain now; returns what admins have to be told, once.

    A record that is gone for a month ends the proof: nobody joins by the domain any more, and it
    can be proved anew by whoever has it.
    """
    organisation_id = session.scalars(
        select(Domain.organisation_id).where(Domain.id == domain_id)
    ).one_or_none()
    if organisation_id is None:
        return None  # given up meanwhile
    seats.lock(session, organisation_id)
    domain = get(session, organisation_id, domain_id)
    if domain.verified_at is None:
        return None
    domain.checked_at = at
    if domain.record_value in {value.strip() for value in found}:
        domain.missing_since = None
        return None
    if domain.missing_since is None:
        domain.missing_since = at
        return (
            f"The TXT record {domain.record_name} is gone. Put it back with the value "
            f"{domain.record_value}: from {at + MISSING_MAX:%d %B %Y} on nobody joins by "
            f"{domain.domain} any more, and no sign-in provider is required for it.\n"
        )
    if at - domain.missing_since < MISSING_MAX:
        return None
    domain.verified_at = domain.missing_since = None
    seats.record(session, organisation_id, "domain_lapsed", detail=domain.domain)
    return f"{domain.domain} is not proved any more: its TXT record was gone for a month.\n"
