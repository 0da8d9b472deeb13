"""What pictures cost: a quote from the price list in force, before anything is spent.

Owns the append-only table `price_version`. A list is never edited in place: a later version takes
effect at its moment, in every process, and leaves old quotes alone, because a hold stores the
version it was quoted from. `atelier prices add` appends one (`licensing.price_files` reads it).
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, get_args

from sqlalchemy import ForeignKey, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base
from licensing.errors import Conflict
from licensing.money import checked
from licensing.seats import Member

Family = Literal["turbo", "raw"]
References = Literal["none", "style", "moodboard"]

# A family and what it is given to look at; a moodboard beside style references counts as itself.
CLASSES = tuple(
    family if references == "none" else f"{family}_{references}"
    for family in get_args(Family)
    for references in get_args(References)
)
LISTS_KEPT = 32  # parsed lists in memory; a studio changes its prices a few times a year


@dataclass(frozen=True)
class Quote:
    """The price of a request: `total_micros` = `images` x `per_image_micros`."""

    total_micros: int
    per_image_micros: int
    images: int
    price_version: str
    price_class: str


def quote(
    session: Session,
    family: Family,
    *,
    width: int,
    height: int,
    images: int,
    references: References = "none",
    at: datetime | None = None,
) -> Quote:
    """Price `images` pictures of `width` x `height` pixels at a moment (default: now).

    One small query: the database's clock decides which list is in force, so that every process
    changes over at the same moment. Raises `ValueError` as `price` does, and for a moment before
    the first list.
    """
    listed = in_force(session, at)
    return price(listed, family, width=width, height=height, images=images, references=references)


def price(
    listed: "PriceList",
    family: Family,
    *,
    width: int,
    height: int,
    images: int,
    references: References = "none",
) -> Quote:
    """Price pictures by one list; pure.

    Raises `ValueError` for what no parsed request contains: an unknown class, no image, or a
    picture larger than the list's last size class.
    """
    if images < 1 or width < 1 or height < 1:
        raise ValueError(f"no price for {images} images of {width} x {height}")
    price_class = family if references == "none" else f"{family}_{references}"
    if price_class not in listed.per_image_micros:
        raise ValueError(f"no price class {price_class!r} in price list {listed.id}")
    per_image_micros = listed.per_image_micros[price_class] * _multiplier(listed, width * height)
    return Quote(
        total_micros=per_image_micros * images,
        per_image_micros=per_image_micros,
        images=images,
        price_version=listed.id,
        price_class=price_class,
    )


@dataclass(frozen=True)
class SizeClass:
    """Pictures of at most `pixels_max` pixels cost `multiplier` times the first class."""

    name: str
    pixels_max: int
    multiplier: int


@dataclass(frozen=True)
class PriceList:
    """One list: a price for every class of `CLASSES` in the first size; `sizes` ascend."""

    id: str
    per_image_micros: Mapping[str, int]
    sizes: tuple[SizeClass, ...]


def in_force(session: Session, at: datetime | None = None) -> PriceList:
    """The list of a moment (default: now); raises `ValueError` before the first one."""
    row = session.execute(_IN_FORCE, {"at": at}).one_or_none()
    if row is None:
        raise ValueError(f"no price list was in force at {at}")
    return _parsed(row.id, row.list)


def versions(session: Session) -> list["PriceVersion"]:
    """Every version, the newest first; those of the future are among them."""
    return list(session.scalars(select(PriceVersion).order_by(PriceVersion.effective_at.desc())))


def add_version(
    session: Session,
    added: PriceList,
    *,
    effective_at: datetime,
    note: str,
    author: Member | None = None,
) -> "PriceVersion":
    """Append a list that takes effect in the future.

    Raises `Conflict` for an id or a moment that is taken, and for a moment that is past: a quote
    that somebody has seen stays true.
    """
    at = session.scalars(select(func.clock_timestamp())).one()  # the clock that changes over
    if effective_at <= at:
        raise Conflict(
            f"Price list “{added.id}” would take effect at {effective_at:%Y-%m-%d %H:%M} UTC, "
            "which is past. Give it a moment in the future."
        )
    for known in versions(session):
        if known.id == added.id:
            raise Conflict(
                f"Price list “{added.id}” exists already. A list is never edited: choose a new id."
            )
        if known.effective_at == effective_at:
            raise Conflict(f"Price list “{known.id}” takes effect at that very moment.")
    version = PriceVersion(
        id=added.id,
        effective_at=effective_at,
        listed=_as_json(added),
        note=note,
        author_id=author.id if author else None,
        created_at=at,
    )
    session.add(version)
    session.flush()
    return version


def read_list(id_: str, given: Mapping[str, Any]) -> PriceList:
    """Check a list as files and rows hold it; raises `ValueError` naming what is wrong with it."""
    per_image = given.get("per_image_micros")
    if not isinstance(per_image, Mapping) or set(per_image) != set(CLASSES):
        raise ValueError(f"per_image_micros must price exactly {', '.join(CLASSES)}")
    sizes = tuple(_size(entry) for entry in given.get("sizes") or ())
    bounds = [size.pixels_max for size in sizes]
    if not bounds or bounds != sorted(set(bounds)):
        raise ValueError("there must be size classes, and their pixels_max must ascend")
    micros = {name: checked(per_image[name]) for name in CLASSES}
    return PriceList(id=id_, per_image_micros=MappingProxyType(micros), sizes=sizes)


def _size(entry: Any) -> SizeClass:
    if not isinstance(entry, Mapping) or set(entry) != {"name", "pixels_max", "multiplier"}:
        raise ValueError("a size class has a name, pixels_max and a multiplier, and nothing else")
    for name in ("pixels_max", "multiplier"):
        if type(entry[name]) is not int or entry[name] < 1:
            raise ValueError(f"{name} of a size class must be a whole number from 1")
    return SizeClass(str(entry["name"]), entry["pixels_max"], entry["multiplier"])


def _as_json(listed: PriceList) -> dict[str, Any]:
    return {
        "per_image_micros": dict(listed.per_image_micros),
        "sizes": [vars(size) for size in listed.sizes],
    }


def _multiplier(listed: PriceList, pixels: int) -> int:
    for size in listed.sizes:
        if pixels <= size.pixels_max:
            return size.multiplier
    raise ValueError(f"no price for {pixels} pixels in price list {listed.id}")


@lru_cache(maxsize=LISTS_KEPT)
def _parsed(id_: str, listed: str) -> PriceList:
    """Parse a list once; the text itself is the key, since two databases may share a name."""
    return read_list(id_, json.loads(listed))


class PriceVersion(Base):
    """One price list and the moment from which it is in force. Append-only."""

    __tablename__ = "price_version"

    id: Mapped[str] = mapped_column(primary_key=True)
    effective_at: Mapped[datetime] = mapped_column(unique=True)
    listed: Mapped[dict[str, Any]] = mapped_column("list")
    note: Mapped[str]
    author_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    created_at: Mapped[datetime]


_IN_FORCE = text(
    """
    SELECT id, list::text AS list FROM price_version
     WHERE effective_at <= coalesce(CAST(:at AS timestamptz), clock_timestamp())
     ORDER BY effective_at DESC LIMIT 1
    """
)
