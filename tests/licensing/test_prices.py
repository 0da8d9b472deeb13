"""Quotes follow the dated list."""

from datetime import UTC, datetime, timedelta

import pytest

from licensing import prices
from licensing.prices import Quote, quote

LISTED = datetime(2026, 11, 1, tzinfo=UTC)


def test_a_turbo_picture_costs_one_and_a_half_cents() -> None:
    asked = quote("turbo", width=1024, height=1024, images=1, at=LISTED)
    assert asked == Quote(15_000, 15_000, 1, "2026-11")


def test_images_and_size_multiply() -> None:
    assert quote("raw", width=1024, height=1024, images=4, at=LISTED).total_micros == 120_000
    assert quote("turbo", width=2048, height=2048, images=2, at=LISTED).total_micros == 120_000
    assert quote("turbo", width=1536, height=1536, images=1, at=LISTED).per_image_micros == 30_000


@pytest.mark.parametrize(("width", "height"), [(128, 128), (1344, 784), (832, 1280), (2048, 512)])
def test_every_shape_of_the_smallest_size_class_costs_the_same(width: int, height: int) -> None:
    assert quote("turbo", width=width, height=height, images=1, at=LISTED).total_micros == 15_000


@pytest.mark.parametrize(
    ("width", "height", "images"), [(1024, 1024, 0), (4096, 4096, 1), (0, 16, 1), (1024, 1024, -1)]
)
def test_what_no_request_contains_has_no_price(width: int, height: int, images: int) -> None:
    with pytest.raises(ValueError, match="no price for"):
        quote("turbo", width=width, height=height, images=images, at=LISTED)


def test_before_the_first_list_there_is_no_price() -> None:
    with pytest.raises(ValueError, match="no price list was in force"):
        quote("turbo", width=64, height=64, images=1, at=LISTED - timedelta(microseconds=1))


def test_versions_have_their_own_day_and_name_and_ascending_sizes() -> None:
    known = prices.versions()
    assert len({version.id for version in known}) == len(known)
    assert len({version.effective for version in known}) == len(known)
    for version in known:
        assert set(version.per_image_micros) == {"turbo", "raw"}
        bounds = [size.pixels_max for size in version.sizes]
        assert bounds == sorted(set(bounds))
        assert all(type(micros) is int for micros in version.per_image_micros.values())
