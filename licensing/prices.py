"""What pictures cost: a quote from the dated price list, before anything is spent.

The list is reviewed data (`texts/prices.toml`). A later version takes effect on its day and leaves
old quotes alone, because a hold stores the version it was quoted from. Pure but for the clock.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal

PriceClass = Literal["turbo", "raw"]


@dataclass(frozen=True)
class Quote:
    """The price of a request: `total_micros` = `images` x `per_image_micros`."""

    total_micros: int
    per_image_micros: int
    images: int
    price_version: str


def quote(
    price_class: PriceClass, *, width: int, height: int, images: int, at: datetime | None = None
) -> Quote:
    """Price `images` pictures of `width` x `height` pixels at a moment (default: now).

    Raises `ValueError` for what no parsed request contains: an unknown class, no image, a picture
    larger than the list's last size class, or a moment before the first version.
    """
    if images < 1 or width < 1 or height < 1:
        raise ValueError(f"no price for {images} images of {width} x {height}")
    version = _in_force(at or datetime.now(UTC))
    if price_class not in version.per_image_micros:
        raise ValueError(f"no price class {price_class!r} in price list {version.id}")
    per_image_micros = version.per_image_micros[price_class] * _multiplier(version, width * height)
    return Quote(
        total_micros=per_image_micros * images,
        per_image_micros=per_image_micros,
        images=images,
        price_version=version.id,
    )


@dataclass(frozen=True)
class SizeClass:
    """Pictures of at most `pixels_max` pixels cost `multiplier` times the first class."""

    name: str
    pixels_max: int
    multiplier: int


@dataclass(frozen=True)
class PriceVersion:
    """One dated price list; `sizes` ascend."""

    id: str
    effective: datetime
    per_image_micros: Mapping[str, int]
    sizes: tuple[SizeClass, ...]


@cache
def versions() -> tuple[PriceVersion, ...]:
    """Every version of the price list, oldest first."""
    source = resources.files("licensing").joinpath("texts/prices.toml").read_text("utf-8")
    read = [_read_version(entry) for entry in tomllib.loads(source)["version"]]
    return tuple(sorted(read, key=lambda version: version.effective))


def _in_force(at: datetime) -> PriceVersion:
    started = [version for version in versions() if version.effective <= at]
    if not started:
        raise ValueError(f"no price list was in force at {at.isoformat()}")
    return started[-1]


def _multiplier(version: PriceVersion, pixels: int) -> int:
    for size in version.sizes:
        if pixels <= size.pixels_max:
            return size.multiplier
    raise ValueError(f"no price for {pixels} pixels in price list {version.id}")


def _read_version(entry: dict[str, Any]) -> PriceVersion:
    sizes = [SizeClass(**size) for size in entry["size"]]
    return PriceVersion(
        id=entry["id"],
        effective=entry["effective"],
        per_image_micros=MappingProxyType(dict(entry["per_image_micros"])),
        sizes=tuple(sorted(sizes, key=lambda size: size.pixels_max)),
    )
