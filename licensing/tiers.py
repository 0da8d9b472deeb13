"""The plans that an organisation can be on: how many seats they end at and what they open.

Reviewed data with dates (`texts/tiers.toml`), so that a change of plans leaves yesterday's answer
as it was. Which plan an organisation is on stands in its row; `licensing.plans` changes it.
"""

import tomllib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any, Literal

from sqlalchemy import text
from sqlalchemy.orm import Session

from licensing.errors import AtelierError, NotFound

Feature = Literal[
    "teams",
    "domains",
    "scim",
    "sso_enforced",
    "custom_terms",
    "sla",
    "dpa",
    "invoice",
    "true_up",
]
# What a refusal calls each of them.
FEATURES: dict[str, str] = {
    "teams": "Teams",
    "domains": "Joining by a verified domain",
    "scim": "Provisioning by SCIM",
    "sso_enforced": "Requiring one sign-in provider",
    "custom_terms": "Terms of your own",
    "sla": "A service level agreement",
    "dpa": "A data processing agreement",
    "invoice": "Paying by monthly invoice",
    "true_up": "The daily record of seats",
}


@dataclass(frozen=True)
class Tier:
    """One plan; `seats_max` is None where it has no ceiling of its own."""

    id: str
    name: str
    seats_max: int | None
    features: frozenset[str]

    def allows(self, seats: int) -> bool:
        """Say whether the plan can have that many seats."""
        return self.seats_max is None or seats <= self.seats_max


class TierRequired(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The organisation's plan does not have this; `tier` is the least one that does."""

    code = "tier_required"
    status = 403

    def __init__(self, feature: str, tier: Tier, current: Tier) -> None:
        """Name what was asked for, the plan that has it and the plan that there is."""
        self.feature, self.tier = feature, tier
        super().__init__(
            f"{FEATURES[feature]} is part of the {tier.name} plan, and you are on {current.name}. "
            "An owner can change the plan under /team?view=plan."
        )


def of(session: Session, organisation_id: uuid.UUID, *, at: datetime | None = None) -> Tier:
    """Return the plan of an organisation; raises `NotFound`."""
    named = session.execute(_TIER_OF, {"id": organisation_id}).scalar_one_or_none()
    if named is None:
        raise NotFound("This organisation does not exist.")
    return find(named, at)


def require(session: Session, organisation_id: uuid.UUID, feature: Feature) -> None:
    """Raise `TierRequired` unless the organisation's plan has `feature`."""
    tier = of(session, organisation_id)
    if feature not in tier.features:
        raise TierRequired(feature, _least_with(feature), tier)


def find(tier_id: str, at: datetime | None = None) -> Tier:
    """Return a plan as it was at a moment (default: now); raises `NotFound` for an unknown one."""
    for version in reversed(_started(at)):
        for tier in version.tiers:
            if tier.id == tier_id:
                return tier
    raise NotFound(f"There is no plan called “{tier_id[:40]}”.")


def offered(at: datetime | None = None) -> tuple[Tier, ...]:
    """The plans on offer at a moment (default: now), smallest first."""
    started = _started(at)
    return started[-1].tiers if started else ()


def next_above(tier: Tier) -> Tier | None:
    """The next larger plan on offer; None above the largest."""
    for other in offered():
        if tier.seats_max is not None and (
            other.seats_max is None or other.seats_max > tier.seats_max
        ):
            return other
    return None


@dataclass(frozen=True)
class _Version:
    effective: datetime
    tiers: tuple[Tier, ...]


def _least_with(feature: str) -> Tier:
    return next(tier for tier in offered() if feature in tier.features)


def _started(at: datetime | None) -> list[_Version]:
    moment = at or datetime.now(UTC)
    return [version for version in _versions() if version.effective <= moment]


@cache
def _versions() -> tuple[_Version, ...]:
    source = resources.files("licensing").joinpath("texts/tiers.toml").read_text("utf-8")
    read = [
        _Version(entry["effective"], tuple(_tier(each) for each in entry["tier"]))
        for entry in tomllib.loads(source)["version"]
    ]
    return tuple(sorted(read, key=lambda version: version.effective))


def _tier(entry: dict[str, Any]) -> Tier:
    unknown = set(entry["features"]) - FEATURES.keys()
    assert not unknown, f"tiers.toml names features that nothing asks for: {unknown}"
    return Tier(entry["id"], entry["name"], entry.get("seats_max"), frozenset(entry["features"]))


_TIER_OF = text("SELECT tier FROM organisation WHERE id = :id")
